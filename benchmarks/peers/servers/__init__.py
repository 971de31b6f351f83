"""What runs inside the peers: one small program each, on the interpreter of that peer's environment."""
