"""Measures what a cell costs (latency, memory, size), and what the harness itself costs.

Takes artifacts from the store, gives one `Cost` per cell. Imports `fixtures`, `modelfiles`, `converters` and
`parity`. Costs never decide a verdict, and nothing here asserts a time.
"""

if __name__ != "modelparity.benchmarks":
    raise ImportError("this package is modelparity.benchmarks: import it under that name")
