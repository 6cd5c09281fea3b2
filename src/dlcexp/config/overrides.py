"""Changes of a composed tree as words of the command line, and their effect on the tree."""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf, open_dict

from dlcexp.errors import ConfigError

# What Hydra's grammar takes as text without quotes, and words that it takes as something else.
_BARE = re.compile(r"[A-Za-z_/][\w/.\-]*", re.ASCII)
_RESERVED = re.compile(r"null|true|false|inf|nan|[-+]?\.?\d.*", re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z_][\w\-]*|\d+", re.ASCII)


@dataclass(frozen=True)
class Change:
    """One override of a key.

    Attributes:
        path: full dotted path in the tree.
        value: a plain value; not used by "delete".
        kind: "set" a key that exists, "add" one that does not, "delete" one.
    """

    path: str
    value: Any = None
    kind: Literal["set", "add", "delete"] = "set"

    def word(self) -> str:
        """The override as Hydra reads it."""
        if self.kind == "delete":
            return f"~{self.path}"
        return f"{'+' if self.kind == 'add' else ''}{self.path}={literal(self.value)}"

    def apply(self, tree: DictConfig) -> None:
        """Do to the tree, resolved or not, what Hydra does when it reads the word."""
        parent, _, name = self.path.rpartition(".")
        node = OmegaConf.select(tree, parent) if parent else tree
        with open_dict(tree):
            if self.kind == "delete":
                del node[name]
            else:
                OmegaConf.update(tree, self.path, self.value, merge=True, force_add=True)


def literal(value: Any) -> str:
    """A plain value in Hydra's grammar of overrides.

    Raises:
        ConfigError: a mapping has a key that the grammar cannot name.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        for name in value:
            if not _KEY.fullmatch(str(name)) or _RESERVED.fullmatch(str(name)):
                raise ConfigError("", f"{str(name)!r} cannot be the name of a key.")
        return "{" + ",".join(f"{name}:{literal(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(literal, value)) + "]"
    text = str(value)
    if _BARE.fullmatch(text) and not _RESERVED.fullmatch(text):
        return text
    # A backslash means itself, except before a quote.
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + m[2].replace("'", "\\'"), text) + "'"


def shortened(value: Any) -> str:
    """A value in at most 60 characters, for messages."""
    text = repr(value) if isinstance(value, Mapping | list) else literal(value)
    return text if len(text) <= 60 else text[:57] + "..."


def sayable(path: str) -> bool:
    """Whether Hydra's grammar can name this key."""
    return all(_KEY.fullmatch(part) for part in path.split("."))


def command_line(words: Iterable[str], program: str = "dlcexp", width: int = 96) -> str:
    """A command that a POSIX shell takes; over several lines where one would be too long."""
    quoted = [shlex.quote(word) for word in words]
    line = " ".join([program, *quoted])
    return line if len(line) <= width else " \\\n  ".join([program, *quoted])


def group_of(word: str) -> str:
    """The group of an override such as `optimizer@detector.optimizer=sgd`."""
    return key_of(word).partition("@")[0]


def key_of(word: str) -> str:
    """What an override is about, whether it sets (`key=`), adds (`+`, `++`) or deletes (`~`)."""
    return word.partition("=")[0].lstrip("+~")


def place_of(word: str) -> str:
    """The node that a group choice fills: the package after `@`, or that of the outermost group."""
    group, _, package = key_of(word).partition("@")
    return package or group.partition("/")[0]


def quoted(value: Any) -> str:
    """A value as Hydra's overrides take it, whatever characters it has."""
    escaped = str(value).replace("\\", "/").replace("'", "\\'")
    return str(value) if isinstance(value, int) else f"'{escaped}'"


def unreadable(word: str) -> ConfigError:
    key, _, value = word.partition("=")
    plain = key and value and not set(value) & set("'\"[]{}()")
    quotes = f" A value that is to be taken as it is stands in quotes: \"{key}='{value}'\"."
    return ConfigError(
        "",
        f"cannot read the override {word!r}; the form is key=value.{quotes if plain else ''}",
        override=word,
    )


def one_at_a_time(columns: Iterable[list[str]]) -> list[list[str]]:
    """Rows with a value of each column: one of all first values, one more for each other value."""
    columns = list(columns)
    first = [column[0] for column in columns]
    rows = [first]
    for place, column in enumerate(columns):
        rows += [[*first[:place], value, *first[place + 1 :]] for value in column[1:]]
    return rows


def values_of(word: str) -> list[str]:
    """An override for each value of a sweep; the word itself if it is none."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import IntervalSweep
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(word)
        if not override.is_sweep_override():
            return [word]
        name, value = word.partition("=")[0], override.value()
        if isinstance(value, IntervalSweep):
            return [f"{name}={_number(end, override)}" for end in (value.start, value.end)]
        return [f"{name}={each}" for each in override.sweep_string_iterator()] or [word]
    except (HydraException, NotImplementedError, TypeError, ValueError):
        return [word]  # said when the whole is composed


def _number(end: Any, override: Any) -> Any:
    """The end of an interval, whole where the sweep is: `int(interval(1, 8))`."""
    if end is None:
        raise ConfigError(override.key_or_group, "an interval needs both ends.")
    whole = "int(" in str(override.input_line).replace(" ", "")
    return int(end) if whole else end
