"""SSDLite: all boxes in one pass of a small network; the fast one.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018; with the
backbone of Howard et al., "Searching for MobileNetV3", ICCV 2019.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

from dlcexp.errors import ConfigError
from dlcexp.models.detectors.base import NUM_CLASSES, Detector
from dlcexp.models.detectors.pretrained import (
    coco_if_available,
    load_weights,
    settled_freezing,
)
from dlcexp.vocabulary import AUTO

NAME = "ssdlite320_mobilenet_v3_large"

# DeepLabCut writes 0.01 into its configurations but does not hand it to SSDLite, where the 0.001
# of torchvision stays.
DEEPLABCUT_WRITES, DEEPLABCUT_USES = 0.01, 0.001


class SSDLite(Detector):
    """torchvision's `ssdlite320_mobilenet_v3_large`; it sees every image at 320x320 pixels.

    Args:
        freeze_bn_stats: keep the batch-norm statistics, also in training.
        freeze_bn_weights: do not train the batch-norm scales and shifts.
        variant: there is one only, None.
        box_score_thresh: boxes of a lower score are not reported. 0.01 means 0.001, as in
            DeepLabCut.
        weights: "auto" for COCO weights where they are available, "coco" for these or an error,
            a file, or None for random weights.

    Raises:
        ConfigError: a variant.
        UserError: the weights are not available.
    """

    def __init__(
        self,
        freeze_bn_stats: bool | Literal["auto"] = True,
        freeze_bn_weights: bool = False,
        variant: None = None,
        box_score_thresh: float = DEEPLABCUT_WRITES,
        weights: str | None = AUTO,
    ) -> None:
        self.check_arguments({"variant": variant}, "detector.model")
        weights = coco_if_available(NAME) if weights == AUTO else weights
        freeze_bn_stats = settled_freezing(freeze_bn_stats, weights)
        overridden = box_score_thresh != DEEPLABCUT_WRITES
        model = ssdlite320_mobilenet_v3_large(
            weights=None,
            weights_backbone=None,
            num_classes=NUM_CLASSES,
            score_thresh=box_score_thresh if overridden else DEEPLABCUT_USES,
        )
        super().__init__(
            model,
            heads=[model.head],
            anchors=model.anchor_generator,
            pretrained=load_weights(model, NAME, weights),
            freeze_bn_stats=freeze_bn_stats,
            freeze_bn_weights=freeze_bn_weights,
        )
        if not freeze_bn_stats:
            for layer in self._batch_norms():
                layer.register_forward_pre_hook(self._skip_single_values)

    @classmethod
    def check_arguments(cls, given: Mapping[str, Any], key: str) -> None:
        """Reject a variant: there is one only."""
        if given.get("variant") is not None:
            raise ConfigError(
                f"{key}.variant",
                f"{given['variant']!r}, but {cls.__name__} has no variants. Choose "
                "detector=fasterrcnn_... by its name.",
            )

    def _skip_single_values(self, layer: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        """Let a layer evaluate where it trains on one value per channel, which has no variance.

        The coarsest map is a single pixel, and the last batch of an epoch may be a single image.
        """
        values = inputs[0]
        layer.train(self.training and values.numel() > values.shape[1])
