"""What a value of a menu may be: small rules, each with the words that say so."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any

from dlcexp.errors import ConfigError, nearest


@dataclass(frozen=True)
class Rule:
    """One kind of value that a key accepts, and how to say so: in words, and as a JSON schema."""

    text: str
    accepts: Callable[[Any], bool]
    schema: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fields:
    """A mapping whose keys are known; a key's value must meet one of the rules of that key."""

    required: Mapping[str, "Rules"] = field(default_factory=dict)
    optional: Mapping[str, "Rules"] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "a mapping with " + ", ".join([*self.required, *self.optional])

    def check(self, value: Mapping[str, Any], key: str) -> None:
        """Raise `ConfigError` for an unknown, missing or wrong key of `value`, found at `key`."""
        known = {**self.required, **self.optional}
        for name, item in value.items():
            if name not in known:
                allowed = f"Allowed: {', '.join(known)}.{nearest(str(name), known)}"
                raise ConfigError(f"{key}.{name}", f"unknown key with value {item!r}. {allowed}")
            check_value(item, f"{key}.{name}", known[name])
        for name in self.required:
            if value.get(name) is None:
                needed = ", ".join(self.required)
                raise ConfigError(f"{key}.{name}", f"missing; {key} needs {needed}.")


Rules = tuple[Rule | Fields, ...]


def check_value(value: Any, key: str, rules: Rules) -> None:
    """Raise `ConfigError` unless `value` is null or meets one of `rules`."""
    if value is None:
        return
    for rule in rules:
        if isinstance(rule, Fields) and isinstance(value, Mapping):
            return rule.check(value, key)
        if isinstance(rule, Rule) and rule.accepts(value):
            return
    allowed = "; or ".join(rule.text for rule in rules)
    raise ConfigError(key, f"{value!r} is not allowed. Allowed: {allowed}.")


def is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def number(text: str, low: float = -inf, high: float = inf) -> Rule:
    """A finite number from `low` to `high`, both included."""
    limits = {"minimum": low, "maximum": high}
    schema = {"type": "number"} | {name: end for name, end in limits.items() if isfinite(end)}
    return Rule(text, lambda value: _is_number(value) and low <= value <= high, schema)


def integer(text: str, low: float = -inf) -> Rule:
    """A whole number from `low` up."""
    schema = {"type": "integer"} | ({"minimum": low} if isfinite(low) else {})
    return Rule(
        text, lambda value: _is_number(value) and value == int(value) and value >= low, schema
    )


def pair(item: Rule) -> Rule:
    """Two values [min, max] in this order, each accepted by `item`."""

    def accepts(value: Any) -> bool:
        return (
            is_sequence(value)
            and len(value) == 2
            and all(map(item.accepts, value))
            and value[0] <= value[1]
        )

    schema = {"type": "array", "items": dict(item.schema), "minItems": 2, "maxItems": 2}
    return Rule(f"[min, max], each {item.text}", accepts, schema)


def list_of(*items: Rule) -> Rule:
    """A list that is not empty and whose members are all accepted by one of `items`."""

    def accepts(value: Any) -> bool:
        return (
            is_sequence(value)
            and len(value) > 0
            and any(all(map(item.accepts, value)) for item in items)
        )

    schema = {"type": "array", "minItems": 1, "items": {"anyOf": [dict(i.schema) for i in items]}}
    return Rule("a list, each member " + " (or each ".join(i.text for i in items), accepts, schema)


def choice(names: Sequence[str]) -> Rule:
    """One of `names`."""
    text = "one of " + ", ".join(names)
    return Rule(text, lambda value: value in names, {"enum": list(names)})


SWITCH = Rule("true or false", lambda value: isinstance(value, bool), {"type": "boolean"})
PROBABILITY = number("a probability from 0 to 1", 0, 1)
PIXELS = integer("a whole number of pixels from 1 up", 1)
POSITIVE = Rule(
    "a number above 0",
    lambda value: _is_number(value) and value > 0,
    {"type": "number", "exclusiveMinimum": 0},
)
