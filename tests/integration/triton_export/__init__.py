"""Exported models on a real Triton server, and a real Interlock server that asks them."""
