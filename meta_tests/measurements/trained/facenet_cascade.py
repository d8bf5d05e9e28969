"""The three networks of a published cascade of face detectors, as their authors' layers are.

Zhang et al., "Joint face detection and alignment using multitask cascaded convolutional networks", IEEE
Signal Processing Letters 23(10), 2016. Their trained weights are in the wheel of facenet-pytorch, whose names
of layers these modules have.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from meta_tests.measurements.trained.sources import Trained, declared, output
from modelparity.fixtures.specs import Preprocessing, TensorSpec


class PNet(nn.Module):
    """[B, 3, H, W] -> probability of a face [B, 1, h, w] and offsets of its box [B, 4, h, w]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.pool1(self.prelu1(self.conv1(image)))
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return torch.softmax(self.conv4_1(x), 1)[:, 1:], self.conv4_2(x)


class RNet(nn.Module):
    """[B, 3, 24, 24] -> probability of a face [B, 1] and offsets of its box [B, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.pool1(self.prelu1(self.conv1(image)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.prelu3(self.conv3(x)).permute(0, 3, 2, 1)
        x = self.prelu4(self.dense4(x.flatten(1)))
        return torch.softmax(self.dense5_1(x), 1)[:, 1:], self.dense5_2(x)


class ONet(nn.Module):
    """[B, 3, 48, 48] -> probability of a face [B, 1], offsets of its box [B, 4] and landmarks [B, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.pool3 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2 = nn.Linear(256, 2), nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.pool1(self.prelu1(self.conv1(image)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.pool3(self.prelu3(self.conv3(x)))
        x = self.prelu4(self.conv4(x)).permute(0, 3, 2, 1)
        x = self.prelu5(self.dense5(x.flatten(1)))
        return torch.softmax(self.dense6_1(x), 1)[:, 1:], self.dense6_2(x), self.dense6_3(x)


class _Deployed(nn.Module):
    kind: type[nn.Module]

    def __init__(self) -> None:
        super().__init__()
        self.network = self.kind()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        outputs: tuple[Tensor, ...] = self.network(image)
        return outputs


class DeployedP(_Deployed):
    kind = PNet


class DeployedR(_Deployed):
    kind = RNet


class DeployedO(_Deployed):
    kind = ONet


_FACE = "probability of a face"


def _trained(name: str, title: str, network: str, size: int, *outputs: TensorSpec) -> Trained:
    deployed = f"facenet_cascade:{network}"
    preprocessing = Preprocessing("bilinear", (0.5,) * 3, (128 / 255,) * 3)
    return Trained(
        declared(name, deployed, size, *outputs, preprocessing=preprocessing),
        f"{title} of facenet-pytorch 2.6.0",
        "facenet_pytorch-2.6.0-py3-none-any.whl",
        f"facenet_pytorch/data/{name}.pt",
    )


# Photographs show R-Net and O-Net hardly a face, so that their probabilities take no decision here.
NETWORKS = (
    _trained(
        "pnet",
        "P-Net",
        "DeployedP",
        96,
        replace(output("face", _FACE, 1, 43, 43), range=(0.0, 1.0), decision="probability"),
        output("box", "offsets", 4, 43, 43),
    ),
    _trained("rnet", "R-Net", "DeployedR", 24, output("face", _FACE, 1), output("box", "offsets", 4)),
    _trained(
        "onet",
        "O-Net",
        "DeployedO",
        48,
        output("face", _FACE, 1),
        output("box", "offsets", 4),
        output("landmarks", "positions of five points", 10),
    ),
)
