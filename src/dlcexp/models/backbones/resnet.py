"""ResNet, its last stages dilated where a finer feature map is wanted.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; dilation in place of strides
from Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dlcexp.errors import ConfigError
from dlcexp.models.backbones.base import Backbone, Freeze
from dlcexp.models.backbones.pretrained import create_timm_model

OUTPUT_STRIDES = (8, 16, 32)
# Level 0 of timm's ResNet is the stem; four stages follow.
LAST_LEVEL = 4


class ResNet(Backbone):
    """timm's ResNet without its classification head.

    Args:
        model_name: "resnet50_gn", "resnet101" or another ResNet of timm.
        output_stride: image pixels per pixel of the feature map: 8, 16 or 32.
        freeze_bn_stats: keep the batch-norm statistics, also in training.
        freeze_bn_weights: do not train the batch-norm scales and shifts.
        weights: see `dlcexp.models.backbones.pretrained`.
        pretrained: DeepLabCut's key; with False, `auto` weights are random ones.

    Raises:
        ConfigError: another output stride.
    """

    def __init__(
        self,
        model_name: str = "resnet50",
        output_stride: int = 32,
        freeze_bn_stats: Freeze = False,
        freeze_bn_weights: bool = False,
        weights: str | None = None,
        pretrained: bool = True,
    ) -> None:
        file = self.start_file(model_name=model_name, weights=weights, pretrained=pretrained)
        model = create_resnet(model_name, file, output_stride)
        super().__init__(
            {"model": model},
            random_weights=file is None,
            freeze_bn_stats=freeze_bn_stats,
            freeze_bn_weights=freeze_bn_weights,
        )
        self.stride = output_stride
        self.out_channels = model.feature_info.channels()[0]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (b, 3, h, w) to features (b, out_channels, h / stride, w / stride)."""
        return self.model(images)[0]


def create_resnet(
    model_name: str,
    file: Path | None,
    output_stride: int,
    strides: Sequence[int] = OUTPUT_STRIDES,
) -> Any:
    """Create timm's ResNet up to its last feature map.

    Args:
        model_name, file: see `create_timm_model`.
        output_stride: image pixels per pixel of the feature map.
        strides: those allowed.

    Raises:
        ConfigError: another output stride.
    """
    if output_stride not in strides:
        known = ", ".join(map(str, strides))
        raise ConfigError("model.backbone.output_stride", f"{output_stride}; allowed are {known}.")
    return create_timm_model(
        model_name,
        file,
        features_only=True,
        out_indices=(LAST_LEVEL,),
        output_stride=output_stride,
    )
