"""Runs a released model file on photographs, without PyTorch.

Takes a file of this project, whose model card states its preprocessing and the meaning of its outputs, and
photographs; gives one type of result per task. Imports the runners of `converters`, `modelfiles`, and the
preprocessing in `fixtures`; never torch.

    from modelparity import serving

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
    "Deepfake",
    "Detections",
    "ImageError",
    "ModelCard",
    "ModelFileError",
    "Predictor",
    "Result",
    "Tampering",
    "Watermark",
    "decode",
    "load",
]
