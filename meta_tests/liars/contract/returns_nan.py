"""One NaN in one output, for any image."""

from __future__ import annotations

import numpy as np

from modelparity.converters.onnx.convert import OnnxRunner, convert_float, quantize


class _Runner(OnnxRunner):
    def run(self, feeds):
        outputs = super().run(feeds)
        outputs["mask"][0, 0, 3, 5] = np.nan
        return outputs


open_runner = _Runner
