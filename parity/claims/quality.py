"""Measures what a precision costs: changed decisions and SQNR against float64, over the evaluation set.

Whether that is good enough depends on what a file is for, so nothing here is a bound, with one exception
that needs no number: an output, or a channel of it, that tells no more about the reference than a constant
would (`better_than_constant`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from modelparity.fixtures.arrays import Array
from modelparity.parity.claims.basic import LEAST_SPREAD, number, verdict
from modelparity.parity.metrics.chance import CONFIDENCE
from modelparity.parity.metrics.detection_matching import Pair
from modelparity.parity.metrics.errors import OutputError, decibels
from modelparity.parity.results import Claim, DecisionRecord, QualityRecord

_FEWEST = 3  # images that an interval needs
_BECAUSE = "an output that a constant would replace is lost, whatever the file is for; that needs no budget"


def quality(
    errors: Sequence[OutputError], decisions: Sequence[DecisionRecord], *, is_price: bool
) -> QualityRecord:
    """Decisions that differ from the reference's, and each output's SQNR over all images and on the worst."""

    def finite(value: float) -> float | None:
        rounded = number(value)
        return None if isinstance(rounded, str) else float(rounded)

    return QualityRecord(
        decisions=tuple(decisions),
        sqnr_db={error.output: finite(error.sqnr_db) for error in errors},
        worst_sqnr_db={error.output: finite(error.worst_rms.sqnr_db) for error in errors},
        is_price=is_price,
    )


def not_finite(errors: Sequence[OutputError]) -> str:
    """Names the outputs with an error that is NaN or infinite, such as "NaN in score"; "" if none has one."""
    nan = [error.output for error in errors if math.isnan(error.worst_max.max_abs)]
    infinite = [error.output for error in errors if math.isinf(error.worst_max.max_abs)]
    found = [("NaN", nan), ("infinite values", infinite)]
    return ", ".join(f"{kind} in {', '.join(outputs)}" for kind, outputs in found if outputs)


def words(measured: QualityRecord, errors: Sequence[OutputError]) -> str:
    """The changed decisions first, then the lowest SQNR: such as "0 of 12 labels change, 32.9 dB".

    Outputs that are not finite have no SQNR, and are named instead of it.
    """
    said = [f"{each.changed} of {each.of} {each.plural} change" for each in measured.decisions[:1]]
    if named := not_finite(errors):
        return ", ".join([*said, named])
    known = [db for db in measured.sqnr_db.values() if db is not None]
    if known:
        said.append(f"{min(known):.1f} dB")
    return ", ".join(said) or "equal"


def better_than_constant(pairs: Sequence[Pair], floors: Mapping[str, float]) -> list[Claim]:
    """One claim for each output: every channel tells more about the reference than a constant would.

    A channel has a signal (its mean squared deviation from the reference's mean over all images, which is the
    best constant) and, on each image, noise (its squared error). It is refused if the 95 % interval of the
    mean noise, by Student's t over the images, reaches the signal. The signal has no interval: it is that of
    these images, and one image that stands out must not refuse an exact file. A channel that varies by less
    than `LEAST_SPREAD` noise floors is left out, as `non_constant` says, and so is an output with fewer than
    three images.
    """
    claims = []
    for name, floor in floors.items():
        compared = [pair for pair in pairs if not pair.nothing and pair.expected[name].size]
        if len(compared) < _FEWEST:
            continue
        channels = (_above_constant(compared, name, channel, floor) for channel in _channels(compared, name))
        worst = max(filter(None, channels), key=lambda found: found[0], default=None)
        if worst is not None:
            claims.append(_claim(name, *worst))
    return claims


def _channels(pairs: Sequence[Pair], name: str) -> list[int | None]:
    """The channels of an output [1, C, ...]; None stands for the whole of any other."""
    shapes = {pair.expected[name].shape[1:2] for pair in pairs}
    (channels,) = shapes if len(shapes) == 1 else ((),)
    if pairs[0].rows != (0, 0) or not channels or channels[0] == 1:
        return [None]
    return list(range(channels[0]))


def _above_constant(
    pairs: Sequence[Pair], name: str, channel: int | None, floor: float
) -> tuple[float, float, int | None] | None:
    """The noise-to-signal ratio at the upper end of its interval; SQNR in dB; the channel.

    None without signal.
    """

    def part(values: Array) -> Array:
        return np.asarray(values if channel is None else values[:, channel], np.float64).ravel()

    from scipy import stats

    expected = [part(pair.expected[name]) for pair in pairs]
    observed = [part(pair.observed[name]) for pair in pairs]
    together = np.concatenate(expected)
    signal = float(np.mean([np.mean((values - together.mean()) ** 2) for values in expected]))
    if math.sqrt(signal) < LEAST_SPREAD * floor:
        return None
    noise = np.array([np.mean((got - due) ** 2) for got, due in zip(observed, expected, strict=True)])
    error = float(noise.std(ddof=1)) / math.sqrt(len(noise))
    most = float(noise.mean()) + float(stats.t.ppf((1 + CONFIDENCE) / 2, len(noise) - 1)) * error
    return (
        math.inf if math.isnan(most) else most / signal,
        decibels(signal, float(noise.mean())),
        channel,
    )


def _claim(name: str, noise: float, sqnr_db: float, channel: int | None) -> Claim:
    where = name if channel is None else f"{name}, channel {channel}"
    lost = "" if noise < 1 else ", with an interval that reaches 0: a constant would tell as much"
    return Claim(
        "better_than_constant",
        verdict(noise < 1),
        number(noise),
        1,
        _BECAUSE,
        output=name,
        unit="noise/signal",
        detail=f"{where}: SQNR {sqnr_db:.1f} dB{lost}",
        sense="<=",
    )
