"""What is claimed of each cell, and whether it is so.

Arrives: artifacts and their outputs, by way of `converters`. Leaves: `CellRecord`s. May import
`fixtures` and `converters`; `results` imports the standard library only, for the reports' sake.
"""

if __name__ != "modelparity.parity":
    raise ImportError("this package is modelparity.parity: import it under that name")
