"""Judges converted files: references, claims, decisions, simulation, mutation and search.

Input: artifacts and their outputs, made by `converters`. Output: `CellRecord`s. May import `fixtures`,
`modelfiles` and `converters`; `results` and `results_json` import the standard library only, for the reports.
"""

if __name__ != "modelparity.parity":
    raise ImportError("this package is modelparity.parity: import it under that name")
