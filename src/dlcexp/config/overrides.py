"""Overrides: `key=value`, read by Hydra's own parser and written in its grammar."""

import math
import random
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from dlcexp.errors import ConfigError, together

if TYPE_CHECKING:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import RangeSweep
    from omegaconf import DictConfig

# Text that Hydra's grammar takes without quotes, and text that it takes as something else.
_BARE = re.compile(r"[A-Za-z_/][\w/.\-]*", re.ASCII)
_RESERVED = re.compile(r"null|true|false|inf|nan|[-+]?\.?\d.*", re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z_][\w\-]*|\d+", re.ASCII)

# The parts of an override as typed: prefix, key, package, value.
_FORM = re.compile(r"(~|\+{0,2})([^=@]*)(?:@([^=]*))?(?:=(.*))?", re.DOTALL)


@dataclass(frozen=True)
class Override:
    """One override, such as `batch_size=4`, `~data.collate` or `optimizer@detector.optimizer=sgd`.

    Attributes:
        key: dotted path of a key, or a group such as `model/backbone`.
        value: a plain value; one of Hydra's sweeps where there are several; None for `~key`.
        prefix: empty to change a key, "+" to add, "++" to change or add, "~" to delete one.
        package: where the option of a group goes, the part after `@`; None without one.
        text: as typed; written from the others unless given.
    """

    key: str
    value: Any = None
    prefix: str = ""
    package: str | None = None
    text: str = ""

    def __post_init__(self) -> None:
        if not self.text:
            value = "" if self.is_deletion and self.value is None else f"={literal(self.value)}"
            object.__setattr__(self, "text", f"{self.left_side}{value}")

    def __hash__(self) -> int:
        return hash(self.text)  # a value may be a list

    def __str__(self) -> str:
        return self.text

    @classmethod
    def parse(cls, text: str) -> "Override":
        """Read an override by Hydra's grammar, or raise a `ConfigError`."""
        return _parsed(text)

    @classmethod
    def with_text(cls, text: str) -> "Override":
        """Read `key=value` with a value that is text, whatever characters it has: `run=a/lr=0.1`.

        Quotes around the value are removed. Without `=` the value is None.
        """
        form = _FORM.fullmatch(text)
        prefix, key, package, value = form.groups() if form else ("", text, None, None)
        if value and value[0] in "'\"":
            with suppress(ConfigError):
                if isinstance((quoted := _parsed(text)).value, str):
                    return quoted
        return cls(key, value, prefix, package, text)

    @property
    def name(self) -> str:
        """The key, and the package if it has one: `optimizer@detector.optimizer`."""
        return self.key if self.package is None else f"{self.key}@{self.package}"

    @property
    def left_side(self) -> str:
        """Return the text before the `=`: prefix, key and package."""
        return f"{self.prefix}{self.name}"

    @property
    def place(self) -> str:
        """The node that a group's option fills: the package, or that of the outermost group."""
        return self.package or self.key.partition("/")[0]

    @property
    def value_text(self) -> str:
        """The value as typed; empty if there is none."""
        form = _FORM.fullmatch(self.text)
        return (form and form[4]) or ""

    @property
    def is_hydras(self) -> bool:
        """True if it is about the settings of Hydra itself: its sweeper, launcher, folders ..."""
        return self.key.startswith(("hydra.", "hydra/"))

    @property
    def is_deletion(self) -> bool:
        return self.prefix == "~"

    @property
    def is_sweep(self) -> bool:
        """True if it has several values: a list of choices, a range, an interval or a pattern."""
        return not isinstance(self.value, str | int | float | list | dict | None)

    def values(self) -> list[str]:
        """Return the values of a list of choices or a range, each as it is typed in an override."""
        from hydra.core.override_parser.types import ChoiceSweep, RangeSweep, Transformer

        if not self.is_sweep:
            return [self.value_text]
        if isinstance(self.value, ChoiceSweep):
            values = [Transformer.str(each) for each in self.value.list]
        elif isinstance(self.value, RangeSweep):
            values = _steps(self.value)
        else:
            raise ConfigError(self.name, f"{self.value_text!r} does not list its values.")
        return random.sample(values, len(values)) if self.value.shuffle else values

    def alternatives(self) -> "list[Override]":
        """Return an override for each value of a sweep, for the ends of an interval; or itself."""
        from hydra.core.override_parser.types import Glob, IntervalSweep

        if not self.is_sweep or isinstance(self.value, Glob):
            return [self]
        if isinstance(self.value, IntervalSweep):
            whole = "int" in self.value.tags
            ends: tuple[Any, Any] = (self.value.start, self.value.end)
            return [self.with_value(str(int(end) if whole else end)) for end in ends]
        return [self.with_value(value) for value in self.values()]

    def with_value(self, text: str) -> "Override":
        """Return the override of the same key with another value, as it is typed."""
        return self.parse(f"{self.left_side}={text}")

    def apply(self, tree: "DictConfig") -> None:
        """Do to a tree, resolved or not, what Hydra does when it reads the override of a key."""
        from omegaconf import OmegaConf, open_dict

        parent, _, name = self.key.rpartition(".")
        node = OmegaConf.select(tree, parent) if parent else tree
        with open_dict(tree):
            if self.is_deletion:
                del node[name]
            else:
                OmegaConf.update(tree, self.key, self.value, merge=True, force_add=True)


def parse_overrides(texts: Iterable[str]) -> list[Override]:
    """Return the overrides of a command line, or raise a `ConfigError` or `Mistakes`."""
    overrides, errors = [], []
    for text in texts:
        try:
            overrides.append(Override.parse(text))
        except ConfigError as error:
            errors.append(error)
    if errors:
        raise together(errors)
    return overrides


@lru_cache(maxsize=10_000)
def _parsed(text: str) -> Override:
    from hydra.core.override_parser.types import OverrideType
    from hydra.errors import HydraException

    prefixes = {OverrideType.ADD: "+", OverrideType.FORCE_ADD: "++", OverrideType.DEL: "~"}
    try:
        read = _parser().parse_override(text)
    except (HydraException, ValueError, RecursionError) as error:
        # The others: a number of thousands of digits, hundreds of brackets.
        raise _unreadable(text) from error
    if not read.key_or_group:
        raise _unreadable(text)
    prefix = prefixes.get(read.type, "")
    return Override(read.key_or_group, read.value(), prefix, read.package, text)


@cache
def _parser() -> "OverridesParser":
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create()


def _unreadable(text: str) -> ConfigError:
    name, _, value = text.partition("=")
    plain = name and value and not set(value) & set("'\"[]{}()")
    hint = f" Put a value with other characters in quotes: \"{name}='{value}'\"." if plain else ""
    shown = repr(text if len(text) <= 200 else f"{text[:200]}...")
    problem = f"cannot read the override {shown}; the form is key=value.{hint}"
    return ConfigError("", problem, override=text)


def _steps(sweep: "RangeSweep") -> list[str]:
    """The values of a range, in decimals: range(0.1,0.4,0.1) has 0.3, not 0.30000000000000004."""
    start, stop, step = (Decimal(str(each)) for each in (sweep.start, sweep.stop, sweep.step))
    count = math.ceil((stop - start) / step) if step else 0
    return [str(start + number * step) for number in range(count)]


def literal(value: Any) -> str:
    """Return a plain value as Hydra's grammar of overrides has it."""
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
    """Return a value in at most 60 characters, for messages."""
    text = repr(value) if isinstance(value, Mapping | list) else literal(value)
    return text if len(text) <= 60 else text[:57] + "..."


def can_name(path: str) -> bool:
    """Return True if Hydra's grammar has a way to write this dotted path."""
    return all(_KEY.fullmatch(part) for part in path.split("."))


def command_line(words: Iterable[object], program: str = "dlcexp", width: int = 96) -> str:
    """Return a command for a POSIX shell, on several lines where one would be too long."""
    quoted = [program, *(shlex.quote(str(word)) for word in words)]
    line = " ".join(quoted)
    return line if len(line) <= width else " \\\n  ".join(quoted)


def one_at_a_time(columns: Iterable[Sequence[Override]]) -> list[list[Override]]:
    """Return rows of an override of each column: all the first, then one row for each other."""
    columns = list(columns)
    first = [column[0] for column in columns]
    rows = [first]
    for place, column in enumerate(columns):
        rows += [[*first[:place], value, *first[place + 1 :]] for value in column[1:]]
    return rows
