"""Reads, describes, compares and edits ONNX files."""
