"""Every mistake in a composed tree, found before anything is built.

Three passes over the plain tree: keys, types and limits against the schema; keywords of every
target against its signature; combinations of keys that make no sense together.
"""

import dataclasses
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from dlcexp.config.augmentation_checks import check_batchable, validate_data
from dlcexp.config.augmentation_keys import SECTIONS
from dlcexp.config.build import allowing, build, check_targets
from dlcexp.config.callback_checks import check_callbacks
from dlcexp.config.conditions_checks import check_conditions
from dlcexp.config.method_checks import (
    DETECTOR_KEYS,
    check_combinations,
    check_needs,
    needs_top_down,
)
from dlcexp.config.schedule_checks import check_schedule
from dlcexp.config.schema import Tree
from dlcexp.config.signatures import type_in_words
from dlcexp.config.weights_checks import check_modules, weights_node
from dlcexp.errors import ConfigError, nearest, run_checks
from dlcexp.text import first_line

_FREE_NODES = [field.name for field in dataclasses.fields(Tree) if field.type == dict[str, Any]]


def check_keys(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Check keys, types and limits of a plain, resolved tree; imports nothing heavy.

    Returns:
        The tree with its values converted to the types of the schema, in the schema's order.

    Raises:
        ConfigError: the first key that is unknown, missing, of the wrong type, or out of limits.
    """
    for name in DETECTOR_KEYS:
        if tree.get(name) and tree.get("method") in ("bu", "ctd"):
            raise needs_top_down(name, tree[name], tree["method"])
    tree = {**tree, "weights": weights_node(tree.get("weights"))}
    # The schema says nothing of what is inside of free nodes, and merging them is slow.
    free = {name: tree[name] for name in _FREE_NODES if isinstance(tree.get(name), dict)}
    try:
        typed = {name: {} if name in free else value for name, value in tree.items()}
        merged = OmegaConf.merge(OmegaConf.structured(Tree), typed)
    except ConfigKeyError as error:
        raise _unknown_key(str(error.full_key), tree) from error
    except OmegaConfBaseException as error:
        raise _wrong_type(str(error.full_key), error, tree) from error
    missing = OmegaConf.missing_keys(merged)
    if missing:
        raise ConfigError(min(missing), "must be given; it has no default.")
    plain = OmegaConf.to_container(merged)
    if not isinstance(plain, dict):
        raise TypeError("a tree is a mapping")
    tree = {str(name): free.get(str(name), value) for name, value in plain.items()}
    check_conditions(tree["conditions"], tree["method"])
    for node in (tree, tree["detector"] or {}):
        node["scheduler"] = node.get("scheduler") or None  # scheduler=none is an empty option
    _check_limits(Tree, tree, "")
    metadata, method = tree["metadata"], tree["method"]
    bodyparts = [*metadata["bodyparts"], *metadata["unique_bodyparts"]]
    validate_data(tree["data"], bodyparts, method=method)
    if method == "td":
        _check_detector_keys(tree)
        validate_data(tree["data_detector"], bodyparts, method=method, key="data_detector")
    return tree


def _check_detector_keys(tree: Mapping[str, Any]) -> None:
    for name in DETECTOR_KEYS:
        if tree[name] is None:
            raise ConfigError(name, "must be given with method=td.")


def check_tree(tree: Mapping[str, Any]) -> None:
    """Check the targets and the combinations of a tree that passed `check_keys`; imports torch.

    Raises:
        ConfigError: names the key, its value, what is allowed and the nearest match.
    """
    check_combinations(tree)
    check_modules(tree["weights"], tree["model"])
    check_nodes(tree)
    with allowing(tree["allow_targets"]):
        check_needs(tree)
    recipe = tree["model"]["backbone"].get("recipe") or {}
    check_batchable(tree["data"], recipe.get("padding") or 1)


def check_nodes(tree: Mapping[str, Any]) -> None:
    """Check every target of a tree against its signature, and schedules; imports torch.

    Raises:
        ConfigError: an unknown class, a keyword or a value that it does not take.
    """
    detector = tree["detector"] or {}
    with allowing(tree["allow_targets"]):
        nodes = {
            **{group: tree[group] for group in ("model", "optimizer", "scheduler", "logger")},
            **{
                f"detector.{group}": detector.get(group)
                for group in ("model", "optimizer", "scheduler")
            },
            **{
                f"{data}.{menu}": (tree[data] or {}).get(menu)
                for data in ("data", "data_detector")
                for menu in SECTIONS
            },
        }
        run_checks(
            *(partial(check_targets, node, key) for key, node in nodes.items()),
            partial(check_callbacks, tree),
            # A split costs nothing to build, and knows its limits.
            partial(build, tree["split"], key="split"),
            partial(check_schedule, tree["scheduler"], "scheduler"),
            partial(check_schedule, detector.get("scheduler"), "detector.scheduler"),
        )


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
            raise ConfigError(path, f"{value!r} is not allowed. Allowed: {limits['allowed']}.")
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


def _wrong_type(key: str, error: BaseException, tree: Mapping[str, Any]) -> ConfigError:
    value = OmegaConf.select(OmegaConf.create(dict(tree)), key)
    if "is not a ListConfig" in str(error):
        return ConfigError(key, f"{value!r} is not a list; write '{key}=[{value}]'.")
    field = _field_at(key)
    if field is None:
        return ConfigError(key, first_line(error))
    words = type_in_words(field.type)
    return ConfigError(
        key, f"{value!r} is not allowed. Allowed: {words} ({field.metadata['doc']})."
    )


def _field_at(key: str) -> dataclasses.Field[Any] | None:
    """The field of the schema at a dotted key, or the nearest one above it."""
    schema: type | None = Tree
    found = None
    for part in re.split(r"[.\[]", key):
        fields = {field.name: field for field in dataclasses.fields(schema)} if schema else {}
        found = fields.get(part, found)
        schema = _dataclass_of(fields[part].type) if part in fields else None
    return found
