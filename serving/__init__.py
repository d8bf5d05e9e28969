"""What runs a released file: a photograph in, an answer out, without PyTorch.

Arrives: an ONNX or TFLite file of this project, which says itself what it is fed and what its outputs
mean, and photographs. Leaves: answers of a type for each task. May import the runners of
`converters` and a model's pre- and postprocessing in `fixtures`; never torch.

    with serving.load("objectformer.onnx") as predictor:
        print(predictor.predict("photograph.jpg").as_dict())
"""

from modelparity.fixtures.images import ImageError, decode
from modelparity.modelfiles.model_card import ModelCard
from modelparity.serving.predictor import ModelFileError, Predictor, load
from modelparity.serving.results import Deepfake, Detections, Result, Tampering, Watermark

if __name__ != "modelparity.serving":
    raise ImportError("this package is modelparity.serving: import it under that name")

__all__ = [
    "ModelCard",
    "Deepfake",
    "Detections",
    "ImageError",
    "ModelFileError",
    "Predictor",
    "Result",
    "Tampering",
    "Watermark",
    "decode",
    "load",
]
