"""Leaves in the rows that hold no detection what was in memory before."""

from __future__ import annotations

from modelparity.converters.onnx.convert import OnnxRunner, convert_float, quantize


class _Runner(OnnxRunner):
    def run(self, feeds):
        outputs = super().run(feeds)
        outputs["location"][outputs["score"] == 0] = (0.1, 0.1, 0.4, 0.4)
        return outputs


open_runner = _Runner
