"""`interlock mine`: disagreement of the members becomes a queue for people to label, and their labels become figures and rows."""
