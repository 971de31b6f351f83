"""What was decided, on disk, so that it can be proved and decided again."""
