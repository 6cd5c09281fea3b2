"""From an augmentation menu to the transforms that make the network's images.

The steps, in this order: rescale (`resize`, `longest_max_size`); move (`hflip`, `affine`); cut
(`crop_sampling`; top-down the middle of a larger crop, which is rescaled here, not before); bend
(`elastic_transform`); transforms given by `_target_`, as written; change colours (`hist_eq`,
`motion_blur`, `covering`, `grayscale`, `gaussian_noise`); pad (`auto_padding`); scale the values
(`normalize_images`, `scale_to_unit_range`). Cutting early keeps the rest cheap, and all steps but
the last work on uint8. Top-down they all act on the crop that `dlcexp.data.crops` has cut out
before, conditional top-down all but the moves, which act on the frame.
"""

import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

from dlcexp.config.augmentation_keys import is_transform
from dlcexp.config.build import build
from dlcexp.data.pipeline import Pipeline
from dlcexp.data.transforms import (
    Elastic,
    FitWithin,
    Grayscale,
    KeypointAwareCrop,
    Pad,
    SymmetricFlip,
)
from dlcexp.errors import ConfigError

log = logging.getLogger(__name__)

# Mean and standard deviation of the colours of ImageNet, as fractions of 255.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# What moves an image; the same for the frames of conditional top-down, which are moved uncut.
MOVES = ("hflip", "affine", "rotation", "scale_jitter")

# Defaults of DeepLabCut where a menu leaves them out.
_P_AFFINE = 0.9
_P = 0.5
_MAX_SHIFT = 0.4
_NOISE_STD = 0.05 * 255
_COVER_HOLES = (10, 10)
_COVER_SIDE = (0.01, 0.05)  # of the image's side

_BORDERS = {"constant": cv2.BORDER_CONSTANT, "reflect_101": cv2.BORDER_REFLECT_101}


def build_pipeline(
    menu: Mapping[str, Any],
    *,
    bodyparts: Sequence[str] | None,
    unique_bodyparts: Sequence[str] = (),
    training: bool,
    colormode: str = "RGB",
    key: str = "data",
) -> Pipeline:
    """Turn a validated menu (`augmentation_keys.effective_menu`) into a pipeline.

    Args:
        menu: the augmentations.
        bodyparts, unique_bodyparts: their names, which `hflip` looks at; None where only boxes
            matter, and left and right may be confused.
        training: whether this is for training.
        colormode: order of the channels of the images made, RGB or BGR.
        key: where the menu stands, for messages.

    Raises:
        ConfigError: a transform that cannot be built.
    """
    key = f"{key}.{'train' if training else 'inference'}"
    parts = None if bodyparts is None else (*bodyparts, *unique_bodyparts)
    try:
        transforms = list(_transforms(menu, parts, key, training))
        levels = _levels(menu)
        return Pipeline(transforms, levels, training=training, bgr=colormode == "BGR")
    except (ValueError, TypeError) as error:
        raise ConfigError(key, f"albumentations refuses this menu: {error}") from error


def moves(menu: Mapping[str, Any]) -> bool:
    """Return whether images are turned, scaled or shifted, so that a crop's surroundings show."""
    return any(name in menu for name in MOVES if name != "hflip")


def _levels(menu: Mapping[str, Any]) -> NDArray[np.float32]:
    """float32 (3, 256): what the values 0..255 become in each channel."""
    values = np.tile(np.arange(256.0), (3, 1))
    if menu.get("normalize_images"):
        mean, std = (np.array(moments)[:, None] for moments in (IMAGENET_MEAN, IMAGENET_STD))
        values = (values / 255 - mean) / std
    elif menu.get("scale_to_unit_range"):
        values /= 255
    return values.astype(np.float32)


def _transforms(
    menu: Mapping[str, Any], parts: Sequence[str] | None, key: str, training: bool
) -> Iterator[A.BasicTransform]:
    if "top_down_crop" not in menu:
        yield from _rescale(menu)
    if "hflip" in menu:
        yield _flip(menu["hflip"], parts, key)
    yield from _affine(menu)
    if training and "top_down_crop" in menu and moves(menu):
        crop = menu["top_down_crop"]
        yield A.CenterCrop(height=crop["height"], width=crop["width"])
    if "top_down_crop" in menu:
        yield from _rescale(menu)
    yield from _crop(menu)
    if "elastic_transform" in menu:
        yield Elastic(**_settings(menu["elastic_transform"]))
    for name, value in menu.items():
        if is_transform(value):
            yield build(value, key=f"{key}.{name}")
    yield from _colours(menu)
    if "auto_padding" in menu:
        yield _padding(menu["auto_padding"], training)


def _settings(value: Any) -> dict[str, Any]:
    """Return the keywords of an augmentation given as true, as a probability, or spelled out."""
    if isinstance(value, Mapping):
        return {"p": _P, **{name: item for name, item in value.items() if item is not None}}
    return {"p": _P if value is True else value}


def _rescale(menu: Mapping[str, Any]) -> Iterator[A.BasicTransform]:
    if "resize" in menu:
        width, height = menu["resize"].get("width"), menu["resize"].get("height")
        if width and height and not menu["resize"].get("keep_ratio", True):
            yield A.Resize(height=height, width=width, interpolation=cv2.INTER_LINEAR)
        else:
            yield FitWithin(width, height)
        if width and height:
            yield Pad(
                min_height=height,
                min_width=width,
                position="top_left",
                border_mode=cv2.BORDER_CONSTANT,
            )
    if "longest_max_size" in menu:
        yield A.LongestMaxSize(max_size=menu["longest_max_size"])


def padding_share(menu: Mapping[str, Any], width: int, height: int) -> float:
    """Return the fraction of a training image that is black, as the frame does not fill it.

    Args:
        menu: the augmentations of training.
        width, height: of the frame, px.
    """
    frame = np.full((height, width, 3), 255, np.uint8)
    scaled = A.Compose([*_rescale(menu)])(image=frame)["image"]
    crop = menu.get("crop_sampling")
    sides = zip(scaled.shape, (crop["height"], crop["width"]), strict=False) if crop else ()
    filled = math.prod(min(side, wanted) / wanted for side, wanted in sides)
    return 1 - filled * float(scaled.any(-1).mean())


def _flip(value: Any, parts: Sequence[str] | None, key: str) -> A.BasicTransform:
    settings = _settings(value)
    exchange: dict[int, int] = {}
    if parts is None:
        settings.pop("symmetries", None)
        return SymmetricFlip(exchange, **settings)
    for pair in settings.pop("symmetries", ()):
        left, right = (side if isinstance(side, int) else parts.index(side) for side in pair)
        exchange |= {left: right, right: left}
    sided = [name for name in parts if re.search(r"left|right|(?<![A-Z])[LR]\d*$", name)]
    if sided and not exchange:
        log.warning(
            "%s.hflip mirrors images, but bodyparts such as %s keep their side: give symmetries, "
            "'%s.hflip={symmetries: [[LEFT, RIGHT]]}'.",
            *(key, ", ".join(sided[:3]), key),
        )
    return SymmetricFlip(exchange, **settings)


def _affine(menu: Mapping[str, Any]) -> Iterator[A.BasicTransform]:
    flat = {"rotation": menu.get("rotation"), "scaling": menu.get("scale_jitter")}
    affine = {**flat, **{n: v for n, v in menu.get("affine", {}).items() if v is not None}}
    rotation, scaling = affine.get("rotation"), affine.get("scaling")
    translation = affine.get("translation")
    if rotation is None and scaling is None and translation is None:
        return
    low, high = scaling or (1.0, 1.0)
    shift = tuple(int(pixels) for pixels in _range(translation or 0))
    yield A.Affine(
        scale={"x": (low, high), "y": (low, high)},
        keep_ratio=True,
        rotate=_range(rotation or 0),
        translate_px={"x": shift, "y": shift},
        p=affine.get("p", _P_AFFINE),
    )


def _range(value: float | Sequence[float]) -> tuple[float, float]:
    """Return the limits of a range; a number r means -r to r."""
    return (-value, value) if isinstance(value, int | float) else (value[0], value[1])


def _crop(menu: Mapping[str, Any]) -> Iterator[A.BasicTransform]:
    if "crop_sampling" not in menu:
        return
    crop = {name: value for name, value in menu["crop_sampling"].items() if value is not None}
    width, height = crop["width"], crop["height"]
    yield Pad(min_height=height, min_width=width, position="center")
    yield KeypointAwareCrop(
        width, height, crop.get("max_shift", _MAX_SHIFT), crop.get("method", "hybrid")
    )


def _colours(menu: Mapping[str, Any]) -> Iterator[A.BasicTransform]:
    if "hist_eq" in menu:
        yield A.Equalize(by_channels=True, **_settings(menu["hist_eq"]))
    if "motion_blur" in menu:
        settings = {"blur_limit": (3, 7), **_settings(menu["motion_blur"])}
        settings["blur_limit"] = tuple(settings["blur_limit"])
        # Blurred both ways alike: otherwise the image moves under its labels by up to 2.6 pixels.
        yield A.MotionBlur(allow_shifted=False, direction_range=(0.0, 0.0), **settings)
    if "covering" in menu:
        yield A.CoarseDropout(
            num_holes_range=_COVER_HOLES,
            hole_height_range=_COVER_SIDE,
            hole_width_range=_COVER_SIDE,
            **_settings(menu["covering"]),
        )
    if "grayscale" in menu:
        settings = _settings(menu["grayscale"])
        if isinstance(settings.get("alpha"), int | float):
            settings["alpha"] = (settings["alpha"], settings["alpha"])
        yield Grayscale(**settings)
    if "gaussian_noise" in menu:
        yield _noise(menu["gaussian_noise"])


def _noise(value: Any) -> A.BasicTransform:
    settings = dict(value) if isinstance(value, Mapping) else {"std": value}
    std = _NOISE_STD if settings["std"] is True else settings["std"]
    p = settings.get("p")
    return A.GaussNoise(std_range=(0.0, std / 255), p=_P if p is None else p)


def _padding(value: Mapping[str, Any], training: bool) -> A.BasicTransform:
    """Pad as DeepLabCut does; where it would pick a random side in inference, bottom and right."""
    limits: dict[str, int | None] = {}
    for side in ("width", "height"):
        limits[f"min_{side}"] = minimum = value.get(f"min_{side}")
        divisor = value.get(f"pad_{side}_divisor")
        limits[f"pad_{side}_divisor"] = None if minimum else divisor or 1
    position = value.get("position") or "random"
    return Pad(
        **limits,
        position="top_left" if position == "random" and not training else position,
        border_mode=_BORDERS[value.get("border_mode") or "reflect_101"],
        fill=value.get("border_value") or 0,
    )
