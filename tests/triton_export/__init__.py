"""Bundles whose members move to a Triton server."""
