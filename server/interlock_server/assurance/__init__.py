"""What may be claimed about what the filter misses. Pure."""
