"""Layer-wise learning-rate decay: the closer a layer of the backbone to the image, the slower.

Bao et al., "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022; for poses Xu et al.,
"ViTPose: Simple Vision Transformer Baselines for Human Pose Estimation", NeurIPS 2022.
"""

import re
from typing import Any

import timm
import torch
from timm.models import group_parameters
from torch import nn

from dlcexp.errors import ConfigError

KEY = "weights.layer_decay"


def layer_factors(backbone: nn.Module, decay: float) -> dict[str, float]:
    """Return the factor of each parameter of the backbone that belongs to a layer of timm's.

    It is `decay` for the last layer, `decay` squared for the one before. Parameters that are not
    timm's, such as those that mix conditions into images, have none: they are new.

    Raises:
        ConfigError: timm does not know the layers of the backbone.
    """
    prefix, network = _timm_network(backbone)
    layers = _layers(network)
    top = max(layers.values()) + 1
    return {f"{prefix}.{name}": decay ** (top - layer) for name, layer in layers.items()}


def _timm_network(backbone: nn.Module) -> tuple[str, Any]:
    for name, module in backbone.named_modules():
        if hasattr(module, "pretrained_cfg"):
            return name, module
    raise _unknown(type(backbone).__name__)


def _layers(network: Any) -> dict[str, int]:
    """Return timm's layer of each parameter, 0 for the first, as grouped in the whole network."""
    name = network.pretrained_cfg["architecture"]
    with torch.device("meta"):
        whole: Any = timm.create_model(name)
    if not hasattr(whole, "group_matcher"):
        raise _unknown(name)
    known = group_parameters(whole, whole.group_matcher(coarse=False), reverse=True)
    layers = {}
    for parameter, _ in network.named_parameters():
        # A network cut at feature levels has `stages_0` in place of `stages.0`.
        original = re.sub(r"_(\d+)\.", r".\1.", parameter, count=1)
        layer = known.get(parameter, known.get(original))
        if layer is None:
            raise _unknown(name)
        layers[parameter] = layer
    return layers


def _unknown(network: str) -> ConfigError:
    return ConfigError(
        KEY,
        f"the layers of {network} are not known; set it to null, or slow down modules with "
        "weights.lr_scale.",
    )
