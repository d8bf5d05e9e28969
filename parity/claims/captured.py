"""Makes the claim that an exported program computes what its module computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modelparity.fixtures.arrays import Array, Outputs
from modelparity.fixtures.programs import ProgramSpec
from modelparity.parity.claims.basic import number, verdict
from modelparity.parity.metrics.errors import difference
from modelparity.parity.noise_floor import float32_runs, noises
from modelparity.parity.reference import FLOAT
from modelparity.parity.results import Claim

_BECAUSE = "every file is made from the program, so that a wrong program would make all of them agree"


def captured(
    spec: ProgramSpec,
    run: Callable[..., list[Outputs]],
    feeds: Mapping[str, Array],
    outputs: Mapping[str, Array],
) -> tuple[Claim, ...]:
    """One claim for each output of the module on its example inputs, against the program in float64.

    The bound is that of a float file (`FLOAT`): a multiple of the program's own float32 error. `run` runs the
    program as `float32_runs` has it.
    """
    truth, again = (run([feeds], precision="float64") for _ in range(2))
    if (drawn := _random(truth[0], again[0])) is not None:
        return (drawn,)
    noise = noises(spec, truth, float32_runs(run, [feeds], repeat=False))
    claims = []
    for name, own in outputs.items():
        expected = truth[0][name]
        if own.shape != expected.shape:
            shapes = str(list(own.shape)), str(list(expected.shape))
            detail = f"torch.export changed the shape of {name}"
            claims.append(Claim("captured", "failed", *shapes, _BECAUSE, name, detail=detail))
            continue
        ratio = difference(own, expected).rms / noise[name].rms if own.size else 0.0
        detail = (
            f"the module and its exported program differ by {ratio:.3g} noise floors in {name}: torch.export"
            " changed the network"
        )
        holds = ratio <= FLOAT.most
        claims.append(
            Claim(
                "captured",
                verdict(holds),
                number(ratio),
                FLOAT.most,
                _BECAUSE,
                name,
                "floors",
                "" if holds else detail,
                "<=",
            )
        )
    return tuple(claims)


def _random(first: Outputs, again: Outputs) -> Claim | None:
    """The failed claim on a program of which two runs on one input differ; None for any other."""
    for name, value in first.items():
        if again[name].tobytes() != value.tobytes():
            apart = difference(again[name], value).rms
            detail = (
                f"{name} differs between two runs on the same input: the network draws random numbers, as"
                " Dropout does that is left on"
            )
            return Claim("captured", "failed", number(apart), 0, _BECAUSE, name, detail=detail)
    return None
