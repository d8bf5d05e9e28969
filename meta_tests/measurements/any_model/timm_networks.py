"""Networks of the timm package, by their names."""

from __future__ import annotations

from typing import Any

import timm

NAMES = (
    "resnet10t",
    "resnest14d",
    "res2net50_26w_4s",
    "dla34",
    "hrnet_w18_small",
    "ese_vovnet19b_dw",
    "regnety_002",
    "mobilenetv3_small_050",
    "mobilenetv4_conv_small",
    "efficientnet_lite0",
    "ghostnet_100",
    "lcnet_050",
    "tinynet_e",
    "mixnet_s",
    "fbnetc_100",
    "semnasnet_075",
    "rexnet_100",
    "repvgg_a0",
    "mobileone_s0",
    "edgenext_xx_small",
    "mobilevit_xxs",
    "mobilevitv2_050",
    "fastvit_t8",
    "efficientformer_l1",
    "poolformer_s12",
    "levit_128s",
    "deit_tiny_patch16_224",
    "mixer_s32_224",
    "gmlp_s16_224",
    "resmlp_12_224",
    "convnext_atto",
    "convnextv2_atto",
    "xcit_nano_12_p16_224",
    "pit_ti_224",
    "cait_xxs24_224",
    "visformer_tiny",
    "efficientvit_b0",
    "repghostnet_050",
)


def __getattr__(name: str) -> Any:
    """The function that builds the network of that name."""
    if name not in NAMES:
        raise AttributeError(name)
    return lambda: timm.create_model(name)
