"""Makes TFLite files with tools of others, as their documentation calls them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from meta_tests.measurements.foreign import tensorflow_tool
from meta_tests.measurements.foreign.sources import Source


def converted(source: Source, target: Path) -> None:
    import litert_torch

    from meta_tests.measurements.foreign.seeded_networks import Named

    samples = dict(zip(source.inputs, source.samples(1), strict=True))
    module = Named(source.module, source.inputs, source.outputs).eval()
    litert_torch.convert(module, sample_kwargs=samples).export(str(target))


def by_recipe(source: Source, target: Path, *, recipe: str, ports: bool = False, **options: Any) -> None:
    """A recipe of ai-edge-quantizer, by its name there; with `ports`, what goes in and out stays float."""
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer import recipe as recipes

    float_file = source.scratch / "float.tflite"
    if not float_file.is_file():
        converted(source, float_file)
    maker = quantizer.Quantizer(str(float_file))
    float_ports = [
        {"regex": ".*", "operation": port, "algorithm_key": "no_quantize", "op_config": {}}
        for port in ("INPUT", "OUTPUT")
    ]
    maker.load_quantization_recipe([*getattr(recipes, recipe)(**options), *(float_ports if ports else [])])
    calibrated = None
    if maker.need_calibration:
        calibrated = maker.calibrate({_signature(float_file): [dict(feed) for feed in source.feeds]})
    maker.quantize(calibrated).export_model(str(target), overwrite=True)


def _signature(path: Path) -> str:
    from ai_edge_litert.interpreter import Interpreter

    (name,) = Interpreter(str(path)).get_signature_list()
    return str(name)


def by_tensorflow(source: Source, target: Path, *, python: str, kind: str) -> None:
    """onnx2tf's or TensorFlow's converter, in a Python that has them."""
    feeds = source.scratch / "feeds.npz"
    if not feeds.is_file():
        stacked = {name: np.concatenate([feed[name] for feed in source.feeds]) for name in source.inputs}
        np.savez(feeds, **stacked)
    words = [python, tensorflow_tool.__file__, kind, source.fixed, feeds, source.scratch, target]
    done = subprocess.run(
        [*map(str, words), ",".join(source.outputs)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr).strip()[-1500:])
