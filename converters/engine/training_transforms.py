"""Prepares JPEGs as training code does, by torchvision's own transforms: serving is compared with it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from modelparity.fixtures.specs import Preprocessing


def prepared(
    jpegs: Sequence[bytes], preprocessing: Preprocessing, input_size: tuple[int, int], resized: str
) -> list[np.ndarray[Any, Any]]:
    """float32 [3, h, w] for each JPEG.

    `resized` is `ModelSpec.resize_backend`. A "picture" goes through Resize, ToTensor, Normalize. A "tensor"
    is resized as floating-point pixels with antialiasing, as VideoSeal's detector does it
    (facebookresearch/videoseal, wam.py: detect). "opencv" is the bilinear of OpenCV's INTER_LINEAR, which
    weighs the four nearest pixels however much it shrinks and rounds to whole levels (OpenCV 5.0.0 itself,
    whose arithmetic is fixed-point, is within one level of it on the gate's JPEGs); so albumentations
    resizes, with which ObjectFormer's code trains (wdrink/Objectformer, datasets).
    """
    from PIL import Image
    from torch.nn.functional import interpolate
    from torchvision import transforms

    modes = transforms.InterpolationMode
    mode = {"bilinear": modes.BILINEAR, "bicubic": modes.BICUBIC}[preprocessing.resample]
    resize = transforms.Resize(input_size, mode)
    to_tensor, normalize = (
        transforms.ToTensor(),
        transforms.Normalize(preprocessing.mean, preprocessing.std),
    )

    def one(jpeg: bytes) -> np.ndarray[Any, Any]:
        picture = Image.open(io.BytesIO(jpeg)).convert("RGB")
        if resized == "picture":
            return normalize(to_tensor(resize(picture))).numpy()
        antialias = resized == "tensor"
        pixels = to_tensor(picture)[None]
        values = interpolate(pixels, input_size, mode=preprocessing.resample, antialias=antialias)[0]
        if not antialias:
            values = (values * 255).round().clamp(0, 255) / 255
        return normalize(values).numpy()

    return [one(jpeg) for jpeg in jpegs]
