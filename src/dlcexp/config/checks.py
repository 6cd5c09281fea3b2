"""Every mistake in a composed tree, found before anything is built.

Three passes over the plain tree: keys, types and limits against the schema; keywords of every
target against its signature; combinations of keys that make no sense together.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

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
from dlcexp.config.schema import TREE
from dlcexp.config.weights_checks import check_modules, weights_node
from dlcexp.errors import ConfigError, run_checks


def check_keys(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Check keys, types and limits of a plain, resolved tree; imports nothing heavy.

    Returns:
        The tree with its values converted to the types of the schema, in the schema's order.

    Raises:
        ConfigError: keys that are unknown, missing, of the wrong type or out of their range.
    """
    for name in DETECTOR_KEYS:
        if tree.get(name) and tree.get("method") in ("bu", "ctd"):
            raise needs_top_down(name, tree[name], tree["method"])
    given = {**tree, "weights": weights_node(tree.get("weights"))}
    checked: dict[str, Any] = TREE.read(given, "", convert=True)
    check_conditions(checked["conditions"], checked["method"])
    for node in (checked, checked["detector"] or {}):
        node["scheduler"] = node.get("scheduler") or None  # scheduler=none is an empty option
    metadata, method = checked["metadata"], checked["method"]
    bodyparts = [*metadata["bodyparts"], *metadata["unique_bodyparts"]]
    validate_data(checked["data"], bodyparts, method=method)
    if method == "td":
        _check_detector_keys(checked)
        validate_data(checked["data_detector"], bodyparts, method=method, key="data_detector")
    return checked


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
