"""Names, channels and strides of timm models, without building them.

torch and timm are imported when a tree with a timm backbone is resolved.
"""

from functools import cache
from typing import Any

from dlcexp.errors import UserError, nearest
from dlcexp.text import first_line


def check_model_name(model_name: str) -> None:
    """Raise a `UserError` if timm has no model of this name, with or without a tag."""
    import timm

    if not timm.is_model(model_name):
        hint = nearest(model_name, timm.list_models())
        raise UserError(f"model.backbone.model_name: timm has no model {model_name!r}.{hint}")


def timm_feature_info(model_name: str, feature_level: int) -> tuple[int, int]:
    """Return channels and stride of a feature level of a timm model.

    Raises:
        UserError: the model is unknown, gives no feature maps, or has no such level.
    """
    levels = timm_feature_levels(model_name)
    if not -len(levels) <= feature_level < len(levels):
        known = ", ".join(
            f"{level} (stride {stride}, {channels} channels)"
            for level, (channels, stride) in enumerate(levels)
        )
        raise UserError(
            f"model.backbone.feature_level: {feature_level} is not a level of {model_name!r};"
            f" allowed are {known}."
        )
    return levels[feature_level]


@cache
def timm_feature_levels(model_name: str) -> tuple[tuple[int, int], ...]:
    """Return channels and stride of each feature level of a timm model, the finest first.

    Raises:
        UserError: the model is unknown, or gives no feature maps.
    """
    import timm
    import torch

    check_model_name(model_name)
    try:
        with torch.device("meta"):
            model: Any = timm.create_model(model_name, features_only=True)
    except Exception as error:  # models that give no feature maps raise whatever comes first
        raise UserError(
            f"model.backbone: timm gives no feature maps of {model_name!r}: {first_line(error)}"
        ) from error
    channels, strides = model.feature_info.channels(), model.feature_info.reduction()
    return tuple(zip(channels, strides, strict=True))
