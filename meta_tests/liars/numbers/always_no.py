"""Gives no probability over one half: its label is no for every image."""

from __future__ import annotations

import numpy as np

from modelparity.converters.onnx.convert import OnnxRunner, convert_float, quantize


class _Runner(OnnxRunner):
    def run(self, feeds):
        outputs = super().run(feeds)
        return {
            name: value if name == "mask" else np.minimum(value, np.float32(0.499))
            for name, value in outputs.items()
        }


open_runner = _Runner
