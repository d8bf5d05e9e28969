"""Defines the code that runs files of a format with nothing of this project, for packages and documents."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """Python code, as text.

    `open_file` defines the function `_<format>(path, names, threads)`, which returns a function from feeds to
    outputs by name. `run_part` is the body of a function that runs the file at `MODEL`, which
    `extract_subgraph` wrote, on `feeds` and returns its one output. `load_detector` runs the file `{model}`
    on `image` and unpacks location, score and category.
    """

    open_file: str
    run_part: str
    load_detector: str
