"""Types of the values of the tree, and keys with their meaning and unit.

A type states what it accepts, as text and as a JSON schema. Imports nothing heavy, because it runs
each time a tree is composed.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from typing import Any

from dlcexp.config.synonyms import synonym
from dlcexp.errors import ConfigError, UserError, nearest, together
from dlcexp.trees import join

# In place of the value that a tree without the key has: every tree must have it.
REQUIRED = object()
# Of a key that a tree has only where it was given: `conf/` has no default of it.
OMITTED = object()


# The unit of numbers that have none.
PLAIN = "1"


@dataclass(frozen=True)
class Type:
    """One kind of value.

    Attributes:
        text: what is allowed, for messages and tables.
        accepts: True for a value of this type.
        schema: the same as a JSON schema.
        convert: turns a value that means one of this type, as the text "5" means 5, into it, and
            returns any other unchanged.
        choices: the names allowed, where there are only some.
        is_path: True if a text of this type is a path.
    """

    text: str
    accepts: Callable[[Any], bool]
    schema: Mapping[str, Any] = field(default_factory=dict)
    convert: Callable[[Any], Any] = lambda value: value
    choices: tuple[str, ...] = ()
    is_path: bool = False


@dataclass(frozen=True)
class Key:
    """The declaration of one key. Its default is in `conf/`.

    Attributes:
        type: what the value may be; several types are alternatives.
        meaning: what the value does, as a short phrase.
        unit: of a number, such as px or epochs; `PLAIN` of a number without one.
        optional: True if the value may be null, which is also what a tree without the key has.
        absent: what a tree without the key has otherwise, as trees from before there was the key.
    """

    type: "Type | Fields | tuple[Type | Fields, ...]"
    meaning: str
    unit: str = ""
    optional: bool = False
    absent: Any = REQUIRED

    @property
    def needed(self) -> bool:
        """True if there must be a value."""
        return not self.optional and self.absent is REQUIRED

    @property
    def types(self) -> "tuple[Type | Fields, ...]":
        return self.type if isinstance(self.type, tuple) else (self.type,)

    @property
    def text(self) -> str:
        """Return what is allowed, as a part of a sentence."""
        text = "; or ".join(each.text for each in self.types)
        return f"{text}, or null" if self.optional else text

    @property
    def about(self) -> str:
        """Return the meaning, with the unit unless the meaning names it."""
        has_unit = self.unit in ("", PLAIN) or self.unit in self.meaning
        return self.meaning if has_unit else f"{self.meaning}, {self.unit}"

    @property
    def fields(self) -> "Fields | None":
        """The keys below this one, if it may be a mapping of known ones."""
        return next((each for each in self.types if isinstance(each, Fields)), None)

    @property
    def _leaves(self) -> tuple[Type, ...]:
        return tuple(each for each in self.types if isinstance(each, Type))

    @property
    def schema(self) -> dict[str, Any]:
        """Return what is allowed, as a JSON schema."""
        schemas = [dict(each.schema) for each in self.types]
        if self.optional and all(schemas):
            schemas.append({"type": "null"})
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def required(self) -> "Key":
        """Return the same key for a place where the value may not be null."""
        return replace(self, optional=False)

    def read(self, value: Any, path: str, *, convert: bool = False) -> Any:
        """Return the value of the key at `path`, if asked for converted to its only type."""
        if value is None and self.optional:
            return None
        if self.fields is not None and isinstance(value, Mapping):
            return self.fields.read(value, path, convert=convert)
        if convert and len(self.types) == len(self._leaves) == 1:
            value = self._leaves[0].convert(value)
        if not any(each.accepts(value) for each in self._leaves):
            raise ConfigError(path, self._problem(value, path))
        return value

    def _problem(self, value: Any, path: str) -> str:
        choices = [name for each in self._leaves for name in each.choices]
        hint = nearest(str(value), choices)
        if choices and len(self.types) == 1:
            return f"{value!r} is not one of {', '.join(choices)}.{hint}"
        is_list = self._leaves and all(each.schema.get("type") == "array" for each in self._leaves)
        if is_list and isinstance(value, str | int):
            return f"{value!r} is not a list; write '{path}=[{value}]'."
        return f"{value!r} is not allowed. Allowed: {self.text} ({self.about}).{hint}"


@dataclass(frozen=True)
class Fields:
    """A mapping with known keys.

    Attributes:
        keys: their declarations.
        fills: True for a node of the tree, in which every key is there after reading, each value
            converted to its type. Other mappings stay as they are given.
        open: True if it may have further keys.
    """

    keys: Mapping[str, Key]
    fills: bool = False
    open: bool = False

    @property
    def text(self) -> str:
        return f"a mapping with {', '.join(self.keys)}"

    @property
    def schema(self) -> dict[str, Any]:
        properties = {
            name: {**key.schema, "description": key.meaning} for name, key in self.keys.items()
        }
        return {"type": "object", "properties": properties, "additionalProperties": self.open}

    def __getitem__(self, name: str) -> Key:
        return self.keys[name]

    def __contains__(self, name: object) -> bool:
        return name in self.keys

    def read(self, value: Mapping[str, Any], path: str, *, convert: bool = False) -> Any:
        """Return the mapping at `path`; where it fills and is asked to convert, a new one."""
        fills = convert and self.fills
        filled: dict[str, Any] = {}
        errors: list[UserError] = [] if self.open else [*self._unknown(value, path)]
        for name, key in self.keys.items():
            full = join(path, name)
            if name not in value and key.needed:
                errors.append(ConfigError(full, "must be given; it has no default."))
            elif name in value or (fills and key.absent is not OMITTED):
                absent = None if key.optional else copy(key.absent)
                try:
                    filled[name] = key.read(value.get(name, absent), full, convert=fills)
                except UserError as error:
                    errors.append(error)
        if errors:
            raise together(errors)
        return filled if fills else value

    def _unknown(self, value: Mapping[str, Any], path: str) -> Iterator[ConfigError]:
        for name, item in value.items():
            if name not in self.keys:
                hint = nearest(str(name), self.keys) or synonym(str(name))
                allowed = f"Allowed: {', '.join(self.keys)}.{hint}"
                yield ConfigError(
                    join(path, name), f"there is no such key (its value was {item!r}). {allowed}"
                )


def fields(**keys: Key) -> Fields:
    """Return a mapping of known keys, which stays as it is given."""
    return Fields(keys)


def node(**keys: Key) -> Fields:
    """Return a node of the tree: what it lacks is filled in, and values are converted."""
    return Fields(keys, fills=True)


def open_fields(**keys: Key) -> Fields:
    """Return a mapping that may have further keys, unchecked."""
    return Fields(keys, open=True)


def is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def whole(low: float = -inf, text: str = "", high: float = inf) -> Type:
    """Return the type of whole numbers from `low` to `high`, both included."""
    limits = {"minimum": low, "maximum": high}
    schema = {"type": "integer"} | {name: end for name, end in limits.items() if isfinite(end)}
    limit = f" from {low:g} {f'to {high}' if isfinite(high) else 'up'}" if isfinite(low) else ""
    return Type(
        text or f"a whole number{limit}",
        lambda value: _is_number(value) and value == int(value) and low <= value <= high,
        schema,
        _to_whole,
    )


def number(low: float = -inf, high: float = inf, text: str = "") -> Type:
    """Return the type of finite numbers from `low` to `high`, both included."""
    limits = {"minimum": low, "maximum": high}
    schema = {"type": "number"} | {name: end for name, end in limits.items() if isfinite(end)}
    span = f" from {low:g} to {high:g}" if isfinite(high) else f" from {low:g} up"
    return Type(
        text or f"a number{span if isfinite(low) else ''}",
        lambda value: _is_number(value) and low <= value <= high,
        schema,
        _to_number,
    )


def one_of(*names: str) -> Type:
    """Return the type of these names."""
    text = f"one of {', '.join(names)}"
    return Type(text, lambda value: value in names, {"enum": list(names)}, _to_text, names)


def matching(pattern: str, text: str) -> Type:
    """Return the type of texts that a regular expression matches as a whole."""
    return Type(
        text,
        lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None,
        {"type": "string", "pattern": f"^(?:{pattern})$"},
        _to_text,
    )


def pair(item: Type) -> Type:
    """Return the type of two values [min, max] in this order, each of the type `item`."""

    def accepts(value: Any) -> bool:
        return (
            is_sequence(value)
            and len(value) == 2
            and all(map(item.accepts, value))
            and value[0] <= value[1]
        )

    schema = {"type": "array", "items": dict(item.schema), "minItems": 2, "maxItems": 2}
    return Type(f"[min, max], each {item.text}", accepts, schema)


def list_of(*items: Type, least: int = 0) -> Type:
    """Return the type of lists of `least` members or more, all of one of the types `items`."""

    def accepts(value: Any) -> bool:
        return (
            is_sequence(value)
            and len(value) >= least
            and any(all(map(item.accepts, value)) for item in items)
        )

    def convert(value: Any) -> Any:
        return list(map(items[0].convert, value)) if is_sequence(value) else value

    text = "a list, each member " + ", or each ".join(item.text for item in items)
    each = {"anyOf": [dict(item.schema) for item in items]} if len(items) > 1 else items[0].schema
    schema = {"type": "array", "items": each} | ({"minItems": least} if least else {})
    return Type(text, accepts, schema, convert)


# Conversions are those of OmegaConf, which made the trees of earlier runs.


def _to_whole(value: Any) -> Any:
    is_whole = type(value) is float and value.is_integer()
    try:
        return int(value) if is_whole or type(value) is str else value
    except ValueError:
        return value


def _to_number(value: Any) -> Any:
    try:
        return float(value) if type(value) in (str, int) else value
    except ValueError:
        return value


def _to_text(value: Any) -> Any:
    return str(value) if isinstance(value, bool | int | float) else value


def _to_switch(value: Any) -> Any:
    value = _to_whole(value)
    if isinstance(value, str):
        return _SWITCHES.get(value.lower(), value)
    return value != 0 if isinstance(value, int) else value


_SWITCHES = dict.fromkeys(("yes", "y", "on", "true"), True)
_SWITCHES |= dict.fromkeys(("no", "n", "off", "false"), False)

SWITCH = Type(
    "true or false", lambda value: isinstance(value, bool), {"type": "boolean"}, _to_switch
)
TEXT = Type("a text", lambda value: isinstance(value, str), {"type": "string"}, _to_text)
PATH = replace(TEXT, text="a path", is_path=True)
MAPPING = Type("a mapping", lambda value: isinstance(value, Mapping), {"type": "object"})
PROBABILITY = number(0, 1, "a probability from 0 to 1")
PIXELS = whole(1)
POSITIVE = Type(
    "a number above 0",
    lambda value: _is_number(value) and value > 0,
    {"type": "number", "exclusiveMinimum": 0},
)
SHARE = Type(
    "a number above 0, at most 1",
    lambda value: _is_number(value) and 0 < value <= 1,
    {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
)
