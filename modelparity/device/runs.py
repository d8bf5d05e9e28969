"""Lists the runs that a device is asked for: those which a judge asks of a right file.

So the list is made by a judge, whose file is the network in float64. Whatever a judge asks of a file, it asks
of a device, and there is no second list that could fall behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelparity.converters.engine.workbench import digest_of_arrays
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.fixtures.arrays import Array, Feeds, Outputs
from modelparity.parity.cells import Cell
from modelparity.parity.judge import Judge
from modelparity.parity.reference import ReferenceData
from modelparity.parity.rounded_reference import RoundedReference
from modelparity.parity.session import Session


@dataclass(frozen=True)
class Asked:
    """One run of the file.

    Attributes:
        words: What it is, for people.
        feed: Inputs by name.
        outputs: What is due, by name: arrays of the shape and dtype that are declared.
        threads: On how many threads the file should run.
        load_anew: Whether the file should be loaded again before.
    """

    words: str
    feed: Feeds
    outputs: Outputs
    threads: int
    load_anew: bool

    @property
    def key(self) -> tuple[str, int]:
        """What a judge asks for: runs of one key differ by their order alone."""
        return digest_of_arrays([self.feed]), self.threads


def runs_asked(session: Session, cell: Cell) -> list[Asked]:
    """The runs in the order in which a judge asks for them.

    The first image of the evaluation set runs again in several settings; any other input runs once.
    """
    truth = session.truth(cell.model)
    device = _RightDevice(truth, is_float=QUANTIZATIONS[cell.quantization].is_float, session=session)
    judge = Judge(
        session.bench,
        truth,
        cell,
        Path(),
        check_budget=session.check_budget,
        calibration=session.calibration(cell.model),
        run=device,
    )
    threads = session.check_budget.threads
    judge.outputs = device(truth.reference.feeds, fresh=True, threads=threads)
    if truth.opposite is not None:
        device(truth.opposite.feeds, threads=threads)
    judge.other_settings(RoundedReference(truth.reference, {}))
    return device.asked


class _RightDevice:
    """Gives the network's own outputs, so that a judge goes on, and notes what it was asked for."""

    def __init__(self, truth: ReferenceData, *, is_float: bool, session: Session) -> None:
        self.asked: list[Asked] = []
        self._truth = truth
        self._is_float = is_float
        self._session = session
        self._dtypes = {spec.name: spec.dtype for spec in truth.subject.signature.outputs}
        self._names: dict[str, str] = {}
        self._known: dict[str, Outputs] = {}
        for reference in filter(None, (truth.reference, truth.opposite)):
            for index, feed in enumerate(reference.feeds):
                digest = digest_of_arrays([feed])
                self._names[digest] = reference.names[index]
                self._known[digest] = {name: of[index] for name, of in reference.outputs.items()}
        self._first = digest_of_arrays(truth.reference.feeds[:1])

    def __call__(self, feeds: Sequence[Feeds], fresh: bool = False, threads: int = 1) -> list[Outputs]:
        return [self._run(feed, fresh and place == 0, threads) for place, feed in enumerate(feeds)]

    def _run(self, feed: Feeds, fresh: bool, threads: int) -> Outputs:
        digest = digest_of_arrays([feed])
        if digest not in self._known:
            self._known[digest] = self._right(feed)
        outputs: dict[str, Array] = {
            name: np.asarray(value, self._dtypes[name]) for name, value in self._known[digest].items()
        }
        run = Asked(self._words(digest, feed, fresh, threads), feed, outputs, threads, fresh)
        if digest == self._first or run.key not in {each.key for each in self.asked}:
            self.asked.append(run)
        return outputs

    def _right(self, feed: Feeds) -> Outputs:
        if self._is_float:  # generated inputs are compared with float64, and a wrong one would end the search
            return self._truth.generated.of(feed)[0]
        return self._session.bench.reference(self._truth.subject, [feed])[0]

    def _words(self, digest: str, feed: Feeds, fresh: bool, threads: int) -> str:
        name = self._names.get(digest)
        if name is None:
            count = len(next(iter(feed.values())))
            return f"a batch of {count}" if count > 1 else "another input"
        before = [run for run in self.asked if run.key == (digest, threads)]
        if fresh and before:
            return f"{name}, in the file loaded anew"
        if before:
            return f"{name}, again"
        other = digest == self._first and any(run.key[0] == digest for run in self.asked)
        return f"{name}, on {threads} threads" if other else name
