"""The augmentation menu: which keys the `data` node may hold, and what each may be.

Names and meaning are DeepLabCut's, in its flat spelling (`rotation`, `scale_jitter`) and in that
of 3.0 (`affine`). This module imports neither albumentations nor torch, because it runs each time
a tree is composed; `dlcexp.config.augmentation_checks` checks a tree by it, and
`dlcexp.data.augmentation`
turns it into transforms.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

from dlcexp.config.value_rules import (
    PIXELS,
    POSITIVE,
    PROBABILITY,
    SWITCH,
    Fields,
    Rule,
    Rules,
    choice,
    integer,
    is_sequence,
    list_of,
    number,
    pair,
)
from dlcexp.errors import ConfigError

Section = Literal["train", "inference"]
SECTIONS: tuple[Section, ...] = ("train", "inference")

CROP_METHODS = ("uniform", "keypoints", "density", "hybrid")
MISTAKES = ("jitter_prob", "swap_prob", "inv_prob", "miss_prob")
PAD_POSITIONS = ("center", "top_left", "top_right", "bottom_left", "bottom_right", "random")
BORDER_MODES = ("constant", "reflect_101")

# DeepLabCut's configuration files name the same collation with and without the word Collate.
COLLATE_TYPES = {
    "ResizeFromDataSize": "ResizeFromDataSize",
    "ResizeFromDataSizeCollate": "ResizeFromDataSize",
    "ResizeFromList": "ResizeFromList",
    "ResizeFromListCollate": "ResizeFromList",
}

# What the keys directly under `data` mean to a model that is only applied.
INFERENCE_KEYS = (
    "top_down_crop",
    "resize",
    "longest_max_size",
    "auto_padding",
    "normalize_images",
    "scale_to_unit_range",
)

# Without any of these sizes, `resize` and `auto_padding` do nothing.
_SIZES = {"width", "height", "min_width", "min_height", "pad_width_divisor", "pad_height_divisor"}
_MANNERS = {"keep_ratio", "position", "border_mode", "border_value"}

_UNITS = {"": 1, "b": 1} | {
    f"{prefix}{unit}": base**power
    for power, prefix in enumerate("kmgt", start=1)
    for unit, base in (("ib", 1024), ("b", 1000))
}


def parse_bytes(value: int | str, key: str = "data.cache") -> int:
    """Number of bytes meant by `value`: an integer, or text such as "512MiB", "2GiB", "1.5 GB".

    Raises:
        ConfigError: anything else, or a negative number.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(value))
    if match is None or match[2].lower() not in _UNITS:
        allowed = "Allowed: a number of bytes, or a text such as 512MiB or 2GiB; 0 is off."
        raise ConfigError(key, f"{value!r} is no amount of memory. {allowed}")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def _is_symmetries(value: Any) -> bool:
    return is_sequence(value) and all(
        is_sequence(sides)
        and len(sides) == 2
        and sides[0] != sides[1]
        and all(isinstance(side, int | str) and not isinstance(side, bool) for side in sides)
        for sides in value
    )


def _switchable(**optional: Rules) -> Rules:
    """An augmentation that is on or off, has a probability, or is spelled out."""
    return (SWITCH, PROBABILITY, Fields(optional={"p": (PROBABILITY,), **optional}))


_DEGREES = number("a number of degrees from -180 to 180", -180, 180)
_ROTATION = (number("degrees r from 0 to 180, for [-r, r]", 0, 180), pair(_DEGREES))
_SHIFT = (integer("whole pixels t from 0 up, for [-t, t]", 0), pair(integer("whole pixels")))
_SCALING = (pair(POSITIVE),)
_STD = number("a standard deviation from 0 to 255", 0, 255)
_SIZE = Rule(
    "[height, width]", lambda v: is_sequence(v) and len(v) == 2 and all(map(PIXELS.accepts, v))
)
_ODD_WINDOW = pair(integer("a whole number of pixels from 3 up", 3))

_SYMMETRIES = Rule("pairs [left, right] of bodyparts by name or number", _is_symmetries)

COLLATES = {
    "ResizeFromDataSize": Fields(
        {"min_scale": (POSITIVE,), "max_scale": (POSITIVE,)},
        {
            "min_short_side": (PIXELS,),
            "max_short_side": (PIXELS,),
            "max_ratio": (number("a number from 1 up", 1),),
            "multiple_of": (PIXELS,),
            "to_square": (SWITCH,),
        },
    ),
    "ResizeFromList": Fields({"scales": (list_of(PIXELS, _SIZE),)}),
}

_SHARE = number("a fraction of the box from 0 up", 0)

AUGMENTATIONS: dict[str, Rules] = {
    "top_down_crop": (
        Fields({"width": (PIXELS,), "height": (PIXELS,)}, {"crop_with_context": (SWITCH,)}),
    ),
    "random_bbox_transform": (
        Fields(
            optional={
                "shift_factor": (_SHARE,),
                "shift_prob": (PROBABILITY,),
                "scale_factor": _SCALING,
                "scale_prob": (PROBABILITY,),
                "p": (PROBABILITY,),
            }
        ),
    ),
    "resize": (
        Fields(optional={"width": (PIXELS,), "height": (PIXELS,), "keep_ratio": (SWITCH,)}),
    ),
    "longest_max_size": (PIXELS,),
    "hflip": _switchable(symmetries=(_SYMMETRIES,)),
    "affine": (
        Fields(
            optional={
                "p": (PROBABILITY,),
                "rotation": _ROTATION,
                "scaling": _SCALING,
                "translation": _SHIFT,
            }
        ),
    ),
    "rotation": _ROTATION,
    "scale_jitter": _SCALING,
    "crop_sampling": (
        Fields(
            {"width": (PIXELS,), "height": (PIXELS,)},
            {
                "max_shift": (number("a fraction of the crop from 0 to 1", 0, 1),),
                "method": (choice(CROP_METHODS),),
            },
        ),
    ),
    "elastic_transform": _switchable(alpha=(POSITIVE,), sigma=(POSITIVE,)),
    "hist_eq": _switchable(),
    "motion_blur": _switchable(blur_limit=(_ODD_WINDOW,)),
    "covering": _switchable(),
    "grayscale": _switchable(alpha=(PROBABILITY, pair(PROBABILITY))),
    "gaussian_noise": (SWITCH, _STD, Fields({"std": (_STD,)}, {"p": (PROBABILITY,)})),
    "auto_padding": (
        Fields(
            optional={
                "pad_width_divisor": (PIXELS,),
                "pad_height_divisor": (PIXELS,),
                "min_width": (PIXELS,),
                "min_height": (PIXELS,),
                "position": (choice(PAD_POSITIONS),),
                "border_mode": (choice(BORDER_MODES),),
                "border_value": (number("a grey value from 0 to 255", 0, 255),),
            }
        ),
    ),
    "normalize_images": (SWITCH,),
    "scale_to_unit_range": (SWITCH,),
    "collate": (Rule("a mapping with `type`", lambda value: isinstance(value, Mapping)),),
}

# Keys that only some methods have anything to apply to.
METHODS_OF = {
    "top_down_crop": ("td", "ctd"),
    "random_bbox_transform": ("td", "ctd"),
}

SETTINGS: dict[str, Rules] = {
    "colormode": (choice(("RGB", "BGR")),),
    "gen_sampling": (
        Fields(
            optional={
                "keypoint_sigmas": (POSITIVE, list_of(POSITIVE)),
                "keypoints_symmetry": (_SYMMETRIES,),
                **dict.fromkeys(MISTAKES, (PROBABILITY,)),
            }
        ),
    ),
    "bbox_margin": (integer("a whole number of pixels from 0 up", 0),),
    "cache": (Rule("bytes, or a text such as 2GiB", lambda value: parse_bytes(value) >= 0),),
    "loader": (Rule("null, as there is no other loader yet", lambda value: False),),
}


def is_off(value: Any) -> bool:
    """Whether a menu entry asks for nothing: null, false, or a resize or padding without sizes."""
    if isinstance(value, Mapping) and value.keys() <= _SIZES | _MANNERS:
        return all(value.get(name) is None for name in _SIZES)
    return value is None or value is False


def is_transform(value: Any) -> bool:
    """Whether a menu entry is a transform of its own, given by `_target_`."""
    return isinstance(value, Mapping) and "_target_" in value


def effective_menu(data: Mapping[str, Any], section: Section) -> dict[str, Any]:
    """The augmentations that hold in training or in inference.

    Keys directly under `data` hold in both, as far as they make sense in inference (crops,
    rescaling, padding, normalisation, and transforms given by `_target_`). Those of the section
    override them, null and false included. Entries that are off are left out.
    """
    outside = {*SETTINGS, *SECTIONS}
    shared = {name: value for name, value in data.items() if name not in outside}
    if section == "inference":
        shared = {n: v for n, v in shared.items() if n in INFERENCE_KEYS or is_transform(v)}
    menu = {**shared, **(data.get(section) or {})}
    return {n: v for n, v in menu.items() if not is_off(v)}
