"""How a network is carried: one module a format, and the recipes, the store and the processes they share.

Arrives: a `ModelSpec`, weights, calibration images. Leaves: an `Artifact` in the store, what its
file says of itself, and its outputs by name. May import `fixtures`, and nothing to its right.

A format is one module (`convert_float`, `quantize`, a runner) and one line in `CONVERTERS`.
Toolchains are imported inside functions, in child processes: importing this package is cheap.
"""

if __name__ != "modelparity.converters":
    raise ImportError("this package is modelparity.converters: import it under that name")
