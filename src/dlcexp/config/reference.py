"""The reference page: every key of the tree, and every option with its keys, as Markdown."""

import json
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dlcexp.config.describe import (
    NO_DEFAULT,
    Description,
    augmentation_keys,
    option_keys,
    tree_keys,
)
from dlcexp.config.options import Option

_HEADER = """\
# Reference

A default in `${...}` follows another key. The arguments of optimizers and schedules are those of
torch {torch}.
"""

_AUGMENTATIONS = """\
## Augmentations

Keys of `data.train`, `data.inference`, `data_detector.train` and `data_detector.inference`. null
and false switch an augmentation off. Any other name is a transform given by its class,
`{_target_: albumentations.<Class>, ...}`.
"""

# Groups whose options set keys of the tree: their options are listed without keys.
_TREE_GROUPS = ("method", "net_type", "experiment", "data", "data_detector", "trainer", "hydra")
_STEERING = ("_target_", "_partial_")


def reference_page(defaults: DictConfig, options: Iterable[Option]) -> str:
    """Return the page.

    Args:
        defaults: a composed tree, unresolved, with a detector.
        options: of every group, and the table of contents.
    """
    header = _HEADER.replace("{torch}", version("torch"))
    values = OmegaConf.to_container(defaults, resolve=False)
    parts = [header, "## The tree\n", _table(tree_keys(values))]
    parts += [_AUGMENTATIONS, _table(augmentation_keys())]
    groups: dict[str, list[Option]] = {}
    for option in options:
        if option.group:
            groups.setdefault(option.group, []).append(option)
    for group, its in groups.items():
        parts += _group(group, its)
    return "\n".join(parts)


def _group(group: str, options: Iterable[Option]) -> Iterator[str]:
    yield f"## {group}=\n"
    if group.startswith(_TREE_GROUPS):
        yield "\n".join(f"- `{option.name}`: {option.meaning}" for option in options) + "\n"
        return
    for option in options:
        target = str(option.values.get("_target_", "")).rpartition(".")[2]
        title = f"### {group}={option.name}" + (f" ({target})" if target else "")
        yield f"{title}\n\n{option.meaning}\n"
        keys = [each for each in option_keys(option) if not each.key.endswith(_STEERING)]
        if keys:
            yield _table(keys)


def _table(keys: Iterable[Description]) -> str:
    """Return a table of keys; units have a column where a key has one."""
    keys = list(keys)
    units = any(key.unit for key in keys)
    rows = [_row("key", "type", *(["unit"] if units else []), "default", "meaning")]
    rows.append("| --- " * (rows[0].count("|") - 1) + "|")
    for key in keys:
        unit = [key.unit] if units else []
        name, meaning = f"`{key.key}`", key.meaning.removesuffix(".")
        rows.append(_row(name, key.text, *unit, _shown(key.default), meaning))
    return "\n".join(rows) + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _shown(default: Any) -> str:
    if default is NO_DEFAULT:
        return ""
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`"
