"""Loads another generation (bundle, policy, certificate) beside the running one, and swaps them at once or not at all."""
