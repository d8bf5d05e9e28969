"""What the house asks of a converter, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Converter:
    """One format.

    `module` has `convert_float(exported, target, inputs, outputs)`, `quantize(source, target,
    quantization, keep_float, calibration)` and `open_runner(path, threads)`; `toolchain` are the
    distributions whose versions decide what it writes; `dynamic_batch` says whether its files
    take any batch or only 1; `reference_kernels` whether its runtime has a second, plain
    implementation of the operators. `source` is the format whose float file it converts, where
    that is not the exported program.
    """

    format: str
    module: str
    suffix: str
    dynamic_batch: bool
    toolchain: tuple[str, ...]
    reference_kernels: bool = False
    source: str = ""
