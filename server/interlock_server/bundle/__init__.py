"""A folder with everything that a verdict depends on, and a digest of each file. Loading checks; nothing runs here."""
