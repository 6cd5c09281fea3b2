"""Mistakes in the `data` node of a tree, by the augmentation menu; imports nothing heavy.

Each check raises a `ConfigError` with the full key, its value and what is allowed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcexp.config.augmentation_keys import (
    AUGMENTATIONS,
    COLLATE_TYPE,
    COLLATE_TYPES,
    COLLATES,
    INFERENCE_KEYS,
    METHODS_OF,
    MISTAKES,
    SECTIONS,
    SETTINGS,
    Section,
    effective_menu,
    image_size,
    is_off,
    is_transform,
)
from dlcexp.config.value_types import is_sequence
from dlcexp.errors import ConfigError, nearest

# By so much a sum of probabilities may be above 1.
_ROUNDING = 1e-9
# Keys that decide on the size or the part of the image that a model sees, as crops do.
# Keys of `SETTINGS` that `data_detector` has.
_DETECTOR_SETTINGS = ("colormode",)


def validate_data(
    data: Mapping[str, Any],
    bodyparts: Sequence[str] | None = None,
    *,
    method: str = "bu",
    key: str = "data",
) -> None:
    """Check the whole `data` or `data_detector` node of a tree, given as plain containers.

    Args:
        data: the node.
        bodyparts: names (unique bodyparts last) that `hflip.symmetries` may use; None: not checked.
        method: of the tree; top-down needs `top_down_crop` in `data`.
        key: where the node stands; `data_detector` has the frames of bottom-up.
    """
    settings = _DETECTOR_SETTINGS if key == "data_detector" else tuple(SETTINGS.keys)
    for name in settings:
        if name in data:
            SETTINGS[name].read(data[name], f"{key}.{name}")
    if "gen_sampling" in settings and "gen_sampling" in data:
        _check_gen_sampling(data["gen_sampling"], bodyparts, method)
    elsewhere = (*settings, *SECTIONS)
    shared = {name: value for name, value in data.items() if name not in elsewhere}
    _validate_menu(shared, key, method, also=elsewhere)
    own = tuple(name for name, value in shared.items() if is_transform(value))
    for section in SECTIONS:
        full, menu = f"{key}.{section}", data.get(section) or {}
        if not isinstance(menu, Mapping):
            raise ConfigError(full, f"{menu!r} is not a mapping of augmentations.")
        # Null switches off a custom transform that is directly under `data`.
        checked = {n: v for n, v in menu.items() if not (n in own and is_off(v))}
        _validate_menu(checked, full, method)
        _check_together(effective_menu(data, section), full, bodyparts)
        if method != "bu" and key == "data":
            _check_crops(effective_menu(data, section), data, section, method)
    _check_inference(data.get("inference") or {}, f"{key}.inference")


def _validate_menu(
    menu: Mapping[str, Any], key: str, method: str, also: Sequence[str] = ()
) -> None:
    """Check each entry of the menu at `key`, which may also have the keys `also`."""
    for name, value in menu.items():
        full = f"{key}.{name}"
        if name in METHODS_OF and not is_off(value):
            _check_method(full, name, value, method)
        if name in AUGMENTATIONS:
            if value is not False:
                AUGMENTATIONS[name].read(value, full)
            if name == "collate" and not is_off(value):
                _check_collate(value, full)
            if name == "auto_padding" and not is_off(value):
                _check_padding(value, full)
        elif is_transform(value):
            if not isinstance(value["_target_"], str) or "." not in value["_target_"]:
                raise ConfigError(f"{full}._target_", f"{value['_target_']!r} names no class.")
        else:
            known = (*AUGMENTATIONS.keys, *also)
            raise ConfigError(
                full,
                f"unknown augmentation with value {value!r}. Allowed: {', '.join(sorted(known))}; "
                "or a mapping with _target_: albumentations.<Class>."
                f"{nearest(str(name), known)}",
            )


def _check_method(full: str, name: str, value: Any, method: str) -> None:
    """Refuse a key of another method, and a key of crops where there are whole frames."""
    needed = METHODS_OF[name]
    if method not in needed:
        words = " or ".join(f"method={name}" for name in needed)
        raise ConfigError(full, f"{value!r} needs {words}; with method={method} it must be null.")
    if full.startswith("data_detector."):
        raise ConfigError(
            full,
            f"{value!r} is about crops, and a detector sees whole frames. Set "
            f"'{full.replace('data_detector', 'data', 1)}' and leave this one null.",
        )


def _check_gen_sampling(
    value: Mapping[str, Any] | None, bodyparts: Sequence[str] | None, method: str
) -> None:
    """Check the mistakes of conditions against the bodyparts that make them."""
    key = "data.gen_sampling"
    if value is None:
        if method == "ctd":
            raise ConfigError(
                key,
                "null is not allowed: with method=ctd the model learns from mistakes made of the "
                f"labels. For none, set {', '.join(f'{key}.{name}=0' for name in MISTAKES)}.",
            )
        return
    if method != "ctd":
        raise ConfigError(key, f"{value!r} needs method=ctd; with method={method} it must be null.")
    shares = {name: value[name] for name in MISTAKES if value.get(name) is not None}
    if sum(shares.values()) > 1 + _ROUNDING:
        given = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        raise ConfigError(key, f"the probabilities sum to more than 1: {given}.")
    if bodyparts is None:
        return
    sigmas: Any = value.get("keypoint_sigmas")
    if is_sequence(sigmas) and len(sigmas) != len(bodyparts):
        raise ConfigError(
            f"{key}.keypoint_sigmas",
            f"{len(sigmas)} numbers for {len(bodyparts)} bodyparts; give one number for all, or "
            "one each.",
        )
    _check_symmetries(value.get("keypoints_symmetry") or (), f"{key}.keypoints_symmetry", bodyparts)


def _check_crops(
    menu: Mapping[str, Any], data: Mapping[str, Any], section: Section, method: str
) -> None:
    """Top-down: animals are cut out by `top_down_crop` and by nothing else."""
    if "top_down_crop" not in menu:
        raise ConfigError(
            "data.top_down_crop",
            f"missing; method={method} needs the size of the crops, "
            "'data.top_down_crop={width: 256, height: 256}'.",
        )
    if "crop_sampling" in menu:
        inside = "crop_sampling" in (data.get(section) or {})
        raise ConfigError(
            f"data.{section}.crop_sampling" if inside else "data.crop_sampling",
            f"{menu['crop_sampling']!r} excludes method={method}, which brings each animal to "
            f"data.top_down_crop={menu['top_down_crop']!r}; set it to null.",
        )


def check_batchable(data: Mapping[str, Any], divisor: int, *, key: str = "data") -> None:
    """Check that every image reaches the network with sides that `divisor` divides.

    Args:
        data: the `data` or `data_detector` node, plain and validated.
        divisor: pixels; what the strides of the network need (32 for HRNet), 1 if any size will do.
    """
    for section in SECTIONS:
        menu = effective_menu(data, section)
        if not sides_divisible(menu, divisor):
            padding = f"{{pad_width_divisor: {divisor}, pad_height_divisor: {divisor}}}"
            remedy = f"{key}.{section}.auto_padding={padding}"
            if "top_down_crop" in menu and "collate" not in menu:
                width, height = (
                    -(-menu["top_down_crop"][side] // divisor) * divisor
                    for side in ("width", "height")
                )
                remedy = f"data.top_down_crop={{width: {width}, height: {height}}}"
            raise ConfigError(
                f"{key}.{section}",
                f"images can have sides that {divisor} does not divide, as this model needs. "
                f"Set '{remedy}'.",
            )


def sides_divisible(menu: Mapping[str, Any], divisor: int) -> bool:
    """Return True if the last step of `menu` that sets sizes makes them multiples of `divisor`."""
    collate, padding = menu.get("collate"), menu.get("auto_padding") or {}
    if collate and "scales" in collate:
        scales = (scale if is_sequence(scale) else [scale] for scale in collate["scales"])
        return all(side % divisor == 0 for scale in scales for side in scale)
    if collate:
        return (collate.get("multiple_of") or 1) % divisor == 0
    fixed: Mapping[str, Any] = menu.get("crop_sampling") or menu.get("resize") or {}
    if size := image_size(menu):
        fixed = {"width": size[0], "height": size[1]}
    return all(
        (padding.get(f"pad_{side}_divisor") or 1) % divisor == 0
        or _padded(fixed.get(side), padding, side) % divisor == 0
        for side in ("width", "height")
    )


def _padded(size: int | None, padding: Mapping[str, Any], side: str) -> int:
    """Return the size of a side of fixed `size` after padding; 1 if it is not fixed."""
    multiple = padding.get(f"pad_{side}_divisor") or 1
    return max(-(-size // multiple) * multiple, padding.get(f"min_{side}") or 1) if size else 1


def _check_collate(value: Mapping[str, Any], key: str) -> None:
    COLLATE_TYPE.read(value.get("type"), f"{key}.type")
    fields = COLLATES[COLLATE_TYPES[value["type"]]]
    fields.read({name: item for name, item in value.items() if name != "type"}, key)
    for low, high in (("min_scale", "max_scale"), ("min_short_side", "max_short_side")):
        if value.get(low) and value.get(high) and value[low] > value[high]:
            raise ConfigError(f"{key}.{low}", f"{value[low]!r} is above {high}={value[high]!r}.")


def _check_padding(value: Mapping[str, Any], key: str) -> None:
    for side in ("width", "height"):
        if value.get(f"min_{side}") and value.get(f"pad_{side}_divisor"):
            raise ConfigError(
                f"{key}.min_{side}",
                f"{value[f'min_{side}']!r} excludes {key}.pad_{side}_divisor="
                f"{value[f'pad_{side}_divisor']!r}; set one of them to null.",
            )


def _check_inference(menu: Mapping[str, Any], key: str) -> None:
    for name, value in menu.items():
        if name in AUGMENTATIONS and name not in INFERENCE_KEYS and not is_off(value):
            raise ConfigError(
                f"{key}.{name}",
                f"{value!r} is for training only. Allowed: {', '.join(INFERENCE_KEYS)}; or a "
                "mapping with _target_: albumentations.<Class>.",
            )


def _check_together(
    menu: Mapping[str, Any], key: str, bodyparts: Sequence[str] | None = None
) -> None:
    """Check what only an effective menu shows: synonyms given twice, keys that exclude others."""
    affine = menu.get("affine") or {}
    for flat, name in (("rotation", "rotation"), ("scale_jitter", "scaling")):
        if flat in menu and affine.get(name) is not None:
            raise ConfigError(
                f"{key}.{flat}",
                f"{menu[flat]!r} means the same as {key}.affine.{name}={affine[name]!r}; give one.",
            )
    if menu.get("normalize_images") and menu.get("scale_to_unit_range"):
        raise ConfigError(
            f"{key}.scale_to_unit_range",
            "True excludes normalize_images=True, which scales; set "
            f"{key.partition('.')[0]}.normalize_images=false.",
        )
    if bodyparts is not None and isinstance(menu.get("hflip"), Mapping):
        _check_symmetries(
            menu["hflip"].get("symmetries") or (), f"{key}.hflip.symmetries", bodyparts
        )


def _check_symmetries(
    symmetries: Sequence[Sequence[int | str]], key: str, bodyparts: Sequence[str]
) -> None:
    """Check that each part exists and is in one pair only."""
    seen: set[str] = set()
    for part in (part for pair_ in symmetries for part in pair_):
        if part not in bodyparts and not (isinstance(part, int) and 0 <= part < len(bodyparts)):
            allowed = f"{', '.join(bodyparts)}, or a number below {len(bodyparts)}"
            close = nearest(str(part), bodyparts)
            raise ConfigError(key, f"{part!r} is not a bodypart. Allowed: {allowed}.{close}")
        name = part if isinstance(part, str) else bodyparts[part]
        if name in seen:
            raise ConfigError(key, f"{name!r} is in two pairs.")
        seen.add(name)
