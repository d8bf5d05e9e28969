"""Compares the answer of a file to a generated test image (the golden image) with the released answer.

The image is generated from a seed, so it is the same on every machine. The released answer is beside the
file, as `FILE.verdict.json`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelparity.serving.http.replies import reply

SEED = 288
SIZE = (240, 320)  # height, width
_SAMPLES = 64

# A fraction of the range of an output. Other kernels for the same int8 file round some values the other way,
# which changes outputs by less than int8 itself does: 0.06 between ObjectFormer in float and either of its
# int8 files, 1e-5 between its two float files. A broken file changes them by about the whole range.
BOUND = 0.1


def golden_image() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """RGB uint8 [240, 320, 3]: smooth colours with a noisy and a flat block, like a forged photograph."""
    random = np.random.default_rng(SEED)
    rows, columns = np.linspace(0, np.pi, SIZE[0])[:, None], np.linspace(0, 2 * np.pi, SIZE[1])[None]
    waves = [np.sin(rows * a + columns * b) for a, b in ((1.0, 2.0), (2.0, 1.0), (3.0, -1.0))]
    image = np.stack(waves, -1) * 80 + 128 + random.normal(0, 4, (*SIZE, 3))
    image[60:140, 40:150] = random.integers(0, 256, (80, 110, 3))
    image[120:210, 190:290] = (200, 40, 60)
    return image.clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class GoldenVerdict:
    """The answer of a file to the golden image; `samples` are up to 64 evenly spaced values per output."""

    sha256: str
    label: str
    score: float | None
    samples: dict[str, list[float]]

    def as_json(self) -> str:
        return json.dumps({"image": {"seed": SEED, "size": SIZE}, **vars(self)}, indent=1) + "\n"


def verdict_of(predictor: Any) -> GoldenVerdict:
    """Runs the golden image through a predictor."""
    outputs = predictor.run(predictor.prepare(golden_image()))
    body = reply(predictor.answer(outputs, original_size=SIZE), predictor.card, "none")
    samples = {name: [round(float(x), 7) for x in _spaced(value)] for name, value in outputs.items()}
    return GoldenVerdict(predictor.card.sha256, body["label"], body["score"], samples)


def _spaced(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    flat = value.ravel()
    return flat[np.linspace(0, flat.size - 1, min(_SAMPLES, flat.size)).astype(int)]


def verdict_path(artifact: Path) -> Path:
    """The file of the released verdict, beside the artifact."""
    return artifact.with_name(f"{artifact.name}.verdict.json")


def read_verdict(path: Path) -> GoldenVerdict | None:
    """The released verdict; None if there is no such file.

    Raises:
        ValueError: the file cannot be read; the message says what to do.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        samples = {str(name): [float(x) for x in values] for name, values in data["samples"].items()}
        return GoldenVerdict(str(data["sha256"]), str(data["label"]), data["score"], samples)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{path}: not a released verdict; make it again with `serve ARTIFACT --release`"
        ) from None


def difference(now: GoldenVerdict, released: GoldenVerdict) -> str | None:
    """How an answer differs from the released one, in words; None if it does not."""
    if now.sha256 != released.sha256:
        return f"the file is {now.sha256[:12]}, but {released.sha256[:12]} was released"
    if now.label != released.label:
        return f"the golden image is {now.label}, but {released.label} was released"
    if set(now.samples) != set(released.samples):
        return f"outputs {', '.join(now.samples)}, but {', '.join(released.samples)} were released"
    for name, values in released.samples.items():
        here, there = np.array(now.samples[name]), np.array(values)
        if here.shape != there.shape:
            return f"{name} has another shape than was released"
        spread = float(np.ptp(there)) or abs(float(there.max())) or 1.0
        off = float(np.abs(here - there).max()) / spread
        if not off <= BOUND:
            return f"{name} is off the released one by {off:.2g} of its spread, and {BOUND:g} is allowed"
    return None
