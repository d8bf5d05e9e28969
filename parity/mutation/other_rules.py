"""Says which published rules would refuse a file, from its outputs and the network's own in PyTorch.

Each rule gets what its users have: the network's outputs on the same images in float32 and, where it asks
for them, in float64. Outputs are compared by name. A file that does not run, or lacks an output, or gives
one of another shape, is refused by all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modelparity.fixtures.arrays import Array, Outputs
from modelparity.parity.metrics.errors import rms

_LEAST_DB = 30.0


@dataclass(frozen=True)
class Compared:
    """One output on one image: the file's, and the network's in float32 and float64."""

    got: Array
    float32: Array
    float64: Array


def refused_by(
    outputs: Sequence[Outputs], float32: Sequence[Outputs], float64: Sequence[Outputs]
) -> dict[str, bool]:
    """Whether each rule refuses a file that gives these outputs, one dictionary for each image."""
    shapes = [[{name: value.shape for name, value in one.items()} for one in of] for of in (outputs, float32)]
    if not outputs or shapes[0] != shapes[1]:
        return dict.fromkeys(RULES, True)
    by_output = {
        name: [
            Compared(got[name], single[name], double[name])
            for got, single, double in zip(outputs, float32, float64, strict=True)
        ]
        for name in float32[0]
    }
    with np.errstate(all="ignore"):
        return {
            name: not all(accepts(images) for images in by_output.values()) for name, accepts in RULES.items()
        }


def _absolute(images: Sequence[Compared]) -> bool:
    """Every value within 1e-5: `torch.testing.assert_close(got, float32, atol=1e-5, rtol=0)`."""
    return all(bool((_apart(image) <= 1e-5).all()) for image in images)


def _dynamo(images: Sequence[Compared]) -> bool:
    """As accurate as float32: `torch._dynamo.utils.same` of PyTorch 2.14, with its default tolerance.

    `same(float32, got, fp64_ref=float64)`: of one dtype, and each value within 1e-4 absolute and relative
    together, or the rms error at most 2 times float32's own (3 times for fewer than 1000 values and for maps
    of 1 x 1) plus a tenth of the tolerance.
    """
    return all(map(_same, images))


def _same(image: Compared, tolerance: float = 1e-4) -> bool:
    if image.got.dtype != image.float32.dtype:
        return False
    if (_apart(image) <= tolerance + tolerance * np.abs(image.got)).all():
        return True
    if image.float64.dtype != np.float64:
        return False
    small = image.got.size < 1000 or (image.got.ndim == 4 and image.got.shape[-2:] == (1, 1))
    own = rms(image.float32 - image.float64)
    return rms(image.got - image.float64) <= (3.0 if small else 2.0) * own + tolerance / 10


def _polygraphy(images: Sequence[Compared]) -> bool:
    """No value beyond 1e-5 absolute and 1e-5 relative: `polygraphy run`, `CompareFunc.simple`.

    https://docs.nvidia.com/deeplearning/tensorrt/polygraphy/docs/comparator/compare_func.html: its default
    is `elemwise`, which counts a value that exceeds both tolerances.
    """
    return all(
        bool(((_apart(i) <= 1e-5) | (_apart(i) <= 1e-5 * np.abs(i.float32.astype(np.float64)))).all())
        for i in images
    )


def _sqnr(images: Sequence[Compared]) -> bool:
    """20 log10(|float32| / |float32 - got|) of all images: `torch.ao.ns.fx.utils.compute_sqnr`."""
    signal = np.sqrt(sum(float(np.sum(image.float32.astype(np.float64) ** 2)) for image in images))
    noise = np.sqrt(sum(float(np.sum(_apart(image) ** 2)) for image in images))
    return bool(noise == 0 or 20 * np.log10(signal / noise) > _LEAST_DB)


def _apart(image: Compared) -> Array:
    return np.abs(image.got.astype(np.float64) - image.float32.astype(np.float64))


RULES: Mapping[str, Callable[[Sequence[Compared]], bool]] = {
    "absolute, 1e-5": _absolute,
    "PyTorch Dynamo, float64": _dynamo,
    "Polygraphy's default": _polygraphy,
    "SQNR > 30 dB": _sqnr,
}
