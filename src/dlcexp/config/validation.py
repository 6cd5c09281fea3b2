"""Every mistake in a composed tree, found before anything is built.

Three passes over the plain tree: keys, types and limits against the schema; keywords of every
target against its signature; combinations of keys that make no sense together.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from dlcexp.config.build import allowing, check_targets
from dlcexp.config.menu import check_batchable, validate_data
from dlcexp.config.schema import Tree
from dlcexp.errors import ConfigError, nearest


def check_keys(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Check keys, types and limits of a plain, resolved tree; imports nothing heavy.

    Returns:
        The tree with its values converted to the types of the schema, in the schema's order.

    Raises:
        ConfigError: the first key that is unknown, missing, of the wrong type, or out of limits.
    """
    schema = OmegaConf.structured(Tree)
    try:
        merged = OmegaConf.merge(schema, dict(tree))
    except ConfigKeyError as error:
        raise _unknown_key(str(error.full_key), tree) from error
    except OmegaConfBaseException as error:
        raise ConfigError(str(error.full_key), _first_line(error)) from error
    missing = OmegaConf.missing_keys(merged)
    if missing:
        raise ConfigError(min(missing), "must be given; it has no default.")
    plain = OmegaConf.to_container(merged)
    if not isinstance(plain, dict):
        raise TypeError("a tree is a mapping")
    tree = {str(name): value for name, value in plain.items()}
    tree["scheduler"] = tree["scheduler"] or None  # scheduler=none is an empty option
    _check_limits(Tree, tree, "")
    metadata = tree["metadata"]
    validate_data(tree["data"], [*metadata["bodyparts"], *metadata["unique_bodyparts"]])
    return tree


def check_tree(tree: Mapping[str, Any]) -> None:
    """Check the targets and the combinations of a tree that passed `check_keys`; imports torch.

    Raises:
        ConfigError: names the key, its value, what is allowed and the nearest match.
    """
    _check_combinations(tree)
    check_batchable(
        tree["data"], tree["model"].get("backbone", {}).get("recipe", {}).get("padding", 1)
    )
    with allowing(tree["allow_targets"]):
        for group in ("model", "optimizer", "scheduler", "logger", "split"):
            check_targets(tree[group], group)
        for menu in ("train", "inference"):
            check_targets(tree["data"][menu], f"data.{menu}")


def _check_limits(schema: type, values: Mapping[str, Any], prefix: str) -> None:
    for field in dataclasses.fields(schema):
        value = values[field.name]
        path = f"{prefix}{field.name}"
        if value is None:
            continue
        nested = _dataclass_of(field.type)
        if nested is not None:
            _check_limits(nested, value, f"{path}.")
            continue
        limits = field.metadata
        choices, pattern, minimum = limits["choices"], limits["pattern"], limits["minimum"]
        if choices and value not in choices:
            hint = nearest(str(value), choices)
            raise ConfigError(path, f"{value!r} is not one of {', '.join(choices)}.{hint}")
        if pattern and not re.fullmatch(pattern, str(value)):
            raise ConfigError(path, f"{value!r} does not have the form {pattern}")
        if minimum is not None and value < minimum:
            raise ConfigError(path, f"{value!r} is below {minimum}, the smallest value allowed.")


def _dataclass_of(annotation: Any) -> type | None:
    """The dataclass in an annotation such as `Resize` or `Resize | None`."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if dataclasses.is_dataclass(candidate) and isinstance(candidate, type):
            return candidate
    return None


def _unknown_key(full_key: str, tree: Mapping[str, Any]) -> ConfigError:
    parent, _, name = full_key.rpartition(".")
    schema: type = Tree
    for part in parent.split(".") if parent else ():
        types = {field.name: field.type for field in dataclasses.fields(schema)}
        schema = _dataclass_of(types[part]) or Tree
    names = [field.name for field in dataclasses.fields(schema)]
    value = OmegaConf.select(OmegaConf.create(dict(tree)), full_key)
    return ConfigError(
        full_key, f"there is no such key (its value was {value!r}).{nearest(name, names)}"
    )


def _check_combinations(tree: Mapping[str, Any]) -> None:
    """Keys that are each right and wrong together."""
    metadata, heads = tree["metadata"], tree["model"].get("heads", {})
    head = str(heads.get("bodypart", {}).get("_target_", "")).rpartition(".")[2]
    animals = metadata["num_individuals"]
    if tree["method"] == "bu" and head == "HeatmapHead" and animals > 1:
        raise ConfigError(
            "model",
            f"the heatmap model finds one animal, and the project has {animals} individuals. "
            "Use model=dekr or model=paf.",
        )
    if head == "DLCRNetHead" and metadata["num_bodyparts"] < 2:
        raise ConfigError("model", "part-affinity fields need at least two bodyparts.")
    needs_center = head == "DEKRHead"
    if needs_center and not tree["with_center_keypoints"]:
        raise ConfigError("with_center_keypoints", "False, but model=dekr needs the centres: True.")
    if not needs_center and tree["with_center_keypoints"]:
        raise ConfigError(
            "with_center_keypoints",
            f"True, but {head or 'this head'} has no centre: False.",
        )
    for bodyparts in _comparison_bodyparts(tree):
        if bodyparts not in metadata["bodyparts"]:
            raise ConfigError(
                "evaluation.comparison_bodyparts",
                f"the project has no bodypart {bodyparts!r}; it has "
                f"{', '.join(metadata['bodyparts'])}.{nearest(bodyparts, metadata['bodyparts'])}",
            )


def _comparison_bodyparts(tree: Mapping[str, Any]) -> list[str]:
    wanted = tree["evaluation"]["comparison_bodyparts"]
    if wanted == "all":
        return []
    return [wanted] if isinstance(wanted, str) else [str(name) for name in wanted]


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0]
