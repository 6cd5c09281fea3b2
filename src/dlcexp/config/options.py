"""The options of `conf/` as they are written: their values, and what their comments say of them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_COMMENT = re.compile(r"\s#\s*(.*)$")
_GLOBAL = "# @package _global_"


@dataclass(frozen=True)
class Option:
    """One file of `conf/`.

    Attributes:
        group: such as `model/backbone`; empty for the table of contents.
        name: of the file.
        meaning: its first comment.
        values: what it says, without its defaults list.
        comments: what stands beside a key, by its dotted path.
    """

    group: str
    name: str
    meaning: str
    values: dict[str, Any]
    comments: dict[str, str]

    @property
    def place(self) -> str:
        """Where the values stand in the tree; empty for the top."""
        return "" if self.is_overlay else self.group.replace("/", ".")

    @property
    def is_overlay(self) -> bool:
        return self.group in ("", "method", "experiment") or self.group.startswith("net_type")


def read_options(conf: Path) -> Iterator[Option]:
    """Every option of a folder, with what it takes from the shared files beside it."""
    for path in sorted(conf.rglob("[!_]*.yaml")):
        group = path.parent.relative_to(conf).as_posix()
        yield _read(path, "" if group == "." else group)


def _read(path: Path, group: str) -> Option:
    text = path.read_text(encoding="utf-8")
    values = yaml.safe_load(text) or {}
    lines = [line for line in text.splitlines() if line != _GLOBAL]
    first = lines[0].removeprefix("# ") if lines and lines[0].startswith("#") else ""
    comments = dict(_comments(yaml.compose(text), text.splitlines(), ""))
    for entry in values.pop("defaults", None) or []:
        if isinstance(entry, str) and entry != "_self_":
            shared = _read(path.with_name(f"{entry}.yaml"), group)
            values = _merged(shared.values, values)
            comments = shared.comments | comments
    return Option(group, path.stem, first, values, comments)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if both else value
    return merged


def _comments(node: Any, lines: list[str], path: str) -> Iterator[tuple[str, str]]:
    """The comment on the line of each key."""
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from _comments(child, lines, path)
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        full = f"{path}.{key.value}" if path else str(key.value)
        line = lines[key.start_mark.line]
        scalar = isinstance(value, yaml.ScalarNode) and value.end_mark.line == key.start_mark.line
        rest = line[value.end_mark.column :] if scalar else line[key.end_mark.column :]
        if found := _COMMENT.search(rest):
            yield full, found[1].strip()
        yield from _comments(value, lines, full)
