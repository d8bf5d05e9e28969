"""What a cell costs: latency by pytest-benchmark, memory read in the child, size.

Arrives: artifacts in the store. Leaves: a `Cost` a cell. May import `fixtures`, `converters`
and `parity`. Costs never decide a verdict, and nothing here asserts a time.
"""

if __name__ != "modelparity.benchmarks":
    raise ImportError("this package is modelparity.benchmarks: import it under that name")
