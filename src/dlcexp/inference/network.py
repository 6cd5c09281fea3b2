"""A pose model made ready for many frames: what only training needs is computed once."""

from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_weights

from dlcexp.models.pose_model import Maps, PoseModel

# Pixels by which a network that takes any image shows what follows what.
_EXAMPLE = 128


class TorchNetwork:
    """The maps of a pose model, the same up to rounding, in less time.

    Batch norm becomes part of the convolution before it, weights are in channels_last order, and
    in the format of the precision.

    Args:
        model: a network that is changed in place; in evaluation mode from now on.
        device: where to compute.
        dtype: format in which layers compute, such as `torch.bfloat16`; None: float32. What needs
            float32, such as coordinates, stays so.
    """

    def __init__(
        self, model: PoseModel, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        self.model = model.eval().to(device)
        self.device, self.dtype = device, dtype
        self._ready = False

    def __call__(self, images: torch.Tensor, *conditions: torch.Tensor) -> dict[str, Maps]:
        """Raw maps of each head, by name; see `PoseModel.forward`."""
        images = images.contiguous(memory_format=torch.channels_last)
        if not self._ready:
            example = images if self.model.of_one_size else images[..., :_EXAMPLE, :_EXAMPLE]
            self._prepare(example[:1], *(given[:1] for given in conditions))
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            maps: dict[str, Maps] = self.model(images, *conditions)
        return maps

    def _prepare(self, *example: torch.Tensor) -> None:
        fold_batch_norms(self.model, *example)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.dtype is not None:
            for layer in self.model.modules():
                # Autocast would convert them again for every batch.
                if isinstance(layer, _ConvNd | nn.Linear):
                    layer.to(self.dtype)
        self._ready = True


def fold_batch_norms(model: nn.Module, *example: torch.Tensor) -> int:
    """Make batch norms part of the convolutions that they follow; in evaluation mode.

    Args:
        model: changed in place; its outputs are the same up to rounding.
        example: inputs, which show what follows what.

    Returns:
        How many there were.
    """
    names = {layer: name for name, layer in model.named_modules()}
    pairs = _convolution_before(model, *example)
    for norm, convolution in pairs.items():
        weight, bias = fuse_conv_bn_weights(
            convolution.weight,
            convolution.bias,
            *(norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias),
        )
        convolution.weight, convolution.bias = weight, bias
        parent, _, child = names[norm].rpartition(".")
        rest = norm.act if isinstance(norm, BatchNormAct2d) else nn.Identity()
        setattr(model.get_submodule(parent), child, rest)
    return len(pairs)


@torch.inference_mode()
def _convolution_before(model: nn.Module, *example: torch.Tensor) -> dict[Any, nn.Conv2d]:
    """Return the convolution whose output each batch norm reads, where each is applied once."""
    found: dict[Any, nn.Conv2d] = {}
    applied: list[nn.Module] = []
    last: list[Any] = [None, None]  # the latest convolution, and its output

    def after(layer: Any, inputs: Any, output: Any) -> None:
        applied.append(layer)
        if isinstance(layer, nn.Conv2d):
            last[:] = layer, output
        elif inputs[0] is last[1]:
            found[layer] = last[0]

    kinds = (nn.Conv2d, nn.BatchNorm2d, BatchNormAct2d)
    layers = [layer for layer in model.modules() if type(layer) in kinds]
    hooks = [layer.register_forward_hook(after) for layer in layers]
    try:
        model(*example)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        norm: convolution
        for norm, convolution in found.items()
        if applied.count(norm) == applied.count(convolution) == 1
        and norm.running_mean is not None
        and not norm.training
    }
