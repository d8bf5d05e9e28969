"""The claims: each takes what was observed and says whether it holds, with number, bound and reason."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from modelparity.converters.recipes import Quantization
from modelparity.fixtures.specs import Signature, TensorSpec
from modelparity.modelfiles.description import Description, Port
from modelparity.parity.claims.margins import error_bound
from modelparity.parity.metrics.detection_matching import Pair, ties
from modelparity.parity.metrics.errors import Array, OutputError
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim, ClaimStatus, Number
from modelparity.parity.tolerances import FloatTolerance, QuantizedTolerance

Outputs = Mapping[str, Array]


def verdict(holds: bool) -> ClaimStatus:
    return "passed" if holds else "failed"


def number(value: float, digits: int = 4) -> Number | str:
    """Rounded to significant digits for the record; "nan" and "inf" as text, for JSON has neither."""
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
        because="callers bind by name and order, and batch where the format can",
    )


def _port(spec: TensorSpec, dynamic_batch: bool, free_size: bool = False) -> Port:
    batch = "batch" if dynamic_batch else 1
    shape = tuple(batch if isinstance(axis, str) else axis for axis in spec.shape)
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


def weight_share(description: Description, recipe: Quantization) -> Claim | None:
    """The share of weights in the type that the recipe promises; None where it promises nothing.

    An 8-bit weight is int8, or uint8 about a zero point of 128.
    """
    dtypes, bound = (
        (("int8", "uint8"), recipe.int8_share) if recipe.int8_share else (("float16",), recipe.float16_share)
    )
    if not bound:
        return None
    total = sum(description.weights.values())
    share = sum(description.weights.get(dtype, 0) for dtype in dtypes) / total if total else 0.0
    return Claim(
        "weight_share",
        verdict(share >= bound),
        number(share),
        bound,
        because=f"{recipe.name} promises {dtypes[0]} weights; a file without them is another file",
        sense=">=",
    )


def weight_count(description: Description, weights: int, elements: int) -> Claim:
    """All of the network's weights, and no others: a variant must not carry what it does not use."""
    total = sum(description.weights.values())
    low, high = weights, math.ceil(elements * 1.02) + 1000
    return Claim(
        "weight_count",
        verdict(low <= total <= high),
        total,
        f"{low} to {high}",
        because="exporters fold normalisations and expand small tables, but keep every kernel and matrix",
    )


# --- contract: what comes out -----------------------------------------------------------------


def outputs_as_declared(runs: Sequence[tuple[str, Outputs]], signature: Signature, batch: int = 1) -> Claim:
    """Every run returned every output, none more, in the shape and dtype of the signature."""
    expected = {spec.name: (_shape(spec, batch), spec.dtype) for spec in signature.outputs}
    for label, outputs in runs:
        got = {name: (tuple(value.shape), str(value.dtype)) for name, value in outputs.items()}
        if got != expected:
            return Claim(
                "outputs", "failed", _got(got), _got(expected), _BECAUSE_OUTPUTS, detail=f"for {label}"
            )
    return Claim("outputs", "passed", _got(expected), _got(expected), _BECAUSE_OUTPUTS)


_BECAUSE_OUTPUTS = "a missing, extra or misshapen output is a finding, never a skip"


def _shape(spec: TensorSpec, batch: int) -> tuple[int, ...]:
    return tuple(batch if isinstance(axis, str) else axis for axis in spec.shape)


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
    """Outputs that mean a probability lie in 0..1, one claim for each output with a range."""
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


# --- parity -----------------------------------------------------------------------------------


def alive(reference: Reference, errors: Sequence[OutputError]) -> list[Claim]:
    """The reference varies over the stream by far more than rounding; else nothing could be seen in it."""
    return [
        Claim(
            "non_constant",
            "passed" if error.spread >= 1000 * reference.floors[error.output] else "inconclusive",
            number(error.spread),
            number(1000 * reference.floors[error.output]),
            because="an output that hardly varies agrees with everything",
            output=error.output,
            detail=f"{error.output} hardly varies over the stream: any conversion would agree with it"
            if error.spread < 1000 * reference.floors[error.output]
            else "",
            sense=">=",
        )
        for error in errors
    ]


def detections(
    reference: Reference, pairs: Sequence[Pair], tolerance: FloatTolerance | QuantizedTolerance
) -> list[Claim]:
    """How many detections come out otherwise, and whether more than one category is ever reported."""
    kinds = sorted({int(kind) for values in reference.outputs["category"] for kind in np.unique(values)})
    return [
        _alike(reference, pairs, tolerance)
        if isinstance(tolerance, FloatTolerance)
        else _partnered(reference, pairs, tolerance),
        Claim(
            "non_constant",
            "passed" if len(kinds) > 1 else "inconclusive",
            ", ".join(map(str, kinds)),
            "more than one",
            because="a category that never changes cannot be seen to be right",
            output="category",
        ),
    ]


def _alike(reference: Reference, pairs: Sequence[Pair], tolerance: FloatTolerance) -> Claim:
    """Rows without a partner that is the same box, by the error that a single value may have."""
    otherwise, allowed = unlike(reference, pairs, tolerance)
    most = max(range(len(pairs)), key=lambda i: unlike(reference, [pairs[i]], tolerance)[0])
    return Claim(
        "detections",
        verdict(otherwise <= allowed),
        otherwise,
        allowed,
        because=tolerance.because,
        unit="detections",
        detail=(
            f"of {sum(max(pair.rows) for pair in pairs)} that many come out otherwise, most of them in "
            f"{reference.names[most]}{_lost(pairs[most])}; would pass at {otherwise}"
        ),
        sense="<=",
    )


def unlike(reference: Reference, pairs: Sequence[Pair], tolerance: FloatTolerance) -> tuple[int, int]:
    """How many detections come out otherwise, and how many may by ties."""
    bounds = {name: error_bound(reference, name, tolerance).value for name in reference.floors}
    rows = sum(max(pair.rows) for pair in pairs)
    return sum(pair.unlike(bounds) for pair in pairs), ties(rows)


def share_alike(
    reference: Reference, pair: Pair, floors: Mapping[str, float], tolerance: FloatTolerance
) -> float:
    """Of a drawn image's detections, whose `floors` are float32's on it; 1 where there is none."""
    there = {name: max(usual, floors.get(name, 0.0)) for name, usual in reference.floors.items()}
    near, bound = (
        replace(reference, floors=there),
        replace(tolerance, floors=tolerance.generated_floors, apart={}),
    )
    otherwise = pair.unlike({name: error_bound(near, name, bound).value for name in there})
    return 1 - otherwise / max(pair.rows) if any(pair.rows) else 1.0


def _partnered(reference: Reference, pairs: Sequence[Pair], tolerance: QuantizedTolerance) -> Claim:
    """The share of rows that have a partner, near or far."""
    share = float(np.mean([pair.share for pair in pairs]))
    worst = min(range(len(pairs)), key=lambda i: pairs[i].share)
    return Claim(
        "detections",
        verdict(share >= tolerance.matched),
        number(share),
        tolerance.matched,
        because=tolerance.because,
        detail=(
            f"worst sample {reference.names[worst]}: {pairs[worst].share:.3g} of the detections have a "
            f"partner{_lost(pairs[worst])}; would pass at {share:.4g}"
        ),
        sense=">=",
    )


def _lost(pair: Pair) -> str:
    if pair.lost is None:
        return ""
    return f", where none has reference row {pair.lost[1]}, of score {pair.lost[2]:.3g}"


def ordered_corners(runs: Sequence[tuple[str, Outputs]]) -> Claim:
    """Boxes are x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, best score first."""
    for label, outputs in runs:
        location, score = outputs["location"], outputs["score"]
        crossed = (location[..., :2] > location[..., 2:]).any(axis=-1)
        unsorted = np.diff(score, axis=-1) > 0
        for bad, words in ((crossed, "corners are crossed"), (unsorted, "scores rise")):
            if bad.any():
                at = tuple(int(i) for i in np.argwhere(bad)[0])
                return Claim(
                    "ordered", "failed", words, _ORDERED, _BECAUSE_ORDERED, detail=f"at {at} for {label}"
                )
    return Claim("ordered", "passed", _ORDERED, _ORDERED, _BECAUSE_ORDERED)


_ORDERED = "corners low to high, scores high to low"
_BECAUSE_ORDERED = "callers crop by the corners and cut off by the score"


def float_parity(reference: Reference, error: OutputError, tolerance: FloatTolerance) -> Claim:
    """Root-mean-square error of the worst sample, in units of the network's own float32 error."""
    worst = error.worst_rms
    floor = reference.floors[error.output]
    ratio, bound = worst.rms / floor, tolerance.of(error.output)
    return Claim(
        "float_parity",
        verdict(ratio <= bound),
        number(ratio),
        bound,
        tolerance.because,
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


def quantized_parity(reference: Reference, error: OutputError, tolerance: QuantizedTolerance) -> list[Claim]:
    """SQNR against float64, over the stream and for its worst sample."""
    worst = error.worst_rms
    detail = (
        f"worst sample {reference.names[worst.sample]}: greatest |error| {error.worst_max.max_abs:.3g} "
        f"at {error.worst_max.at} in {reference.names[error.worst_max.sample]}"
    )
    return [
        Claim(
            name,
            verdict(value >= bound),
            number(value),
            bound,
            tolerance.because,
            output=error.output,
            unit="dB",
            detail=f"{detail}; would pass at SQNR >= {value:.1f} dB",
            sense=">=",
        )
        for name, value, bound in (
            ("sqnr", error.sqnr_db, tolerance.sqnr_db[error.output]),
            ("worst_sqnr", worst.sqnr_db, tolerance.worst_sqnr_db[error.output]),
        )
    ]


# --- the same again ---------------------------------------------------------------------------


def same_bytes(name: str, first: Outputs, second: Outputs, because: str) -> Claim:
    """The two runs returned the very same bytes, output by output."""
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
        because="a second conversion by a process of its own writes the same file",
    )
