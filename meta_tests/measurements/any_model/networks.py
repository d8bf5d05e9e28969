"""Lists networks of other people's packages. Most need one line; none needs more than three."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from modelparity.api.model import Model, Tensor

_HERE = "meta_tests.measurements.any_model"
_PICTURE = {"x": Tensor(("batch", 3, 64, 64))}
_LARGER = {"x": Tensor(("batch", 3, 224, 224))}
_CLIP = {"x": Tensor(("batch", 3, 8, 64, 64))}
_CLASSIFIERS = (
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "alexnet",
    "vgg11",
    "vgg11_bn",
    "squeezenet1_0",
    "squeezenet1_1",
    "densenet121",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "mnasnet0_5",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "regnet_y_400mf",
    "regnet_x_400mf",
    "convnext_tiny",
    "swin_t",
    "swin_v2_t",
    "googlenet",
)
_FIXED = ("vit_b_32", "maxvit_t")  # take 224 pixels alone
_VIDEO = ("r3d_18", "mc3_18", "r2plus1d_18")
_SEGMENTATION = ("lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "fcn_resnet50")
_DETECTION = ("ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn")


def networks() -> Iterator[tuple[str, Model]]:
    """Each with the package that it comes from."""
    for name in _CLASSIFIERS:
        yield "torchvision", Model(f"torchvision.models:{name}", inputs=_PICTURE)
    for name in _FIXED:
        yield "torchvision", Model(f"torchvision.models:{name}", inputs=_LARGER)
    for name in _VIDEO:
        yield "torchvision", Model(f"torchvision.models.video:{name}", inputs=_CLIP)
    for name in _SEGMENTATION:
        yield "torchvision", Model(f"{_HERE}.torchvision_networks:{name}", inputs=_PICTURE)
    for name in _DETECTION:
        yield "torchvision", Model(f"{_HERE}.torchvision_networks:{name}", inputs=_PICTURE)
    for name in _names("timm_networks.py", "NAMES"):
        yield "timm", Model(f"{_HERE}.timm_networks:{name}")
    for name in _functions("transformer_networks.py"):
        yield "transformers", Model(f"{_HERE}.transformer_networks:{name}", name=f"hf_{name}")


def _names(file: str, variable: str) -> list[str]:
    """A tuple of texts in a module of this folder, without importing the package that the module needs."""
    for node in ast.parse((Path(__file__).parent / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == variable:
            return list(ast.literal_eval(node.value))
    raise LookupError(variable)


def _functions(file: str) -> list[str]:
    """The public functions of a module of this folder, without importing the package that it needs."""
    tree = ast.parse((Path(__file__).parent / file).read_text(encoding="utf-8"))
    return [n.name for n in tree.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]
