"""Faster R-CNN: proposes regions, then classifies and refines them; the accurate one.

Ren et al., "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks", NIPS
2015, with the feature pyramid of Lin et al., CVPR 2017.
"""

from collections.abc import Mapping
from typing import Any, Literal

from torch import nn
from torchvision.models import detection, get_model, list_models
from torchvision.ops import FrozenBatchNorm2d

from dlcexp.errors import not_one_of
from dlcexp.models.detectors.base import NUM_CLASSES, Detector, at_least_single
from dlcexp.models.detectors.pretrained import (
    coco_if_available,
    load_weights,
    settled_freezing,
)
from dlcexp.vocabulary import AUTO

# torchvision builds these with batch norm that cannot be trained, as soon as any weights are
# pretrained. DeepLabCut always has them so.
FROZEN_VARIANTS = (
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_resnet50_fpn",
)

# The layers below torchvision's three last trainable ones, for pretrained weights.
LOWER_LAYERS = {
    "mobilenet": tuple(str(block) for block in range(7)),
    "resnet": ("conv1", "bn1", "layer1"),
}


class FasterRCNN(Detector):
    """Any `fasterrcnn_*` of torchvision; most show themselves images with a short side of 800 px.

    The lower layers of pretrained weights are not trained, as in torchvision.

    Args:
        freeze_bn_stats: keep the batch-norm statistics, also in training. The backbones of
            `FROZEN_VARIANTS` then keep their scales and shifts too.
        freeze_bn_weights: do not train the batch-norm scales and shifts.
        variant: name of the model in torchvision.
        box_score_thresh: boxes of a lower score are not reported.
        weights: "auto" for COCO weights where they are available, "coco" for these or an error,
            a file, or None for random weights.

    Raises:
        ConfigError: torchvision has no such variant.
        UserError: the weights are not available.
    """

    def __init__(
        self,
        freeze_bn_stats: bool | Literal["auto"] = True,
        freeze_bn_weights: bool = False,
        variant: str = "fasterrcnn_mobilenet_v3_large_fpn",
        box_score_thresh: float = 0.01,
        weights: str | None = AUTO,
    ) -> None:
        self.check_arguments({"variant": variant}, "detector.model")
        weights = coco_if_available(variant) if weights == AUTO else weights
        freeze_bn_stats = settled_freezing(freeze_bn_stats, weights)
        model = get_model(
            variant,
            weights=None,
            weights_backbone=None,
            num_classes=NUM_CLASSES,
            box_score_thresh=box_score_thresh,
        )
        if variant in FROZEN_VARIANTS:
            _replace_batch_norm(
                model, FrozenBatchNorm2d if freeze_bn_stats else CounterlessBatchNorm
            )
        pretrained = load_weights(model, variant, weights)
        if pretrained:
            _freeze_lower_layers(model, variant)
        super().__init__(
            model,
            heads=[model.rpn.head, model.roi_heads.box_predictor],
            anchors=model.rpn.anchor_generator,
            pretrained=pretrained,
            freeze_bn_stats=freeze_bn_stats,
            freeze_bn_weights=freeze_bn_weights,
        )
        # Regions are pooled from maps of the format that they are themselves in.
        model.roi_heads.box_roi_pool.register_forward_pre_hook(_pool_full_precision)
        model.roi_heads.box_head.register_forward_pre_hook(_as_weights)

    @classmethod
    def check_arguments(cls, given: Mapping[str, Any], key: str) -> None:
        """Reject a variant that torchvision does not have."""
        known = list_models(detection, include="fasterrcnn_*")
        variant = given.get("variant", known[0])
        if variant not in known:
            raise not_one_of(f"{key}.variant", variant, known)


def _pool_full_precision(layer: nn.Module, inputs: Any) -> Any:
    return at_least_single(inputs)


def _as_weights(layer: nn.Module, inputs: Any) -> Any:
    """Return the pooled maps in the number format of the layer's weights."""
    return tuple(values.to(next(layer.parameters()).dtype) for values in inputs)


class CounterlessBatchNorm(nn.BatchNorm2d):
    """Trainable batch norm with the parameter names of `FrozenBatchNorm2d`: no batch counter."""

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        self.num_batches_tracked = None

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.pop(f"{prefix}num_batches_tracked", None)
        # Past the method of the base class, which would put a counter into old state dicts.
        nn.Module._load_from_state_dict(self, state_dict, prefix, *args)


def _replace_batch_norm(module: nn.Module, kind: type[nn.Module]) -> None:
    """Put layers of that kind in the place of all batch norm below `module`."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, kind(child.num_features))
        else:
            _replace_batch_norm(child, kind)


def _freeze_lower_layers(model: nn.Module, variant: str) -> None:
    names = next(names for family, names in LOWER_LAYERS.items() if family in variant)
    body: Any = model.backbone.body
    for name in names:
        body.get_submodule(name).requires_grad_(False)
