"""Measures where the CPU time of a gate goes, by network, format, quantization and step.

    python -m modelparity.benchmarks.profile_gate [MODEL...] [--output FILE] [--reports FOLDER]

Proves all cells of the models on an empty store, one after another, and counts CPU seconds (user and system)
of this process and of every child process. CPU seconds are those of all threads; on a busy machine they say
more than wall time. The last row of each table is a second gate on the same store, in a process of its own:
it measures latency and memory, draws pictures and writes the report. Reports that are kept can be compared
with those of another commit, claim by claim (`meta_tests.measurements.compare_claims`).
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from tabulate import tabulate

from modelparity.converters.engine.child import Reply
from modelparity.converters.engine.workers import RUN_TIMEOUT_S, Worker, Workers
from modelparity.parity import judge
from modelparity.parity.cells import Cell, all_cells
from modelparity.parity.session import Session

DEFAULT = ("tiny_ladeda",)
SHARED = ("all", "all")  # what the cells of a model share
# Steps by the function that a worker runs; of others, by the caller.
_BY_WORK = {
    "modelparity.converters.engine.network:export": "export",
    "modelparity.converters.engine.tasks:convert_float": "convert",
    "modelparity.converters.engine.tasks:quantize": "convert",
    "modelparity.modelfiles.model_card:write_metadata": "convert",
    "modelparity.parity.simulation.activations:simulate": "simulation",
    "modelparity.parity.simulation.network:coarsest": "coarsest layer",
}
_BY_CALLER = {
    "modelparity.parity.noise_floor:float32_runs": "noise floor",
    "modelparity.parity.search.opposite:opposite": "images of the other decision",
    "modelparity.parity.reference:reference_of": "reference in float64",
    ":".join(("modelparity.parity.reference", "of")): "references of generated inputs",  # a method
}
_AGAIN = "modelparity.parity.prove:_converted_again"
# The first call of a module imports it, and what it imports at its top.
_IMPORT = "timeit:timeit"
_START = "start of processes"
_OWN = "this process"


class Profile:
    """CPU seconds by (format, quantization) and step."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.calls: dict[str, int] = defaultdict(int)
        self._cell = SHARED

    def add(self, step: str, seconds: float) -> None:
        self.seconds[self._cell][step] += seconds
        self.calls[step] += 1

    @contextmanager
    def of(self, cell: tuple[str, str]) -> Iterator[None]:
        """What is added meanwhile is the cell's, and so is the time of this process."""
        self._cell, start = cell, time.process_time()
        try:
            yield
        finally:
            self.add(_OWN, time.process_time() - start)
            self._cell = SHARED


class ProfiledWorker(Worker):
    """Adds the CPU time of each call to a profile."""

    def __init__(self, name: str, profile: Profile) -> None:
        super().__init__(name)
        self._profile = profile
        self._known: tuple[int, float] = (0, 0.0)  # of which process, how many seconds are in the profile
        self._imported: set[str] = set()

    def call(self, function: str, *args: Any, timeout: float = RUN_TIMEOUT_S, **kwargs: Any) -> Reply:
        module = function.partition(":")[0]
        if self.pid is None or self.pid != self._known[0]:
            self._imported.clear()
        if module not in self._imported:
            super().call(_IMPORT, f"import {module}", number=1, timeout=timeout)
            self._imported.add(module)
            self._profile.add(_START, self._since())
        try:
            return super().call(function, *args, timeout=timeout, **kwargs)
        finally:
            self._profile.add(step_of(function), self._since())

    def _since(self) -> float:
        """CPU seconds of the process since this was asked last."""
        if self.pid is None:
            return 0.0
        times = psutil.Process(self.pid).cpu_times()
        before = self._known[1] if self._known[0] == self.pid else 0.0
        self._known = (self.pid, times.user + times.system)
        return self._known[1] - before


class ProfiledWorkers(Workers):
    def __init__(self, profile: Profile) -> None:
        super().__init__()
        self._profile = profile

    def __getitem__(self, name: str) -> Worker:
        if name not in self._workers:
            self._workers[name] = ProfiledWorker(name, self._profile)
        return super().__getitem__(name)


def step_of(function: str) -> str:
    """The step of a proof that asks a worker to run `function`, by the functions that called this one."""
    names = [
        (frame.f_globals.get("__name__"), frame.f_code.co_name) for frame, _ in traceback.walk_stack(None)
    ]
    called = {f"{module}:{name}" for module, name in names}
    if step := _BY_WORK.get(function):
        return f"{step} again" if step == "convert" and _AGAIN in called else step
    for caller, step in _BY_CALLER.items():
        if caller in called:
            return step
    judged = [name for module, name in names if module == judge.__name__]
    # The outermost is `judge` itself, and what it calls is a step.
    return judged[-2].strip("_").replace("_", " ") if len(judged) > 1 else function.partition(":")[2]


def profiled(model: str, store: Path, report: Path) -> Profile:
    """Proves all cells of a model on an empty store, measures each step, and writes the gate's report."""
    profile = Profile()
    cells = [cell for cell in all_cells() if cell.model == model]
    with Session(store, workers=ProfiledWorkers(profile)) as session:
        with profile.of(SHARED):
            session.bench.exported(session.subject(model))
            session.truth(model)
        for format in dict.fromkeys(cell.format for cell in cells):
            of_format = [cell for cell in cells if cell.format == format]
            for step in (session.convert, session.prove):  # as `prove_cells.prove_all`
                for cell in of_format:
                    with profile.of(_columns(cell)):
                        step(cell)
                session.workers.close(format)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    selected = ["-k", f"{model} and not {model}_", "--output", str(report)]
    gate = [sys.executable, "-m", "modelparity", "gate", *selected]
    environment = {**os.environ, "MODELPARITY_STORE": str(store)}
    subprocess.run(gate, env=environment, stdout=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    profile.add("latency, pictures, report", spent)
    return profile


def _columns(cell: Cell) -> tuple[str, str]:
    return cell.format, cell.quantization


def table(profile: Profile) -> str:
    """One row for each step, one column for each cell; the last row and column are sums."""
    cells = list(profile.seconds)
    steps = list(dict.fromkeys(step for cell in cells for step in profile.seconds[cell]))
    totals = {step: sum(profile.seconds[cell].get(step, 0.0) for cell in cells) for step in steps}
    whole = sum(totals.values())
    rows = [
        [
            step,
            profile.calls[step],
            *(_text(profile.seconds[cell].get(step, 0.0)) for cell in cells),
            _text(totals[step]),
            f"{100 * totals[step] / whole:.0f} %",
        ]
        for step in sorted(steps, key=totals.__getitem__, reverse=True)
    ]
    sums = [_text(sum(profile.seconds[cell].values())) for cell in cells]
    rows.append(["sum", "", *sums, _text(whole), ""])
    heads = ["shared" if cell == SHARED else " ".join(cell) for cell in cells]
    return tabulate(rows, ["step", "calls", *heads, "sum", "share"], "pipe", disable_numparse=True)


def _text(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds >= 0.05 else ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m modelparity.benchmarks.profile_gate")
    parser.add_argument("models", nargs="*", default=DEFAULT)
    parser.add_argument("--output", type=Path, help="also writes the tables there")
    parser.add_argument("--reports", type=Path, help="keeps the gate's report on each model there")
    options = parser.parse_args(arguments)
    parts = []
    for model in options.models:
        with tempfile.TemporaryDirectory(prefix="profile-") as folder:
            report = (options.reports or Path(folder)) / model
            profile = profiled(model, Path(folder) / "store", report)
        load = f"Load average at the end: {os.getloadavg()[1]:.0f}, on {os.cpu_count()} cores."
        parts.append(f"## {model}\n\n{table(profile)}\n\n{load}\n")
        print(parts[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join([_HEAD, *parts]), encoding="utf-8")
    return 0


_HEAD = f"""# What a gate costs

CPU seconds, user and system, of the gate's process and all its children, on an empty store. To repeat it:

    python -m modelparity.benchmarks.profile_gate MODEL... --output reports/measurements/gate-cost.md

*{_START}* is the start of Python and the imports at the top of the modules that a child process runs; what
functions import themselves counts to their step. *{_OWN}* prepares images, draws inputs and compares outputs.
The same work takes more CPU seconds where more runs beside it: tables are compared at the same load.
"""

if __name__ == "__main__":
    sys.exit(main())
