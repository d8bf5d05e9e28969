"""A network of a few hundred weights, and the spec it goes by: what liars are judged on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelparity.converters.converter import Converter
from modelparity.converters.engine.workers import Worker, Workers
from modelparity.converters.formats import CONVERTERS
from modelparity.fixtures.specs import ModelSpec, Preprocessing, TensorSpec
from modelparity.parity.cells import Cell

LIARS = Path(__file__).parents[1] / "liars"
SCORE = TensorSpec("score", ("batch", 1), "probability of one thing", (0.0, 1.0))
SPEC = ModelSpec(
    name="miniature",
    title="Miniature",
    deployed="meta_tests.miniatures.miniature_network:Deployed",
    published="meta_tests.miniatures.miniature_network:Deployed",
    published_outputs=("score", "doubt", "mask"),
    golden=str(Path(__file__).with_name("miniature")),  # absolute: it lies beside this file
    preprocessing=Preprocessing("bilinear"),
    input_sizes=(32,),
    default_input_size=32,
    outputs=(
        SCORE,
        replace(SCORE, name="doubt", meaning="probability of another"),
        TensorSpec("mask", ("batch", 1, "H", "W"), "probability of a pixel", (0.0, 1.0)),
    ),
)
FREE_SIZE = replace(
    SPEC,
    deployed="meta_tests.miniatures.miniature_network:AnySize",
    free_size=True,
    outputs=(*SPEC.outputs[:2], replace(SPEC.outputs[2], shape=("batch", 1, 32, 32))),
)
# With a label that is no on every photograph and yes on some plain colours; and with one that is no on every
# image that is tried, so that it cannot be proven.
DECIDED = replace(SPEC, outputs=(replace(SCORE, decision="probability"), *SPEC.outputs[1:]))
UNDECIDED = replace(SPEC, outputs=(SCORE, replace(SPEC.outputs[1], decision="probability"), SPEC.outputs[2]))


def converter(name: str) -> Converter:
    """A format as it is, a liar, or "honest": the real ONNX module under another name; TFLite's where
    kernels are told apart.
    """
    if name in CONVERTERS:
        return CONVERTERS[name]
    format = CONVERTERS["tflite" if name.endswith("kernels") else "onnx"]
    module = format.module if name.startswith("honest") else _liar(name)
    return replace(format, format=name, module=module)


def _liar(name: str) -> str:
    """The module of a liar, in whichever folder of `meta_tests/liars` it lies."""
    (path,) = LIARS.glob(f"*/{name}.py")
    return f"meta_tests.liars.{path.parent.name}.{name}"


class OneProcess(Workers):
    """Workers of all toolchains are one, which outlives a session: each would import PyTorch anew.

    If its process dies it is replaced, as any worker's.
    """

    killed = False

    def __getitem__(self, name: str) -> Worker:
        return super().__getitem__("every toolchain")

    def close(self, name: str | None = None) -> None:
        """Leaves the process to the next session; it ends with the tests' own."""

    def kill(self) -> None:
        self.killed = True
        super().kill()


_KEPT: list[OneProcess] = []


def one_process() -> OneProcess:
    """The workers of all sessions, until one kills them."""
    if not _KEPT or _KEPT[-1].killed:
        _KEPT.append(OneProcess())
    return _KEPT[-1]


def session_of(
    names: Sequence[str], store: Path, quantization: str = "fp32", spec: ModelSpec = SPEC, **options: Any
) -> Any:
    """A session whose formats are `names`, each with one cell of the miniature.

    Sessions share a process, unless they have `workers` of their own.
    """
    from modelparity.parity.judge import CheckBudget
    from modelparity.parity.session import Session

    options.setdefault("workers", one_process())
    options.setdefault("check_budget", CheckBudget(images=6, draws=3, convert_again=False))
    return Session(
        store=store,
        models={"miniature": spec},
        converters={name: replace(converter(name), quantizations=(quantization,)) for name in names},
        limitations={},
        **options,
    )


def cell(name: str, quantization: str = "fp32") -> Cell:
    return Cell("miniature", name, quantization)
