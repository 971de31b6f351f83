"""Hands the ONNX members of a bundle over to a Triton server: its folder of models, and the bundle that asks them there."""
