"""Errors of Hydra and OmegaConf as messages that one can act on."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from dlcexp.config.model_checks import DETECTOR_KEYS, needs_top_down
from dlcexp.config.options import CONFIG_NAME, OVERLAYS, groups, wrong_option
from dlcexp.config.overrides import Override
from dlcexp.config.rewrite import expand, weights_in_full
from dlcexp.config.schema import PASSED_ON
from dlcexp.config.synonyms import synonym
from dlcexp.errors import ConfigError, ProjectError, UserError, nearest, together
from dlcexp.text import first_line
from dlcexp.trees import join, nodes


def readable(error: BaseException, tree: DictConfig | None = None) -> UserError:
    """A message of ours for an error while the tree is resolved."""
    # OmegaConf cuts the chain of causes; the message still names the class of the first.
    first = first_line(error)
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
    """Return the problem of the value at `key`, an interpolation that cannot be resolved."""
    if tree is None or not key:
        return problem
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(tree, parent, throw_on_resolution_failure=False) if parent else tree
    raw = OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else {}
    value = raw.get(name) if isinstance(raw, dict) else None
    missing = re.fullmatch(r"Interpolation key '(.+)' not found", problem)
    if missing is None:
        return f"{value!r}: {problem}." if value is not None else problem
    paths = (path for path, _ in nodes(OmegaConf.to_container(tree, resolve=False)))
    hint = nearest(missing[1], paths)
    return f"{value!r} leads to nothing: there is no key {missing[1]!r}.{hint}"


def diagnose(
    overrides: Sequence[Override], error: BaseException, config_dir: Path | None = None
) -> UserError:
    """Return what is wrong with each override that Hydra may have stumbled over."""
    if isinstance(error, UserError):
        return error
    problems = (_problem(each, overrides, config_dir) for each in map(weights_in_full, overrides))
    found = [problem for problem in problems if problem]
    return together(found) if found else ConfigError("", str(error))


def _problem(
    override: Override, overrides: Sequence[Override], config_dir: Path | None
) -> ConfigError | None:
    """Return what is wrong with one of the overrides; None if it is not the one to blame."""
    key, value = override.key, override.value
    if config_dir and Path(config_dir, key, f"{value}.yaml").is_file():
        return None  # an option of the user's own
    if key in groups():
        problem = wrong_option(override, config_dir)
        return problem or (None if key in OVERLAYS else _wrong_place(override, overrides))
    if key.startswith("hydra/") or override.prefix == "++":
        return None
    tree = _choices_alone(overrides, with_hydra=override.is_hydras)
    return None if tree is None else unfit(tree, override)


def _wrong_place(override: Override, overrides: Sequence[Override]) -> ConfigError | None:
    """An error if a group choice fills a node that the tree of the other choices does not have."""
    name, group, place = override.name, override.key, override.place
    others = [o for o in overrides if o != override and not o.place.startswith(DETECTOR_KEYS)]
    tree = _choices_alone(others)
    if tree is None:
        return None
    usual = place in (group.partition("/")[0], f"detector.{group}")
    if usual and OmegaConf.select(tree, place) is not None:
        return None
    top = place.partition(".")[0]
    if top in DETECTOR_KEYS and top not in tree:
        return needs_top_down(name, override.value, tree["method"])
    allowed = [group, f"{group}@detector.{group}"] if override.package is not None else [group]
    return ConfigError(
        name, f"{override.value!r} cannot be at {place!r}. Allowed: {', '.join(allowed)}."
    )


def _choices_alone(overrides: Sequence[Override], *, with_hydra: bool = False) -> DictConfig | None:
    """The tree that the group choices among `overrides` compose, None if they cannot."""
    from hydra import compose as hydra_compose
    from hydra.errors import HydraException

    hydras = ("hydra/", "hydra.searchpath")
    choices = [
        override.text
        for override in expand(overrides)
        if override.key in groups() or override.key.startswith(hydras)
    ]
    try:
        return hydra_compose(CONFIG_NAME, choices, return_hydra_config=with_hydra)
    except (HydraException, ValueError):
        return None


def unfit(tree: DictConfig, override: Override) -> ConfigError | None:
    """An error if a key is to be added that is there, or changed or deleted and is not."""
    key, value, prefix = override.key, override.value, override.prefix
    missing = missing_key(tree, key, None if prefix else value, groups())
    if override.package is not None:
        return missing or ConfigError(key, f"'{override}' names a package of what is not a group.")
    if prefix == "++":
        return None
    if prefix == "+" and (missing or isinstance(value, dict | list)):
        return None
    found = OmegaConf.select(tree, key, throw_on_resolution_failure=False)
    if prefix == "+":
        if found is None:  # Hydra adds to a null
            return None
        change = replace(override, prefix="", text="")
        return ConfigError(key, f"it is there already, {found!r}. Write '{change}'.")
    if prefix == "~" and not missing and value is not None and found != value:
        return ConfigError(key, f"it is {found!r} and not {value!r}. Write '~{key}'.")
    return missing


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
            closest = f" Did you mean {deeper[0]!r}?" if deeper else nearest(part, candidates)
            if path == "trainer":
                if part in PASSED_ON:
                    return ConfigError(key, f"has no default: write '+{key}={value}' to add it.")
                closest = nearest(part, [*names, *PASSED_ON])
            hint = (path in ("", "trainer") and synonym(part)) or closest
            return ConfigError(key, f"there is no such key{given}.{allowed}{hint}")
        path = join(path, part)
        node = OmegaConf.select(tree, path)
    return None


def _holds(node: Any, name: str, part: str) -> bool:
    """Return True if the mapping at `name` in a node has the key `part`."""
    inner = OmegaConf.select(node, name, throw_on_resolution_failure=False)
    return OmegaConf.is_dict(inner) and part in inner
