"""Writes report.json: the whole record and its verdict, for scripts."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from modelparity.parity.results import Run
from modelparity.parity.results_json import SCHEMA
from modelparity.reports.catches import Catches
from modelparity.reports.view import Entry, counts, entries


def machine_readable(run: Run, kills: Catches) -> str:
    """Every expected cell has an object in `cells`; without a record its status is "missing".

    Raises:
        ValueError: a number is NaN or infinite, which a record never holds.
    """
    header = asdict(run.header)
    data = {
        "schema": SCHEMA,
        "verdict": run.verdict,
        "counts": counts(run),
        "missing": run.missing,
        "duration_s": run.duration_s,
        **{name: header[name] for name in sorted(header)},
        "cells": [_cell(entry) for entry in entries(run)],
        "catches": [asdict(cell) for cell in kills.cells],
    }
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _cell(entry: Entry) -> dict[str, Any]:
    names = {
        "id": entry.id,
        "model": entry.model,
        "format": entry.format,
        "quantization": entry.quantization,
        "status": entry.status,
        "headline": entry.headline,
    }
    if entry.cell is None:
        return {**names, "claims": [], "artifact": None}
    recorded = asdict(entry.cell)
    if recorded["picture"]:
        del recorded["picture"]["webp"]  # report.html and the record have it
    return {**names, **{name: recorded[name] for name in recorded if name not in names}}
