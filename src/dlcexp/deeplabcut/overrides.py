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
