"""WHO MAY CALL: callers, their tokens, scopes and quotas. Decides nothing about texts."""
