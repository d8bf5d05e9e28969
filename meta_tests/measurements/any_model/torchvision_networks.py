"""Networks of torchvision that would download the weights of their backbone unless told not to."""

from __future__ import annotations

from typing import Any

from torchvision import models


def lraspp_mobilenet_v3_large() -> Any:
    return models.segmentation.lraspp_mobilenet_v3_large(weights_backbone=None)


def deeplabv3_mobilenet_v3_large() -> Any:
    return models.segmentation.deeplabv3_mobilenet_v3_large(weights_backbone=None)


def fcn_resnet50() -> Any:
    return models.segmentation.fcn_resnet50(weights_backbone=None)


def ssdlite320_mobilenet_v3_large() -> Any:
    return models.detection.ssdlite320_mobilenet_v3_large(weights_backbone=None)


def fasterrcnn_mobilenet_v3_large_320_fpn() -> Any:
    return models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights_backbone=None)
