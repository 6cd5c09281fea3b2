"""The kind of value of each key of a `pytorch_config.yaml`: mapping, list, text, whole number.

`SHAPES` has the keys of every form of the file, as far as reading and writing it rests on them; a
plain value elsewhere is checked in the tree, under its own key. Null is a value that is not given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcexp.errors import ConfigError
from dlcexp.trees import ABSENT, join, select


@dataclass(frozen=True)
class OrOff:
    """A shape, or false."""

    shape: Mapping[str, Any]


# A mapping means one with these keys, `*` for those not named; a list for one of such items;
# `object` for anything.
_NODE: dict[str, Any] = {"type": str}
_RECIPE: dict[str, Any] = _NODE | {"params": {}}
_RECIPE["params"]["schedulers"] = [_RECIPE]
_TRAINING = {"optimizer": _RECIPE, "scheduler": _RECIPE}
_HEAD = _NODE | {
    "criterion": {},
    "heatmap_config": {},
    "locref_config": {},
    "paf_config": {},
    "predictor": _NODE,
    "target_generator": _NODE | {"generators": [_NODE]},
}
_MENU = {
    name: OrOff({})
    for name in (
        *("resize", "affine", "random_bbox_transform", "crop_sampling", "auto_padding"),
        *("top_down_crop", "collate"),
    )
}
_DATA = _MENU | {"train": _MENU, "inference": _MENU, "gen_sampling": {}, "loader": {}}
_CONDITIONS = {"shuffle": int, "filepath": str, "config_path": str, "snapshot_path": str}
SHAPES: dict[str, Any] = {
    "net_type": str,
    "project_path": str,
    "pose_config_path": str,
    "metadata": {
        "project_path": str,
        "pose_config_path": str,
        "bodyparts": [object],
        "unique_bodyparts": [object],
        "individuals": [object],
    },
    "model": {
        "backbone": _NODE | {"backbone": _NODE, "kpt_encoder": _NODE},
        "neck": _NODE,
        "heads": {"*": _HEAD},
    },
    "data": _DATA,
    "data_detector": _DATA,
    "runner": _TRAINING,
    "inference": {"conditions": _CONDITIONS},
    "logger": _NODE | {"wandb_kwargs": {}},
    "detector": _TRAINING | {"model": _NODE, "data": _DATA, "runner": _TRAINING},
    **_TRAINING,
}

# Keys without a default.
_REQUIRED = (
    *("model", "model.backbone", "model.heads.bodypart"),
    *("model.heads.bodypart.predictor", "model.heads.bodypart.target_generator"),
)

_WORDS = {str: "text", int: "a whole number"}


def check_shapes(document: Mapping[str, Any], source: Path) -> None:
    """Raise for a value of another kind than its key takes.

    Raises:
        ConfigError: names the key, its value and what it must be.
    """
    _check(document, SHAPES, source, "")
    for path in _REQUIRED:
        if select(document, path) is None:
            raise ConfigError(path, f"{source}: the file has none, and it has no default.")


def _check(value: Any, shape: Any, source: Path, path: str) -> None:
    if value is None or (isinstance(shape, OrOff) and value is False):
        return
    if problem := _mismatch(value, shape):
        raise ConfigError(path, f"{source}: {value!r:.60} is not {problem}.")
    if isinstance(shape, OrOff):
        shape = shape.shape
    if isinstance(shape, Mapping):
        for name, child in value.items():
            inner = shape.get(name, shape.get("*", ABSENT))
            if inner is not ABSENT:
                _check(child, inner, source, join(path, name))
    elif isinstance(shape, list):
        for index, item in enumerate(value):
            _check(item, shape[0], source, f"{path}[{index}]")


def _mismatch(value: Any, shape: Any) -> str | None:
    """Return the kind that the value must have; None if it has it."""
    if isinstance(shape, OrOff):
        return None if isinstance(value, Mapping) else "a mapping of keys (or null, for off)"
    if isinstance(shape, Mapping):
        return None if isinstance(value, Mapping) else "a mapping of keys"
    if isinstance(shape, list):
        return None if isinstance(value, list) else "a list"
    fits = isinstance(value, shape) and not (shape is int and isinstance(value, bool))
    return None if fits else _WORDS[shape]
