"""Converters that lie, each in one way: the real ONNX module with one thing wrong."""
