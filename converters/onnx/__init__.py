"""Makes, quantizes and runs ONNX files."""
