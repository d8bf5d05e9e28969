"""A predictor of a few operations that answers as ObjectFormer does: for tests of the server."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np

from modelparity.fixtures.images import preprocess
from modelparity.fixtures.specs import UNIT_RANGE, TensorSpec
from modelparity.serving import Tampering

SIDE = 32


class MiniaturePredictor:
    """Score: the mean of the image. Mask: its red channel at the photograph's size, by whole pixels.

    `slow` is how long a run takes at least, `gate` what it waits for; `broken` makes it raise.
    """

    def __init__(self, slow: float = 0.0, broken: bool = False) -> None:
        self.slow, self.broken = slow, broken
        self.gate = threading.Event()
        self.gate.set()
        self.runs = 0
        self._busy = threading.Lock()
        self.card = SimpleNamespace(
            model="miniature",
            title="Miniature",
            task="image",
            format="onnx",
            quantization="fp32",
            sha256="5" * 64,
            input_size=(SIDE, SIDE),
            trained=False,
            inputs=(TensorSpec("image", ("batch", 3, SIDE, SIDE), "an image"),),
            outputs=(
                TensorSpec("score", ("batch", 1), "the mean", (0.0, 1.0)),
                TensorSpec("mask", ("batch", 1, SIDE, SIDE), "the red channel", (0.0, 1.0)),
            ),
        )

    def prepare(self, pixels):
        return preprocess(pixels, UNIT_RANGE, SIDE)[None]

    def run(self, images):
        assert self._busy.acquire(blocking=False), "two threads at once"
        try:
            self.runs += 1
            time.sleep(self.slow)
            assert self.gate.wait(20)
            if self.broken:
                raise RuntimeError("secret words of the runtime")
            return {"score": images.mean((1, 2, 3), keepdims=True)[:, 0, 0], "mask": images[:, :1]}
        finally:
            self._busy.release()

    def answer(self, outputs, original_size, index=0):
        height, width = original_size
        rows, columns = np.arange(height) * SIDE // height, np.arange(width) * SIDE // width
        mask = outputs["mask"][index, 0][rows][:, columns]
        score = float(outputs["score"][index, 0])
        return Tampering(
            model="miniature",
            threshold=0.5,
            size=original_size,
            probability=score,
            tampered=score >= 0.5,
            mask=mask,
            tampered_share=float((mask >= 0.5).mean()),
        )
