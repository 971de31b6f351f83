"""How a text is read, before any model: views (what a reader could see in it) and windows (pieces that fit a model). Pure."""
