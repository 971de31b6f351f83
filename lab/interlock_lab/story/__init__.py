"""Training stories, and the checks that could refute them. `command.py` is where to begin."""
