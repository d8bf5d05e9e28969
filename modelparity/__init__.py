"""A conformance and parity harness for neural networks converted from PyTorch to ONNX and TFLite."""
