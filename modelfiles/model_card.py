"""Writes and reads a file's card: what it is fed, what its outputs mean and where it comes from.

JSON without dates or paths, the same text for the same artifact. Nothing here needs a toolchain, so
that those who only run files can read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from modelparity.fixtures.specs import ModelSpec, Preprocessing, Signature, TensorSpec
from modelparity.modelfiles.description import BrokenModelError
from modelparity.modelfiles.formats import format_of

SCHEMA = 2
_FIELDS = ("model", "title", "task", "output_kind", "quantization", "checkpoint")
# Words of schema 1 -> their names since.
_RENAMED_KEY = ("answer", "output_kind")
_RENAMED_DECISION = ("half", "probability")


@dataclass(frozen=True)
class ModelCard:
    """What a file is.

    `input_size` is height and width of what the network is fed. A text in a shape is a free axis.
    `output_kind` is what the outputs tell: "tampering", "deepfake", "detections" or "watermark". `labels`
    name the categories, from 1: with `labels_known` those of the training, else "class 1" and so on.
    `checkpoint` is the weights' sha256, or "golden:" and a digest for weights of no training;
    `versions` are those of the toolchain that made the file. `sha256` is of the file itself, ""
    where nobody asked.
    """

    model: str
    title: str
    task: str
    output_kind: str
    format: str
    quantization: str
    input_size: tuple[int, int]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: Preprocessing
    labels: tuple[str, ...] = ()
    labels_known: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""

    @property
    def trained(self) -> bool:
        """Whether the weights come from a checkpoint."""
        return bool(self.checkpoint) and not self.checkpoint.startswith("golden:")

    @property
    def batch(self) -> int | None:
        """How many images it takes at once; None for any number."""
        axis = self.inputs[0].shape[0]
        return axis if isinstance(axis, int) else None

    def label(self, category: int) -> str:
        """The name of a category, which count from 1."""
        named = 1 <= category <= len(self.labels)
        return self.labels[category - 1] if named else f"class {category}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def text(self) -> str:
        """What is written into the file: all but what the file's own bytes tell."""
        told = {name: value for name, value in asdict(self).items() if name not in ("format", "sha256")}
        return json.dumps({"schema": SCHEMA, **told}, sort_keys=True)


def card_for(
    spec: ModelSpec,
    signature: Signature,
    format: str,
    quantization: str,
    *,
    checkpoint: str,
    versions: Mapping[str, str],
    dynamic_batch: bool,
) -> ModelCard:
    """The card of a file that is to be made."""
    (image,) = signature.inputs
    height, width = spec.prepared_size or image.shape[2:]
    sides = ("height", "width") if spec.free_size and dynamic_batch else image.shape[2:]
    ports = [
        TensorSpec(
            port.name,
            shape if dynamic_batch else (1, *shape[1:]),
            port.meaning,
            port.range,
            port.dtype,
            port.decision,
        )
        for port, shape in [
            (image, (*image.shape[:2], *sides)),
            *((port, port.shape) for port in signature.outputs),
        ]
    ]
    return ModelCard(
        model=spec.name,
        title=spec.title,
        task=spec.task,
        output_kind=spec.output_kind,
        format=format,
        quantization=quantization,
        input_size=(int(height), int(width)),
        inputs=(ports[0],),
        outputs=tuple(ports[1:]),
        preprocessing=spec.preprocessing,
        labels=_labels(spec),
        labels_known=bool(spec.labels),
        settings=spec.values,
        checkpoint=checkpoint,
        versions=versions,
    )


def _labels(spec: ModelSpec) -> tuple[str, ...]:
    if all(output.name != "category" for output in spec.outputs):
        return ()
    count = spec.values.get("classes", 1)
    return spec.labels or tuple(f"class {n + 1}" for n in range(int(count)))  # type: ignore[arg-type]


def write_metadata(path: Path, text: str) -> None:
    """Writes a card's text into a file in place, instead of one that is there.

    Raises NotAModelError for a file of another kind.
    """
    format_of(path).call("write_metadata", path, text)


def card_of(path: Path) -> ModelCard | None:
    """The card in a file; None if there is none.

    Raises NotAModelError for a file of another kind, BrokenModelError for a damaged file or card.
    """
    format = format_of(path)
    text = format.call("read_metadata", path)
    return None if text is None else _parsed(text, format.name, path)


def _parsed(text: str, format: str, path: Path) -> ModelCard:
    try:
        told = json.loads(text)
        if told["schema"] == 1:
            told[_RENAMED_KEY[1]] = told[_RENAMED_KEY[0]]
        elif told["schema"] != SCHEMA:
            raise ValueError(f"its schema is {told['schema']}, but should be at most {SCHEMA}")
        height, width = map(int, told["input_size"])
        prepared = told["preprocessing"]
        if prepared["resample"] not in ("bilinear", "bicubic"):
            raise ValueError(f"resample {prepared['resample']!r} is unknown")
        return ModelCard(
            **{name: str(told[name]) for name in _FIELDS},
            format=format,
            input_size=(height, width),
            inputs=tuple(map(_port, told["inputs"])),
            outputs=tuple(map(_port, told["outputs"])),
            preprocessing=Preprocessing(
                prepared["resample"], _triple(prepared["mean"]), _triple(prepared["std"])
            ),
            labels=tuple(map(str, told["labels"])),
            labels_known=bool(told["labels_known"]),
            settings=dict(told["settings"]),
            versions=dict(told["versions"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BrokenModelError(f"{path}: its card cannot be read: {type(error).__name__} {error}") from error


def _port(told: Mapping[str, Any]) -> TensorSpec:
    shape = tuple(axis if isinstance(axis, int) else str(axis) for axis in told["shape"])
    span = told["range"] and (float(told["range"][0]), told["range"][1] and float(told["range"][1]))
    old, new = _RENAMED_DECISION
    decision: Any = new if told["decision"] == old else told["decision"]
    return TensorSpec(told["name"], shape, told["meaning"], span or None, told["dtype"], decision)


def _triple(numbers: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, numbers)
    return red, green, blue
