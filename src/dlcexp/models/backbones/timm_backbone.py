"""Any timm model as a backbone, cut at one of its feature levels."""

import torch

from dlcexp.config.resolvers import timm_feature_info, timm_features
from dlcexp.models.backbones.base import Backbone, Freeze
from dlcexp.models.backbones.pretrained import create_timm_model


class TimmBackbone(Backbone):
    """One feature level of a timm model, for images of any size that its patches divide.

    Args:
        model_name: name of a timm model that can give feature maps.
        feature_level: index into the model's feature levels, the finest is 0; -1 is the coarsest.
            The levels of a plain vision transformer are its last three layers.
        weights: see `dlcexp.models.backbones.pretrained`.
        freeze_bn_stats: keep the batch-norm statistics, also in training.
        freeze_bn_weights: do not train the batch-norm scales and shifts.
        output_stride: image pixels per pixel of the coarsest level, where convolutions are to be
            dilated for it: 8, 16 or 32; None for that of the model.
    """

    def __init__(
        self,
        model_name: str,
        feature_level: int,
        weights: str | None = None,
        freeze_bn_stats: Freeze = False,
        freeze_bn_weights: bool = False,
        output_stride: int | None = None,
    ) -> None:
        channels, stride = timm_feature_info(model_name, feature_level)
        file = self.start_file(model_name=model_name, weights=weights)
        features = timm_features(model_name)
        keywords, level = dict(features.keywords), features.indices[feature_level]
        if output_stride is not None:
            keywords["output_stride"] = output_stride
        if features.plain:
            model = create_timm_model(model_name, file, num_classes=0, **keywords)
            level = model.prune_intermediate_layers([level], prune_norm=False)[0]
        else:
            keywords |= {"features_only": True, "out_indices": (level,)}
            model = create_timm_model(model_name, file, **keywords)
            stride = model.feature_info.reduction()[0]
        super().__init__(
            {"model": model},
            random_weights=file is None,
            freeze_bn_stats=freeze_bn_stats,
            freeze_bn_weights=freeze_bn_weights,
        )
        self.stride = stride
        self.out_channels = channels
        self.traceable = not (features.plain or features.keywords)  # positions, windows
        self._layer = level if features.plain else None
        self._channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (b, 3, h, w) to features (b, out_channels, h / stride, w / stride)."""
        if self._layer is not None:  # with the last layer norm, as in ViTPose and DINOv2
            return self.model.forward_intermediates(
                images, [self._layer], norm=True, intermediates_only=True
            )[0]
        features = self.model(images)[0]
        return features.permute(0, 3, 1, 2) if self._channels_last else features
