"""Makes the claims on declared ports, weights, outputs and errors, each with number, bound and reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from modelparity.converters.recipes import Quantization
from modelparity.fixtures.arrays import Outputs
from modelparity.fixtures.specs import Signature, TensorSpec
from modelparity.modelfiles.description import Description, Port
from modelparity.parity.metrics.errors import OutputError
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim, ClaimStatus, Number, SampleRecord


def verdict(holds: bool) -> ClaimStatus:
    return "passed" if holds else "failed"


def number(value: float, digits: int = 4) -> Number | str:
    """Rounded to significant digits for the record; "nan" and "inf" as text, because JSON has neither."""
    if math.isnan(value) or math.isinf(value):
        return str(value)
    return float(f"{value:.{digits}g}")


# --- contract: what the file declares ---------------------------------------------------------


def interface(
    description: Description, signature: Signature, dynamic_batch: bool, free_size: bool = False
) -> Claim:
    """Names, order, shapes, dtypes and dynamic axes, as the file declares them."""
    observed = _ports_text(description.inputs, description.outputs)
    expected = _ports_text(
        [_port(spec, dynamic_batch, free_size) for spec in signature.inputs],
        [_port(spec, dynamic_batch) for spec in signature.outputs],
    )
    return Claim(
        "interface",
        verdict(observed == expected),
        observed,
        expected,
        because="callers bind ports by name and order, and use batches where the format allows them",
    )


def _port(spec: TensorSpec, dynamic_batch: bool, free_size: bool = False) -> Port:
    shape = spec.shape if dynamic_batch else spec.extents()
    return Port(spec.name, (*shape[:2], "height", "width") if free_size else shape, spec.dtype)


def _ports_text(inputs: Sequence[Port], outputs: Sequence[Port]) -> str:
    def text(port: Port) -> str:
        # A dynamic axis is dynamic under any name.
        axes = ",".join(
            str(axis) if isinstance(axis, int) else "any" if place else "batch"
            for place, axis in enumerate(port.shape)
        )
        return f"{port.name} {port.dtype}[{axes}]"

    return f"{', '.join(map(text, inputs))} -> {', '.join(map(text, outputs))}"


def precision(description: Description, quantization: str) -> Claim:
    return Claim(
        "precision",
        verdict(description.quantization == quantization),
        description.quantization,
        quantization,
        because="read from the operators and constants of the file, not from its name",
    )


def inference_mode(description: Description) -> list[Claim]:
    """No Dropout is active; nothing is claimed of a file without one."""
    if "Dropout" not in description.operators:
        return []
    active = [name for name in description.random if name.startswith("Dropout")]
    return [
        Claim(
            "inference_mode",
            verdict(not active),
            ", ".join(active) or "no Dropout is active",
            "no Dropout is active",
            because="in training mode a file drops values at random; runtimes may skip it, and others do not",
        )
    ]


def weight_share(
    description: Description, recipe: Quantization, reachable: Callable[[], float]
) -> list[Claim]:
    """The share of weights in the type that the recipe promises; none where it promises nothing.

    An 8-bit weight is int8, or uint8 about a zero point of 128. `reachable` returns the share of the float
    file's weights in layers that recipes of integers quantize: the promise is of those.
    """
    if not recipe.weight_share:
        return []
    dtypes = {recipe.weights, recipe.weights.replace("int", "uint")}
    bound = recipe.weight_share
    total = sum(description.weights.values())
    share = sum(description.weights.get(dtype, 0) for dtype in dtypes) / total if total else 0.0
    detail = ""
    if recipe.rounds_activations and share < bound and (most := reachable()):
        bound *= most
        detail = f"{most:.2g} of the weights are in layers that the recipe quantizes"
    claim = Claim(
        "weight_share",
        verdict(share >= bound),
        number(share),
        number(bound),
        because=f"{recipe.name} promises {recipe.weights} weights; a file without them has another precision",
        detail=detail,
        sense=">=",
    )
    return [claim]


def not_promised(claim: Claim) -> str:
    """Why a file from elsewhere is not held to a `weight_share` that it falls short of."""
    return f"its recipe promises no share of the weights, and quantizes {claim.observed} of them"


def fed_otherwise(description: Description | None, signature: Signature) -> str:
    """Why a file cannot be run on what the network takes; "" if it can.

    `interface` says it, too. A caller would have to quantize what such a file is fed.
    """
    due = {spec.name: spec.dtype for spec in signature.inputs}
    for port in description.inputs if description is not None else ():
        if port.dtype != due.get(port.name, port.dtype):
            return (
                f"it takes {port.name} in {port.dtype}, and the network in {due[port.name]}: see `interface`"
            )
    return ""


def weight_count(description: Description, weights: int, elements: int) -> Claim:
    """All of the network's weights are in the file.

    More than `elements`, which count everything that the network holds, is no fault: exporters expand small
    tables, and write a layer before PReLU twice, once with the other sign. The detail says so, and the file's
    size shows it.
    """
    total = sum(description.weights.values())
    more = f"{total - elements:,} more than the network holds" if total > elements else ""
    return Claim(
        "weight_count",
        verdict(total >= weights),
        total,
        weights,
        because="exporters fold normalisations, but keep every kernel and matrix",
        detail=more,
        sense=">=",
    )


# --- contract: what comes out -----------------------------------------------------------------


def outputs_as_declared(runs: Sequence[tuple[str, Outputs]], signature: Signature, batch: int = 1) -> Claim:
    """Every run returned exactly the declared outputs, in the shapes and dtypes of the signature."""
    expected = {spec.name: (spec.extents(batch), spec.dtype) for spec in signature.outputs}
    for label, outputs in runs:
        got = {name: (tuple(value.shape), str(value.dtype)) for name, value in outputs.items()}
        if got != expected:
            return Claim(
                "outputs", "failed", _got(got), _got(expected), _BECAUSE_OUTPUTS, detail=f"for {label}"
            )
    return Claim("outputs", "passed", _got(expected), _got(expected), _BECAUSE_OUTPUTS)


_BECAUSE_OUTPUTS = "a missing, extra or misshapen output fails the cell; nothing is skipped for it"


def _got(ports: Mapping[str, tuple[tuple[int, ...], str]]) -> str:
    return ", ".join(f"{name} {dtype}{list(shape)}" for name, (shape, dtype) in sorted(ports.items()))


def finite(runs: Sequence[tuple[str, Outputs]]) -> Claim:
    """No NaN and no infinity in any output of any run."""
    for label, outputs in runs:
        for name, value in outputs.items():
            bad = ~np.isfinite(value)
            if bad.any():
                at = tuple(int(i) for i in np.argwhere(bad)[0])
                return Claim(
                    "finite",
                    "failed",
                    int(bad.sum()),
                    0,
                    _BECAUSE_FINITE,
                    output=name,
                    detail=f"{name}{list(at)} = {value[at]} for {label}, but should be finite",
                )
    return Claim("finite", "passed", 0, 0, _BECAUSE_FINITE)


_BECAUSE_FINITE = "every input is finite, and the network's outputs are"


def in_range(runs: Sequence[tuple[str, Outputs]], signature: Signature) -> list[Claim]:
    """Outputs with a declared range, such as probabilities in 0..1, stay within it: one claim for each."""
    claims = []
    for spec in signature.outputs:
        if spec.range is None:
            continue
        low, high = spec.range[0], math.inf if spec.range[1] is None else spec.range[1]
        values = [(label, outputs[spec.name]) for label, outputs in runs if spec.name in outputs]
        least = min((float(value.min()), label) for label, value in values)
        most = max((float(value.max()), label) for label, value in values)
        holds = low <= least[0] and most[0] <= high
        label = least[1] if least[0] < low else most[1]
        claims.append(
            Claim(
                "range",
                verdict(holds),
                f"{least[0]:.4g} to {most[0]:.4g}",
                f"{low:g} to {high:g}" if high < math.inf else f"at least {low:g}",
                because=f"{spec.name} is a {spec.meaning}",
                output=spec.name,
                detail="" if holds else f"for {label}",
            )
        )
    return claims


LEAST_SPREAD = 1000  # noise floors; an output that varies by less cannot show a wrong file


# --- parity -----------------------------------------------------------------------------------


def non_constant(reference: Reference, errors: Sequence[OutputError]) -> list[Claim]:
    """The reference varies by far more than rounding; otherwise a wrong file could not be detected."""
    return [
        Claim(
            "non_constant",
            "passed" if error.spread >= LEAST_SPREAD * reference.floors[error.output] else "inconclusive",
            number(error.spread),
            number(LEAST_SPREAD * reference.floors[error.output]),
            because="an output that hardly varies agrees with everything",
            output=error.output,
            detail=f"{error.output} hardly varies over the evaluation set: any conversion would agree with it"
            if error.spread < LEAST_SPREAD * reference.floors[error.output]
            else "",
            sense=">=",
        )
        for error in errors
    ]


def float_parity(reference: Reference, error: OutputError) -> Claim:
    """Root-mean-square error of the worst sample, in units of the network's own float32 error."""
    worst = error.worst_rms
    floor = reference.floors[error.output]
    ratio, bound = worst.rms / floor, reference.allowed(error.output)
    return Claim(
        "float_parity",
        verdict(ratio <= bound),
        number(ratio),
        number(bound, 3),
        reference.multiples.because,
        output=error.output,
        unit="floors",
        detail=(
            f"worst sample {reference.names[worst.sample]}: rms error {worst.rms:.3g}, greatest |error| "
            f"{error.worst_max.max_abs:.3g} at {error.worst_max.at}; the network's own float32 error is "
            f"{floor:.3g}; would pass at {ratio:.3g} floors"
        ),
        sense="<=",
        figures={
            "floor": number(floor),
            "error": number(worst.rms),
            "headroom": number(bound / ratio if ratio else math.inf),
        },
    )


def sample_records(reference: Reference, error: OutputError) -> list[SampleRecord]:
    """One output's error on each image, rounded for the record."""

    def finite(value: float, digits: int) -> float | None:
        rounded = number(value, digits)
        return None if isinstance(rounded, str) else float(rounded)

    return [
        SampleRecord(
            reference.names[sample.sample],
            error.output,
            finite(sample.max_abs, 4),
            finite(sample.sqnr_db, 4),
        )
        for sample in error.samples
    ]


# --- repetition -------------------------------------------------------------------------------


def same_bytes(name: str, first: Outputs, second: Outputs, because: str) -> Claim:
    """Two runs returned the same bytes in every output."""
    differing = [
        output
        for output in sorted({*first, *second})
        if output not in first or output not in second or first[output].tobytes() != second[output].tobytes()
    ]
    return Claim(
        name,
        verdict(not differing),
        ", ".join(differing) or "same bytes",
        "same bytes",
        because,
        detail=f"{', '.join(differing)} differ between two runs on the same image" if differing else "",
    )


def reproducible(sha256: str, again: str) -> Claim:
    return Claim(
        "reproducible",
        verdict(sha256 == again),
        again[:16],
        sha256[:16],
        because="a second conversion, in another process, writes the same file",
    )
