"""Converts networks: one folder a format, and the recipes, the store and the processes they share.

Arrives: a `ModelSpec`, weights, calibration images. Leaves: an `Artifact` in the store, what its
file says of itself, and its outputs by name. May import `fixtures` and `modelfiles`, and nothing else.

A format is a folder whose `format.py` holds its `Converter`; a quantization is an entry of `QUANTIZATIONS`.
Toolchains are imported inside functions, in child processes: importing this package is cheap.
"""

if __name__ != "modelparity.converters":
    raise ImportError("this package is modelparity.converters: import it under that name")
