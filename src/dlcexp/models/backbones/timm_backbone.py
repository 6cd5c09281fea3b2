"""Any timm model as a backbone, cut at one of its feature levels."""

import torch

from dlcexp.config.resolvers import timm_feature_info, timm_feature_levels
from dlcexp.models.backbones.base import Backbone
from dlcexp.models.backbones.pretrained import create_timm_model


class TimmBackbone(Backbone):
    """One feature level of a timm model.

    Args:
        model_name: name of a timm model that can give feature maps.
        feature_level: index into the model's feature levels, the finest is 0; -1 is the coarsest.
        weights: None for random weights, "hub" for timm's published ones, or a file of weights.
        freeze_bn_stats: keep the batch-norm statistics, also in training.
        freeze_bn_weights: do not train the batch-norm scales and shifts.
    """

    def __init__(
        self,
        model_name: str,
        feature_level: int,
        weights: str | None = None,
        freeze_bn_stats: bool = False,
        freeze_bn_weights: bool = False,
    ) -> None:
        channels, stride = timm_feature_info(model_name, feature_level)
        level = feature_level % len(timm_feature_levels(model_name))
        model = create_timm_model(model_name, weights, features_only=True, out_indices=(level,))
        super().__init__(
            {"model": model},
            random_weights=weights is None,
            freeze_bn_stats=freeze_bn_stats,
            freeze_bn_weights=freeze_bn_weights,
        )
        self.stride = stride
        self.out_channels = channels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (b, 3, h, w) to features (b, out_channels, h / stride, w / stride)."""
        return self.model(images)[0]
