"""Judges a file on a device that runs no Python: inputs out as raw files, outputs in as raw files."""
