"""How often drift is found where there is none, and how soon where there is some."""
