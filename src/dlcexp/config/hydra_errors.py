"""Errors of Hydra and OmegaConf as messages that one can act on."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from dlcexp.config.checks import DETECTOR_KEYS, needs_top_down
from dlcexp.config.options import CONFIG_NAME, OVERLAYS, groups, wrong_option
from dlcexp.config.overrides import group_of, place_of, unreadable
from dlcexp.config.rewrite import expand, weights_in_full
from dlcexp.errors import ConfigError, ProjectError, UserError, nearest, together
from dlcexp.trees import join


def readable(error: BaseException, tree: DictConfig | None = None) -> UserError:
    """A message of ours for an error while the tree is resolved."""
    # OmegaConf cuts the chain of causes; the message still names the class of the first.
    first = str(error).splitlines()[0]
    key = str(getattr(error, "full_key", None) or "")
    raised = re.match(r"(\w+) raised while resolving interpolation: (.*)", first)
    if raised and raised[1] == ProjectError.__name__:
        return ProjectError(raised[2])
    if raised and raised[1] in (ConfigError.__name__, UserError.__name__):
        own_key, _, message = raised[2].partition(": ")
        return ConfigError(own_key, message)
    if isinstance(error, MissingMandatoryValue):
        return ConfigError(key, "must be given; it has no default.")
    return ConfigError(
        key, _of_interpolation(key, raised[2].strip("\"'") if raised else first, tree)
    )


def _of_interpolation(key: str, problem: str, tree: DictConfig | None) -> str:
    """What is wrong with the value at `key`, an interpolation that cannot be filled in."""
    if tree is None or not key:
        return problem
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(tree, parent, throw_on_resolution_failure=False) if parent else tree
    raw = OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else {}
    value = raw.get(name) if isinstance(raw, dict) else None
    missing = re.fullmatch(r"Interpolation key '(.+)' not found", problem)
    if missing is None:
        return f"{value!r}: {problem}." if value is not None else problem
    keys = _all_keys(OmegaConf.to_container(tree, resolve=False))
    hint = nearest(missing[1], keys)
    return f"{value!r} leads to nothing: there is no key {missing[1]!r}.{hint}"


def _all_keys(node: Any, path: str = "") -> list[str]:
    """Every dotted key of a plain tree."""
    if not isinstance(node, dict):
        return []
    keys = []
    for name, child in node.items():
        full = f"{path}.{name}" if path else str(name)
        keys += [full, *_all_keys(child, full)]
    return keys


def diagnose(
    overrides: Sequence[str], error: BaseException, config_dir: Path | None = None
) -> UserError:
    """Return what is wrong with each override that Hydra may have stumbled over."""
    if isinstance(error, UserError):
        return error
    problems = (_problem(each, overrides, config_dir) for each in overrides)
    found = [problem for problem in problems if problem]
    return together(found) if found else ConfigError("", str(error))


def _problem(word: str, overrides: Sequence[str], config_dir: Path | None) -> ConfigError | None:
    """Return what is wrong with one of the overrides; None if it is not the one to blame."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(weights_in_full(word))
    except HydraException:
        return unreadable(word)
    key, value = override.key_or_group, override.value()
    if override.is_sweep_override():
        return ConfigError(key, "several values are a sweep; add -m.")
    if config_dir and Path(config_dir, key, f"{value}.yaml").is_file():
        return None  # an option of the user's own
    if key in groups():
        problem = wrong_option(key, value, config_dir)
        return problem or (None if key in OVERLAYS else _wrong_place(word, value, overrides))
    if key.startswith("hydra/") or override.is_force_add():
        return None
    if override.is_delete():
        return _cannot_delete(key, value, overrides)
    if override.is_add():
        return _cannot_add(key, word, overrides)
    return _unknown(key, value, groups(), overrides)


def _cannot_add(key: str, word: str, overrides: Sequence[str]) -> ConfigError | None:
    """An error if the key to add is there already."""
    tree = _choices_alone(overrides)
    return None if tree is None else already_there(tree, key, word)


def _cannot_delete(key: str, value: Any, overrides: Sequence[str]) -> ConfigError | None:
    """An error if there is no such key to delete, or it has another value than the one given."""
    tree = _choices_alone(overrides)
    return None if tree is None else not_to_delete(tree, key, value)


def _wrong_place(word: str, value: Any, overrides: Sequence[str]) -> ConfigError | None:
    """An error if a group choice fills a node that the tree of the other choices does not have."""
    key, place = word.partition("=")[0], place_of(word)
    others = [w for w in overrides if w != word and not place_of(w).startswith(DETECTOR_KEYS)]
    tree = _choices_alone(others)
    if tree is None:
        return None
    usual = place in (group_of(word).partition("/")[0], f"detector.{group_of(word)}")
    if usual and OmegaConf.select(tree, place) is not None:
        return None
    top = place.partition(".")[0]
    if top in DETECTOR_KEYS and top not in tree:
        return needs_top_down(key, value, tree["method"])
    group = group_of(word)
    allowed = [group, f"{group}@detector.{group}"] if "@" in key else [group]
    return ConfigError(key, f"{value!r} cannot stand at {place!r}. Allowed: {', '.join(allowed)}.")


def _unknown(
    key: str, value: Any, known_groups: Sequence[str], overrides: Sequence[str]
) -> ConfigError | None:
    """An error if the tree that the group choices alone compose has no such key."""
    tree = _choices_alone(overrides, with_hydra=key.startswith("hydra"))
    return None if tree is None else missing_key(tree, key, value, known_groups)


def _choices_alone(overrides: Sequence[str], *, with_hydra: bool = False) -> DictConfig | None:
    """The tree that the group choices among `overrides` compose, None if they cannot."""
    from hydra import compose as hydra_compose
    from hydra.errors import HydraException

    known_groups = groups()
    hydras = ("hydra/", "hydra.searchpath")
    words = expand(overrides)
    choices = [w for w in words if group_of(w) in known_groups or group_of(w).startswith(hydras)]
    try:
        return hydra_compose(CONFIG_NAME, choices, return_hydra_config=with_hydra)
    except (HydraException, ValueError):
        return None


def already_there(tree: DictConfig, key: str, word: str) -> ConfigError | None:
    """An error if `word` adds a key, `+key=`, that the tree has."""
    if missing_key(tree, key, None):
        return None
    found = OmegaConf.select(tree, key, throw_on_resolution_failure=False)
    return ConfigError(key, f"it is there already, {found!r}. Write '{word.lstrip('+')}'.")


def not_to_delete(tree: DictConfig, key: str, value: Any) -> ConfigError | None:
    """An error if a tree has no such key, or `~key=value` names another value than it has."""
    problem = missing_key(tree, key, None)
    if problem is None and value is not None:
        found = OmegaConf.select(tree, key, throw_on_resolution_failure=False)
        if found != value:
            return ConfigError(key, f"it is {found!r} and not {value!r}. Write '~{key}'.")
    return problem


def missing_key(
    tree: DictConfig, key: str, value: Any, others: Sequence[str] = ()
) -> ConfigError | None:
    """An error that names the first part of `key` that the tree does not have, if there is one."""
    parts, path, node = key.split("."), "", tree
    if parts[0] in DETECTOR_KEYS and not tree.get(parts[0]):
        return needs_top_down(key, value, tree["method"])
    given = "" if value is None else f" (the value given was {value!r})"
    for part in parts:
        names = [str(name) for name in node] if OmegaConf.is_dict(node) else []
        if part not in names:
            candidates = [*names, *others] if not path else names
            allowed = f" {path} has {', '.join(names)}." if path and names else ""
            deeper = [join(join(path, name), part) for name in names if _holds(node, name, part)]
            hint = f" Did you mean {deeper[0]!r}?" if deeper else nearest(part, candidates)
            return ConfigError(key, f"there is no such key{given}.{allowed}{hint}")
        path = f"{path}.{part}" if path else part
        node = OmegaConf.select(tree, path)
    return None


def _holds(node: Any, name: str, part: str) -> bool:
    """Whether the mapping at `name` in a node has the key `part`."""
    inner = OmegaConf.select(node, name, throw_on_resolution_failure=False)
    return OmegaConf.is_dict(inner) and part in inner
