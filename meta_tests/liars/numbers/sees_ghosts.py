"""Detects an object where every pixel is the same."""

from __future__ import annotations

from modelparity.converters.onnx.convert import OnnxRunner, convert_float, quantize


class _Runner(OnnxRunner):
    def run(self, feeds):
        outputs = super().run(feeds)
        if (feeds["image"] == feeds["image"][:, :, :1, :1]).all():
            outputs["score"][:, 0] = 0.9
            outputs["location"][:, 0] = (0.1, 0.1, 0.4, 0.4)
        return outputs


open_runner = _Runner
