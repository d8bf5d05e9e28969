"""`modelparity prove`: proves a user's own network, prints each cell as it finishes, and the verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from modelparity import terminal
from modelparity.api.model import Model, Tensor, dim_of, input_of, range_of
from modelparity.api.prove import DEFAULT_FORMATS, Proof, cells_of, prove
from modelparity.commands.judging.running import STOPPED, told_cells
from modelparity.converters.recipes import FLOAT
from modelparity.exit_codes import StoppedError
from modelparity.fixtures.programs import ProgramSpec
from modelparity.fixtures.specs import TensorSpec


def request(
    target: str,
    *,
    example: str,
    inputs: Sequence[str],
    dims: Sequence[str],
    ranges: Sequence[str],
    data: Path | None,
    weights: Path | None,
    name: str,
) -> Model:
    """The declaration that the options of the command line make. Raises `BadInputError`."""
    declared = dict(map(input_of, inputs))
    for port, limits in map(range_of, ranges):
        declared[port] = replace(declared.get(port, Tensor(())), range=limits)
    return Model(
        target,
        example or None,
        name=name,
        weights=weights,
        inputs=declared,
        dims=dict(map(dim_of, dims)),
        data=data,
    )


def prove_target(
    model: Model,
    *,
    formats: Sequence[str],
    quantizations: Sequence[str],
    output: Path | None,
    as_json: bool,
) -> bool:
    """Proves the network and prints the verdict; returns whether everything is proven.

    Without formats or quantizations, in the first of each.
    """
    formats, quantizations = formats or DEFAULT_FORMATS, quantizations or (FLOAT,)
    cells = cells_of(model.label, formats, quantizations)
    with terminal.progress(f"proving {model.label}", total=len(cells)) as progress:

        def on_spec(spec: ProgramSpec) -> None:
            for line in (*described(spec), *sampled(spec)):
                progress.line(line)

        try:
            proof = prove(
                model,
                formats,
                quantizations,
                output=output,
                on_stage=progress.stage,
                on_spec=on_spec,
                on_cell=told_cells(progress, cells),
            )
        except KeyboardInterrupt:
            raise StoppedError(STOPPED) from None
    if as_json:
        terminal.say(as_text(proof))
    else:
        _print(proof)
    return proof.passed


def described(spec: ProgramSpec) -> list[str]:
    """The network's inputs and outputs, and what its inputs are drawn from, one line each."""
    lines = [f"{spec.title}: {_ports(spec.inputs)} -> {_ports(spec.outputs)}"]
    lines += [f"  {note}" for note in spec.notes]
    if spec.fixed_batch:
        lines.append(f"  the batch is fixed: {spec.fixed_batch}")
    return lines


def sampled(spec: ProgramSpec) -> list[str]:
    """How each input is generated, one line each."""
    return [
        f"{port.name}: {how.draw} {how.low:g} to {how.high:g} ({how.because})"
        if how.draw != "normal"
        else f"{port.name}: normal, mean {how.low:.3g}, standard deviation {how.high:.3g} ({how.because})"
        for port, how in zip(spec.inputs, spec.sampling, strict=True)
    ]


def _ports(ports: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{port.name} {port.dtype}[{', '.join(map(str, port.shape))}]" for port in ports)


def as_text(proof: Proof) -> str:
    """What `prove --json` prints."""
    data: dict[str, Any] = {
        "verdict": "pass" if proof.passed else "fail",
        "network": asdict(proof.spec),
        "program": [asdict(claim) for claim in proof.program],
        "cells": [{"status": record.status, **asdict(record)} for record in proof.records],
        "files": {cell: str(path) for cell, path in proof.files.items()},
    }
    return json.dumps(data, indent=1, allow_nan=False)


def _print(proof: Proof) -> None:
    from rich.text import Text

    green = sum(record.green for record in proof.records)
    claims = sum(len(record.claims) for record in proof.records)
    words = f"{proof.spec.name}: {green} of {len(proof.records)} files proven, {claims} claims"
    verdict = "PASS" if proof.passed else "FAIL"
    terminal.show(Text(f"{verdict}: {words}", style="bold green" if proof.passed else "bold red"))
    for path in proof.files.values():
        terminal.say(str(path))
    if not proof.passed:
        terminal.say()
        terminal.say(proof.words)
