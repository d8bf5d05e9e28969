"""Makes TFLite files by way of ONNX and TensorFlow: the second route."""
