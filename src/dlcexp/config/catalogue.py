"""Every key of the tree with its type, default and meaning, from the schema and the options.

What the editor's JSON schema and the reference page are made of. Imports torch, for signatures.
"""

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dlcexp.config.augmentation_keys import AUGMENTATIONS
from dlcexp.config.build import find_class
from dlcexp.config.meanings import AUGMENTATION_MEANINGS, MEANINGS
from dlcexp.config.options import Option
from dlcexp.config.schema import Tree
from dlcexp.config.signatures import Argument, arguments, json_type, type_in_words
from dlcexp.config.value_rules import Fields, Rules

NO_DEFAULT = inspect.Parameter.empty

# Keys of a target that a training loop fills in.
_FILLED_IN = ("params", "optimizer", "last_epoch")


@dataclass(frozen=True)
class Entry:
    """One key.

    Attributes:
        key: dotted path; `[]` stands for each member of a list.
        words: its type, for a reader.
        json: its type, as a JSON schema.
        default: the value in `conf/`, else that of the class; `NO_DEFAULT` without one.
        meaning: with its unit.
    """

    key: str
    words: str
    json: dict[str, Any]
    default: Any
    meaning: str


def tree_entries(defaults: Any, schema: type = Tree, key: str = "") -> Iterator[Entry]:
    """The keys of the schema, depth first.

    Args:
        defaults: the mapping of a composed tree, unresolved: values as they stand in `conf/`.
        schema: the dataclass.
        key: where it stands.
    """
    for field in dataclasses.fields(schema):
        full = f"{key}.{field.name}" if key else field.name
        nested = nested_schema(field.type)
        given = defaults.get(field.name) if isinstance(defaults, Mapping) else None
        limits = field.metadata
        words = type_in_words(field.type) if nested is None else "keys below"
        if limits["choices"]:
            words = ", ".join(limits["choices"])
        elif limits["allowed"]:
            words = limits["allowed"]
        elif limits["minimum"] is not None:
            words += f", from {limits['minimum']} up"
        shown = NO_DEFAULT if isinstance(given, Mapping) and given else given
        yield Entry(full, words.replace("Any", "anything"), field_json(field), shown, limits["doc"])
        if nested is not None:
            yield from tree_entries(given or {}, nested, full)


def nested_schema(annotation: Any) -> type | None:
    """The dataclass in an annotation such as `Resize | None`."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if dataclasses.is_dataclass(candidate) and isinstance(candidate, type):
            return candidate
    return None


def field_json(field: "dataclasses.Field[Any]") -> dict[str, Any]:
    """The JSON schema of a field that is no node."""
    limits = field.metadata
    if limits["choices"]:
        return {"enum": list(limits["choices"])}
    found = json_type(field.type)
    if limits["pattern"]:
        found = found | {"pattern": f"^(?:{limits['pattern']})$"}
    if limits["minimum"] is not None:
        parts = found.get("anyOf", [found])
        numbers = [
            part | {"minimum": limits["minimum"]} if part.get("type") != "null" else part
            for part in parts
        ]
        found = {"anyOf": numbers} if "anyOf" in found else numbers[0]
    return found


def option_entries(option: Option) -> Iterator[Entry]:
    """The keys that an option sets, and those that its classes take besides."""
    yield from _node_entries(option.values, "", option.comments)


def _node_entries(
    node: Mapping[str, Any], path: str, comments: Mapping[str, str]
) -> Iterator[Entry]:
    taken, documented = _class_of(node)
    for name in dict.fromkeys([*node, *taken]):
        key = f"{path}.{name}" if path else str(name)
        argument = taken.get(str(name))
        if argument is not None and name not in node and name in _FILLED_IN:
            continue
        value = node.get(name, argument.default if argument else NO_DEFAULT)
        if isinstance(value, Mapping) and value:
            yield from _node_entries(value, key, comments)
        elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            for item in value:
                yield from _node_entries(item, f"{key}[]", comments)
        else:
            meaning = comments.get(key.replace("[]", "")) or documented.get(str(name))
            words, json = _type_of(name, value, argument)
            yield Entry(key, words, json, value, meaning or MEANINGS.get(str(name), ""))


def _class_of(node: Mapping[str, Any]) -> tuple[dict[str, Argument], dict[str, str]]:
    """The arguments of a node's class, and what its docstring says of them."""
    if "_target_" not in node:
        return {}, {}
    cls = find_class(node["_target_"], "_target_")
    own = cls.__module__.startswith("dlcexp.")
    return arguments(cls)[0], (_documented(inspect.getdoc(cls) or "") if own else {})


def _documented(docstring: str) -> dict[str, str]:
    """The `Args:` of a docstring, each on one line."""
    _, _, section = docstring.partition("Args:\n")
    section = re.split(r"\n(?=\S)", section, maxsplit=1)[0]
    told = re.findall(r"^    (\w[\w, ]*): (.*(?:\n {5,}.*)*)", section, flags=re.MULTILINE)
    return {
        name.strip(): re.sub(r"\s+", " ", text) for names, text in told for name in names.split(",")
    }


def _type_of(name: Any, value: Any, argument: Argument | None) -> tuple[str, dict[str, Any]]:
    if name == "_target_":
        return "a class", {"type": "string"}
    if argument is not None and argument.annotation is not NO_DEFAULT:
        json = json_type(argument.annotation)
        if json and value is None:
            json = {"anyOf": [json, {"type": "null"}]}
        return type_in_words(argument.annotation), json
    if isinstance(value, bool):
        return "true or false", {"type": "boolean"}
    if isinstance(value, int | float):
        return "a number", {"type": "number"}
    return ("a list", {"type": "array"}) if isinstance(value, list) else ("", {})


def menu_entries() -> Iterator[Entry]:
    """The augmentations and their settings, as keys of a menu."""
    for name, rules in AUGMENTATIONS.items():
        yield _menu_entry(name, rules)
        for rule in rules:
            if isinstance(rule, Fields):
                for inner, its in {**rule.required, **rule.optional}.items():
                    yield _menu_entry(f"{name}.{inner}", its)


def _menu_entry(key: str, rules: Rules) -> Entry:
    words = "; or ".join(rule.text for rule in rules)
    meaning = AUGMENTATION_MEANINGS.get(key) or MEANINGS.get(key.rpartition(".")[2], "")
    return Entry(key, words, rules_json(rules), NO_DEFAULT, meaning)


def rules_json(rules: Rules) -> dict[str, Any]:
    """The JSON schema of what any of the rules accepts; null and false are always allowed."""
    return {"anyOf": [*map(_rule_json, rules), {"enum": [None, False]}]}


def _rule_json(rule: Any) -> dict[str, Any]:
    if not isinstance(rule, Fields):
        return dict(rule.schema)
    fields = {**rule.required, **rule.optional}
    return {
        "type": "object",
        "properties": {name: rules_json(its) for name, its in fields.items()},
        "additionalProperties": False,
    }
