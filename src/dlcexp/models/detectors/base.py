"""The base class of detectors: a torchvision network that separates animals from background."""

import logging
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops import box_convert

logger = logging.getLogger(__name__)

# As torchvision counts them: the background, and the animal.
NUM_CLASSES = 2
ANIMAL = 1


class Detector(nn.Module):
    """A detector of torchvision with boxes (x, y, width, height) in pixels.

    Images go in as the pose models get them. torchvision normalises its input, so that images of
    the data pipeline are normalised twice; DeepLabCut trains and applies its detectors like this,
    and weights only pass between the two if we do the same.

    Args:
        model: the network of torchvision, for background and animal.
        heads: its layers that give scores and boxes; what follows is computed in float32.
        anchors: its layer that makes anchors, in the number format of the maps that it gets.
        pretrained: its weights were trained, not drawn.
        freeze_bn_stats: keep the batch-norm statistics, also in training.
        freeze_bn_weights: do not train the batch-norm scales and shifts.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        heads: Iterable[nn.Module],
        anchors: nn.Module,
        pretrained: bool,
        freeze_bn_stats: bool,
        freeze_bn_weights: bool,
    ) -> None:
        super().__init__()
        self.model = model
        self.freeze_bn_stats = freeze_bn_stats
        self._random_weights = not pretrained
        self.register_load_state_dict_post_hook(_weights_were_loaded)
        if freeze_bn_weights:
            for layer in self._batch_norms():
                layer.requires_grad_(False)
        for head in heads:
            head.register_forward_hook(_in_full_precision)
        # Anchors in bfloat16 are off by up to 4 px, and inference makes them in float32.
        anchors.register_forward_pre_hook(_of_full_precision)
        self.train()

    def train(self, mode: bool = True) -> "Detector":
        """Switch between training and evaluation; frozen statistics stay in evaluation."""
        super().train(mode)
        if self.freeze_bn_stats:
            for layer in self._batch_norms():
                layer.eval()
        return self

    def losses(self, images: torch.Tensor, boxes: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return each loss of torchvision by name, and "total_loss", their sum; in training mode.

        Args:
            images: (b, 3, h, w), normalised.
            boxes: (b, n, 4), the animals' boxes; a box of no size, or wholly outside the image,
                is ignored.
        """
        if self.freeze_bn_stats and self._random_weights:
            self._random_weights = False  # once is enough
            logger.warning(
                "The detector trains from random weights with frozen batch-norm statistics, which"
                " diverges or learns slowly as a rule. Set detector.model.freeze_bn_stats=false,"
                " or give pretrained weights by detector.model.weights=FILE, or by"
                " detector.model.weights=coco where the network can be reached."
            )
        height, width = images.shape[-2:]
        targets = [_target(of_image, height, width) for of_image in boxes.to(images.device)]
        losses: dict[str, torch.Tensor] = self.model(list(images), targets)
        return losses | {"total_loss": torch.stack(list(losses.values())).sum()}

    def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        """Detect the animals of each image (b, 3, h, w), best first; in evaluation mode.

        Returns:
            per image "boxes" (m, 4), in pixels of that image, and "scores" (m,) in [0, 1].
        """
        return [
            {"boxes": box_convert(found["boxes"], "xyxy", "xywh"), "scores": found["scores"]}
            for found in self.model(list(images))
        ]

    def _batch_norms(self) -> list[_BatchNorm]:
        return [layer for layer in self.modules() if isinstance(layer, _BatchNorm)]


def _target(boxes: torch.Tensor, height: int, width: int) -> dict[str, torch.Tensor]:
    """Return the boxes (n, 4) of an image that show an animal, as torchvision wants them."""
    corners = box_convert(boxes.float(), "xywh", "xyxy")
    left, top, right, bottom = corners.unbind(dim=1)
    has_size = (right > left) & (bottom > top)
    is_inside = (left < width) & (top < height) & (right > 0) & (bottom > 0)
    animals = corners[has_size & is_inside]
    labels = torch.full((len(animals),), ANIMAL, dtype=torch.int64, device=boxes.device)
    return {"boxes": animals, "labels": labels}


def _in_full_precision(layer: nn.Module, inputs: Any, outputs: Any) -> Any:
    """Return a layer's outputs in float32: under autocast, boxes would be rounded to pixels."""
    return at_least_single(outputs)


def _of_full_precision(layer: nn.Module, inputs: Any) -> Any:
    """Return the inputs of a layer in float32."""
    return at_least_single(inputs)


def at_least_single(values: Any) -> Any:
    """Convert floating tensors of less than 32 bits in lists and dicts to float32."""
    if isinstance(values, torch.Tensor):
        if not values.is_floating_point():
            return values
        return values.to(torch.promote_types(values.dtype, torch.float32))
    if isinstance(values, dict):
        return {name: at_least_single(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(at_least_single(value) for value in values)
    return values


def _weights_were_loaded(detector: "Detector", _: object) -> None:
    """Note that a snapshot brings statistics that fit its weights."""
    detector._random_weights = False
