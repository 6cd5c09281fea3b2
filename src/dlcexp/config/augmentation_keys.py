"""The augmentation menu: which keys the `data` node may hold, and what each may be.

Names and meaning are DeepLabCut's, in its flat spelling (`rotation`, `scale_jitter`) and in that
of 3.0 (`affine`). Imports neither albumentations nor torch, because it runs each time a tree is
composed; `dlcexp.data.augmentation` turns the menu into transforms.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from dlcexp.config.value_types import (
    PIXELS,
    PLAIN,
    POSITIVE,
    PROBABILITY,
    SWITCH,
    Fields,
    Key,
    Type,
    fields,
    is_sequence,
    list_of,
    node,
    number,
    one_of,
    pair,
    whole,
)
from dlcexp.errors import ConfigError

Section = Literal["train", "inference"]
SECTIONS: tuple[Section, ...] = ("train", "inference")

CROP_METHODS = ("uniform", "keypoints", "density", "hybrid")
MISTAKES = ("jitter_prob", "swap_prob", "inv_prob", "miss_prob")
PAD_POSITIONS = ("center", "top_left", "top_right", "bottom_left", "bottom_right", "random")
BORDER_MODES = ("constant", "reflect_101")

# DeepLabCut's files name the same collation with and without the suffix Collate.
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
    """Return the bytes meant by an integer, or a text such as "512MiB", "2GiB", "1.5 GB"."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(value))
    if match is None or match[2].lower() not in _UNITS:
        allowed = "Allowed: a number of bytes, or a text such as 512MiB or 2GiB; 0 is off."
        raise ConfigError(key, f"{value!r} is not an amount of memory. {allowed}")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def _is_symmetries(value: Any) -> bool:
    return is_sequence(value) and all(
        is_sequence(sides)
        and len(sides) == 2
        and sides[0] != sides[1]
        and all(isinstance(side, int | str) and not isinstance(side, bool) for side in sides)
        for sides in value
    )


_DEGREES = number(-180, 180)
_ROTATION = (number(0, 180, "r from 0 to 180, for [-r, r]"), pair(_DEGREES))
_SHIFT = (whole(0, "a whole number t from 0 up, for [-t, t]"), pair(whole()))
_SCALING = pair(POSITIVE)
_STD = number(0, 255)
_FRACTION = number(0, 1)
_SIDES = Type(
    "[height, width]",
    lambda v: is_sequence(v) and len(v) == 2 and all(map(PIXELS.accepts, v)),
    {"type": "array", "items": dict(PIXELS.schema), "minItems": 2, "maxItems": 2},
)
_SYMMETRIES = Type("pairs [left, right] of bodyparts by name or number", _is_symmetries)
# An augmentation, or a setting of one, that may be null or left out.
_optional = partial(Key, optional=True)
_P = _optional(PROBABILITY, "probability", "fraction")


def _switchable(**keys: Key) -> tuple[Type | Fields, ...]:
    """Return the types of an augmentation that is on or off, or a probability, or in full."""
    return (SWITCH, PROBABILITY, fields(p=_P, **keys))


def _crop_size(**keys: Key) -> Fields:
    sides = {"width": Key(PIXELS, "width", "px"), "height": Key(PIXELS, "height", "px")}
    return fields(**sides, **keys)


COLLATE_TYPE = Key(one_of(*COLLATE_TYPES), "how the size of a batch is found")
# What each type of `collate` takes.
COLLATES = {
    "ResizeFromDataSize": fields(
        min_scale=Key(POSITIVE, "smallest scale of the images", "factor"),
        max_scale=Key(POSITIVE, "largest scale of the images", "factor"),
        min_short_side=_optional(PIXELS, "smallest shorter side", "px"),
        max_short_side=_optional(PIXELS, "largest shorter side", "px"),
        max_ratio=_optional(number(1), "largest ratio of the sides", PLAIN),
        multiple_of=_optional(PIXELS, "both sides become a multiple of it", "px"),
        to_square=_optional(SWITCH, "make the images square"),
    ),
    "ResizeFromList": fields(
        scales=Key(list_of(PIXELS, _SIDES, least=1), "sizes to draw from", "px")
    ),
}

# The augmentations, in the order in which they are described. False switches each of them off.
AUGMENTATIONS = fields(
    top_down_crop=_optional(
        _crop_size(crop_with_context=_optional(SWITCH, "show the image around the box, not black")),
        "size of the crop of each animal; only method=td and ctd",
        "px",
    ),
    random_bbox_transform=_optional(
        fields(
            shift_factor=_optional(number(0), "largest shift, of the sides of the box", "fraction"),
            shift_prob=_optional(PROBABILITY, "probability of a shift", "fraction"),
            scale_factor=_optional(_SCALING, "range of the scale of the box", "factor"),
            scale_prob=_optional(PROBABILITY, "probability of scaling", "fraction"),
            p=_P,
        ),
        "shift and scale boxes before they are cropped; only method=td and ctd",
    ),
    resize=_optional(
        node(
            width=_optional(PIXELS, "width; null follows from the height", "px"),
            height=_optional(PIXELS, "height; null follows from the width", "px"),
            keep_ratio=Key(
                SWITCH,
                "scale to the largest size that fits, then pad; false stretches",
                absent=True,
            ),
        ),
        "scale to this size; a single side keeps the ratio",
    ),
    longest_max_size=_optional(PIXELS, "scale the longer side down to this size", "px"),
    hflip=_optional(
        _switchable(symmetries=_optional(_SYMMETRIES, "bodyparts that change places")),
        "mirror left and right",
        "fraction",
    ),
    affine=_optional(
        fields(
            p=_P,
            rotation=_optional(_ROTATION, "range of the rotation", "degrees"),
            scaling=_optional(_SCALING, "range of the scale", "factor"),
            translation=_optional(_SHIFT, "range of the shift", "px"),
        ),
        "rotate, scale and shift",
    ),
    rotation=_optional(_ROTATION, "short form of affine.rotation", "degrees"),
    scale_jitter=_optional(_SCALING, "short form of affine.scaling", "factor"),
    crop_sampling=_optional(
        _crop_size(
            max_shift=_optional(_FRACTION, "largest shift of its centre, of its size", "fraction"),
            method=_optional(one_of(*CROP_METHODS), "how its centre is drawn"),
        ),
        "cut out a part of the frame, around animals",
    ),
    elastic_transform=_optional(
        _switchable(
            alpha=_optional(POSITIVE, "strength", "px"),
            sigma=_optional(POSITIVE, "smoothness", "px"),
        ),
        "distort locally",
        "fraction",
    ),
    hist_eq=_optional(_switchable(), "equalise the histogram", "fraction"),
    motion_blur=_optional(
        _switchable(blur_limit=_optional(pair(whole(3)), "range of the length of the line", "px")),
        "blur along a line",
        "fraction",
    ),
    covering=_optional(_switchable(), "cover parts of the image", "fraction"),
    grayscale=_optional(
        _switchable(alpha=_optional((PROBABILITY, pair(PROBABILITY)), "share of grey", "fraction")),
        "blend towards grey",
        "fraction",
    ),
    gaussian_noise=_optional(
        (SWITCH, _STD, fields(std=Key(_STD, "standard deviation", "grey levels of 255"), p=_P)),
        "add noise of this standard deviation",
        "grey levels of 255",
    ),
    auto_padding=_optional(
        fields(
            pad_width_divisor=_optional(PIXELS, "the width becomes a multiple of it", "px"),
            pad_height_divisor=_optional(PIXELS, "the height becomes a multiple of it", "px"),
            min_width=_optional(PIXELS, "smallest width", "px"),
            min_height=_optional(PIXELS, "smallest height", "px"),
            position=_optional(one_of(*PAD_POSITIONS), "place of the image in the padded one"),
            border_mode=_optional(one_of(*BORDER_MODES), "content of the border"),
            border_value=_optional(
                number(0, 255), "grey value of the border", "grey levels of 255"
            ),
        ),
        "pad the sides up to a multiple, or to a size",
    ),
    normalize_images=_optional(
        SWITCH, "subtract ImageNet's mean and divide by its standard deviation"
    ),
    scale_to_unit_range=_optional(SWITCH, "divide by 255"),
    collate=_optional(
        fields(
            type=replace(COLLATE_TYPE, optional=True),
            **{
                name: replace(key, optional=True)
                for each in COLLATES.values()
                for name, key in each.keys.items()
            },
        ),
        "bring the images of a batch to one size",
    ),
)

# Keys of `data` that are not augmentations.
SETTINGS = fields(
    colormode=Key(one_of("RGB", "BGR"), "order of the colour channels"),
    gen_sampling=_optional(
        fields(
            keypoint_sigmas=_optional(
                (POSITIVE, list_of(POSITIVE, least=1)),
                "spread of the errors for the size of the animal, of all bodyparts or of each",
                "fraction",
            ),
            keypoints_symmetry=_optional(_SYMMETRIES, "bodyparts that can be taken for each other"),
            jitter_prob=_optional(PROBABILITY, "keypoints next to their place", "fraction"),
            swap_prob=_optional(PROBABILITY, "keypoints on another animal", "fraction"),
            inv_prob=_optional(
                PROBABILITY, "keypoints on their counterpart, left for right", "fraction"
            ),
            miss_prob=_optional(PROBABILITY, "keypoints that are not found", "fraction"),
        ),
        "errors of poses that the model learns to correct; only method=ctd",
    ),
    bbox_margin=Key(whole(0), "margin around the box of the keypoints", "px"),
    cache=_optional(
        Type("a number of bytes, or a text such as 2GiB", lambda value: parse_bytes(value) >= 0),
        "memory for decoded images, shared by the runs of a sweep; 0 switches it off",
        "bytes",
    ),
    loader=_optional(
        Type("null, as there is no other loader yet", lambda value: False),
        "has no effect; DeepLabCut accepts it",
    ),
)

# Keys that only some methods have anything to apply to.
METHODS_OF = {"top_down_crop": ("td", "ctd"), "random_bbox_transform": ("td", "ctd")}


def is_off(value: Any) -> bool:
    """Return True if a menu entry is off: null, false, or a resize or padding without sizes."""
    if isinstance(value, Mapping) and value.keys() <= _SIZES | _MANNERS:
        return all(value.get(name) is None for name in _SIZES)
    return value is None or value is False


def is_transform(value: Any) -> bool:
    """Return True if a menu entry is a custom transform, given by `_target_`."""
    return isinstance(value, Mapping) and "_target_" in value


def effective_menu(data: Mapping[str, Any], section: Section) -> dict[str, Any]:
    """Return the augmentations that hold in training or in inference, without those that are off.

    Keys directly under `data` hold in both, as far as they make sense in inference (crops,
    rescaling, padding, normalisation, and transforms given by `_target_`). Those of the section
    override them, null and false included.
    """
    outside = {*SETTINGS.keys, *SECTIONS}
    shared = {name: value for name, value in data.items() if name not in outside}
    if section == "inference":
        shared = {n: v for n, v in shared.items() if n in INFERENCE_KEYS or is_transform(v)}
    menu = {**shared, **(data.get(section) or {})}
    return {n: v for n, v in menu.items() if not is_off(v)}


def image_size(menu: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return width and height, px, of what top-down images are before padding: resized crops.

    Args:
        menu: effective; without `top_down_crop` there is no one size, None.
    """
    if "top_down_crop" not in menu:
        return None
    width, height = (int(menu["top_down_crop"][side]) for side in ("width", "height"))
    resize = menu.get("resize") or {}
    wide, high = resize.get("width"), resize.get("height")
    if wide and high:
        width, height = wide, high
    elif wide:
        width, height = wide, max(1, height * wide // width)
    elif high:
        width, height = max(1, width * high // height), high
    if longest := menu.get("longest_max_size"):
        scale = longest / max(width, height)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
    return width, height
