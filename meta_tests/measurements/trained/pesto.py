"""PESTO, a pitch estimator of a constant-Q spectrum: a frame of 264 bins -> 384 pitches.

Riou, Lattner, Hadjeres and Peeters, "PESTO: pitch estimation with self-supervised transposition-equivariant
objective", ISMIR 2023. The wheel of pesto-pitch has the trained weights, whose names of layers this module
has; the rotation of the result by a constant, which comes after the network, is left out.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from meta_tests.measurements.trained.sources import Trained, declared, output
from modelparity.fixtures.specs import Preprocessing

_BINS, _PITCHES = 264, 384
_CHANNELS = (40, 30, 30, 10, 3)
_FRAMES = 8


class Pesto(nn.Module):
    """Decibels of frames [N, 1, 264] -> probability of each pitch [N, 384]."""

    def __init__(self) -> None:
        super().__init__()
        first = _CHANNELS[0]
        self.layernorm = nn.LayerNorm([1, _BINS])
        self.conv1 = nn.Sequential(nn.Conv1d(1, first, 15, padding=7), nn.LeakyReLU(0.3))
        self.prefilt_layers = nn.ModuleList([nn.Conv1d(first, first, 15, padding=7)])
        narrower: list[nn.Module] = []
        for read, gives in pairwise(_CHANNELS):
            narrower += [nn.Conv1d(read, gives, 1), nn.LeakyReLU(0.3), nn.Identity()]
        self.conv_layers = nn.Sequential(*narrower)
        # A matrix all of whose diagonals are constant is a convolution over the whole row.
        self.fc = nn.Conv1d(1, 1, _BINS * _CHANNELS[-1] + _PITCHES - 1, padding=_PITCHES - 1, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        x = self.conv1(self.layernorm(frames))
        x = self.conv_layers(x + self.prefilt_layers[0](x))
        return torch.softmax(self.fc(x.flatten(1)[:, None]).squeeze(1), -1)


class Deployed(nn.Module):
    """Takes eight rows of 264 pixels, in green, as eight frames: an image [B, 3, 264, 264] -> [B, 8, 384].

    Black to white is a quarter of a decibel. The network divides by the spread, so that a larger one gives
    the same, but hardly shows another epsilon of the layer norm, or another scale of the pixels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = Pesto()

    def forward(self, image: Tensor) -> tuple[Tensor]:
        frames = image[:, 1, :: _BINS // _FRAMES].reshape(-1, 1, _BINS)
        return (self.network(frames).reshape(-1, _FRAMES, _PITCHES),)


NETWORKS = (
    Trained(
        declared(
            "pesto",
            "pesto:Deployed",
            _BINS,
            replace(
                output("pitch", "probability of each pitch", _FRAMES, _PITCHES),
                range=(0.0, 1.0),
                decision="probability",
            ),
            preprocessing=Preprocessing("bilinear", (0.5,) * 3, (4.0,) * 3),
            prefix="encoder.",
        ),
        "PESTO, of pesto-pitch 1.0.0",
        "pesto_pitch-1.0.0-py3-none-any.whl",
        "pesto/weights/mir-1k.ckpt",
    ),
)
