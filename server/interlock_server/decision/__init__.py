"""The pure core: values in, a verdict out. Standard library only; no clock, no I/O, no await. Read decide.py first."""
