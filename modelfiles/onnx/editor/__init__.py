"""Edits ONNX files: constants, then ports, then operators, each class on top of the one before."""
