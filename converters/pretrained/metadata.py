"""Describes a checkpoint's training in the same fields, whatever code it was trained with.

Nothing is inferred: a field is a value from the file, under the name that `read_from` gives, or null.
Configurations are nested dictionaries, or YAML text as yacs dumps it. Names are compared without regard to
case, and `-` equals `_`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from modelparity.fixtures.specs import ModelSpec

CONFIGURATIONS = ("cfg", "config", "args", "opt", "hparams", "hyper_parameters")
_READ_FROM = "read_from"

# Field -> its names in a checkpoint, the most reliable first, inside or outside a configuration.
_FIELDS: dict[str, tuple[str, ...]] = {
    "architecture": ("model.model_name", "model.name", "model.arch", "model_name", "arch", "architecture"),
    "input_size": (
        # What evaluation feeds comes before what a configuration merely declares: ObjectFormer's
        # published one has IMG_SIZE 224, which nothing reads, and resizes to 380.
        "dataset.test_augmentations.resize_params",
        "dataset.test_augmentations.resize",
        "data.test_crop_size",
        "dataset.img_size",
        "dataset.image_size",
        "data.img_size",
        "model.transform.input_size",
        "model.input_size",
        "input_size",
        "img_size",
        "image_size",
        "cropsize",
    ),
    "num_classes": ("model.num_classes", "dataset.num_classes", "data.num_classes", "num_classes"),
    "training_dataset": (
        "dataset.dataset_name",
        "dataset.name",
        "data.dataset",
        "train.dataset",
        "dataset",
        "dataset_name",
        "training_dataset",
        "dataroot",
    ),
}
_TRAINING: dict[str, tuple[str, ...]] = {
    "epoch": ("epoch", "training.epoch"),
    "epochs": ("train.max_epoch", "solver.max_epoch", "train.epochs", "epochs", "niter", "training.epochs"),
    "batch_size": ("dataloader.batch_size", "train.batch_size", "batch_size", "training.batch_size"),
    "optimizer": ("optimizer.optimizer_method", "solver.optimizing_method", "optim", "training.optimizer"),
    "learning_rate": ("optimizer.base_lr", "solver.base_lr", "solver.lr", "lr", "training.learning_rate"),
    "weight_decay": (
        "optimizer.weight_decay",
        "solver.weight_decay",
        "weight_decay",
        "training.weight_decay",
    ),
    "scheduler": ("scheduler.scheduler_type", "solver.lr_policy", "training.scheduler"),
    "mixed_precision": ("train.amp_enable", "train.mixed_precision", "amp", "training.mixed_precision"),
    "initialised_from": ("model.pretrained", "train.checkpoint_path", "training.initialised_from"),
}
# Under these names only: an accuracy or F1 that does not say what of goes under "reported".
_PERFORMANCE: dict[str, tuple[str, ...]] = {
    "image_accuracy": ("image_accuracy", "image_acc", "image_level_acc", "image_level_accuracy", "il_acc"),
    "image_auc": ("image_auc", "image_level_auc", "il_auc"),
    "image_f1": ("image_f1", "image_level_f1", "il_f1"),
    "pixel_auc": ("pixel_auc", "pixel_level_auc", "pl_auc"),
    "pixel_f1": ("pixel_f1", "pixel_level_f1", "pl_f1"),
}


def described(metadata: Mapping[str, Any], spec: ModelSpec) -> dict[str, Any]:
    """Architecture, input size, classes, dataset, performance and training, each a value or None.

    `metadata` is `Checkpoint.metadata`. `read_from` maps each field that has a value to its name in the file.
    """
    places = dict(_places(metadata))
    read_from: dict[str, str] = {}

    def look_up(field: str, names: tuple[str, ...]) -> Any:
        for name in names:
            for place, value in places.items():
                same = name in (_norm(place), _without_configuration(place))
                if same and (usable := _usable(field, value)) is not None:
                    read_from[field] = place
                    return usable
        return None

    fields = {field: look_up(field, names) for field, names in _FIELDS.items()}
    if fields["architecture"] is None:
        fields["architecture"] = spec.title.partition(",")[0]
        read_from["architecture"] = "names and shapes of the weights"
    measured = {
        place: value
        for place, value in places.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and not _is_configuration(place)
    }
    performance: dict[str, Any] = {}
    for field, names in _PERFORMANCE.items():
        place = next((place for place in measured if _leaf(place) in names), None)
        performance[field] = measured[place] if place else None
        if place:
            read_from[f"performance.{field}"] = place
    claimed = {*read_from.values()}
    training = {field: look_up(f"training.{field}", names) for field, names in _TRAINING.items()}
    performance["reported"] = {
        place.removeprefix("performance.reported."): value  # as an earlier cleaning wrote it
        for place, value in measured.items()
        if place not in claimed and _leaf(place) not in ("epoch", "seed") and not _own(place)
    }
    return {**fields, "performance": performance, "training": training, _READ_FROM: read_from}


def _places(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested dictionaries by its dotted name, and the dictionaries themselves."""
    if isinstance(value, str) and _norm(place) in CONFIGURATIONS:
        value = _parsed(value)
    if place:
        yield place, value
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _places(inner, f"{place}.{name}" if place else str(name))


def _parsed(text: str) -> Any:
    """A configuration parsed as YAML; the text itself if it is not YAML."""
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _usable(field: str, value: Any) -> Any:
    """`value` as the field's type, or None if it cannot be one."""
    if field == "input_size":
        return _size(value)
    if isinstance(value, Mapping) or value == "" or value is None:
        return None
    if field == "num_classes" and (not isinstance(value, int) or isinstance(value, bool)):
        return None
    return value


def _size(value: Any) -> list[int] | None:
    """[height, width]."""
    if isinstance(value, Mapping):
        value = [value.get("height"), value.get("width")]
    if isinstance(value, int) and not isinstance(value, bool):
        value = [value, value]
    whole = isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(n, int) for n in value)
    return list(value) if whole else None


def _norm(place: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "_", place.lower())


def _leaf(place: str) -> str:
    return _norm(place).rpartition(".")[2]


def _is_configuration(place: str) -> bool:
    return _norm(place).partition(".")[0] in CONFIGURATIONS


def _without_configuration(place: str) -> str:
    head, _, rest = _norm(place).partition(".")
    return rest if head in CONFIGURATIONS else _norm(place)


def _own(place: str) -> bool:
    """Whether an earlier `write_pretrained` wrote it; then it is not a training's measurement."""
    return _norm(place).partition(".")[0] in ("modelparity", "training", "num_classes", _READ_FROM)
