"""Simulates quantized files: the network in PyTorch with the file's own rounding."""
