"""A small detection dataset and a training's folder, made on the spot: triangles on photographs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelparity.fixtures.datasets import synthetic
from modelparity.fixtures.datasets.synthetic import LABELS
from modelparity.fixtures.models import MODELS
from modelparity.fixtures.specs import ModelSpec


def triangles_dataset(folder: Path, images: int = 4, seed: int = 0) -> Path:
    """320x320 photographs with one to three triangles each, point up or down, and their boxes."""
    folder.mkdir(parents=True)
    list(synthetic.triangles(folder, images, seed))
    return folder


def write_listing(folder: Path, entries: Sequence[tuple[str, Sequence[tuple[str, Sequence[float]]]]]) -> None:
    """dataset.jsonl of (image, [(label, [x1, y1, x2, y2])])."""
    lines = [
        json.dumps({"image_path": image, "bounding_box_annotations": [annotation(*box) for box in boxes]})
        for image, boxes in entries
    ]
    (folder / "dataset.jsonl").write_text("\n".join(lines) + "\n")


def annotation(label: str, box: Sequence[float]) -> dict[str, Any]:
    names = ("x_min_normalized", "y_min_normalized", "x_max_normalized", "y_max_normalized")
    return {"annotation_label": label, **dict(zip(names, box, strict=True))}


CONFIG = """\
model:
  name: faster_rcnn
  device: cuda
  transform:
    input_size: [160, 160]
    image_mean: [0.485, 0.456, 0.406]
    image_std: [0.229, 0.224, 0.225]
  backbone: mobilenet_v3_large_fpn
dataset:
  name: jsonl
  transform:
    test:
    - name: Resize
      params:
        size: ${model.transform.input_size}
experiment:
  name: run_${now:%Y-%m-%d}
classes:
- triangle
- triangle_inverted
training:
  learning_rate: 2.5e-3
  pretrained: false
logging:
  save_dir: ${hydra:runtime.output_dir}
"""


def run_directory(folder: Path, spec: ModelSpec, config: str = CONFIG, ema: bool = True) -> Path:
    """A training's folder: golden weights, as EMA weights beside others that are all zero, or alone."""
    import torch

    from modelparity.fixtures.checkpoints.load import golden_state_dict

    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text(config)
    weights = golden_state_dict(spec)
    zero = {key: torch.zeros((), dtype=value.dtype).expand(value.shape) for key, value in weights.items()}
    content: dict[str, Any] = {"epoch": 7, "model_state_dict": zero if ema else weights, "val_loss": 0.5}
    if ema:
        content["model_ema_state_dict"] = weights
    torch.save(content, folder / "best_model.pth")
    return folder


__all__ = [
    "CONFIG",
    "LABELS",
    "MINIATURE",
    "annotation",
    "run_directory",
    "triangles_dataset",
    "write_listing",
]

# Faster R-CNN's settings and outputs on a network that is converted in a second.
MINIATURE = replace(
    MODELS["fasterrcnn"],
    deployed="meta_tests.miniatures.miniature_detector:Detector",
    published="meta_tests.miniatures.miniature_detector:Detector",
    published_outputs=("location", "score", "category"),
    settings_from_checkpoint="meta_tests.miniatures.miniature_detector:settings_from_shapes",
)
