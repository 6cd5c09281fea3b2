"""Every key with its type, unit, default and meaning: of the schema, the options and the classes.

What the editor's JSON schema, the reference page and `dlcexp explain` are made of.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dlcexp.config.augmentation_keys import AUGMENTATIONS
from dlcexp.config.build import find_class
from dlcexp.config.options import Option
from dlcexp.config.schema import TREE, declaration
from dlcexp.config.signatures import Argument, arguments, json_type, type_text
from dlcexp.config.torch_arguments import MEANINGS
from dlcexp.config.value_types import PLAIN, Fields, Key
from dlcexp.trees import join, select

NO_DEFAULT = inspect.Parameter.empty

# Arguments of schedules that the training loop gives.
_GIVEN = ("optimizer", "last_epoch")


@dataclass(frozen=True)
class Description:
    """One key.

    Attributes:
        key: dotted path; `[]` is each member of a list.
        text: its type, for a reader.
        json: its type, as a JSON schema.
        default: the value in `conf/`, else that of the class; `NO_DEFAULT` without one.
        meaning: what the value does.
        unit: of a number of the tree; classes give theirs in the meaning.
    """

    key: str
    text: str
    json: Mapping[str, Any]
    default: Any
    meaning: str
    unit: str = ""


def tree_keys(defaults: Any) -> Iterator[Description]:
    """Yield the keys of the tree, depth first.

    Args:
        defaults: the mapping of a composed tree, unresolved: values as they are in `conf/`.
    """
    return _declared(TREE, defaults, "")


def augmentation_keys() -> Iterator[Description]:
    """Yield the augmentations and their settings."""
    return _declared(AUGMENTATIONS, {}, "")


def _declared(fields: Fields, defaults: Any, path: str) -> Iterator[Description]:
    for name, key in fields.keys.items():
        full = join(path, name)
        value = defaults.get(name, NO_DEFAULT) if isinstance(defaults, Mapping) else NO_DEFAULT
        yield _of_key(full, key, NO_DEFAULT if isinstance(value, Mapping) and value else value)
        if key.fields is not None:
            yield from _declared(key.fields, value, full)


def _of_key(path: str, key: Key, default: Any) -> Description:
    kinds = ["keys below" if isinstance(each, Fields) else each.text for each in key.types]
    text = "; or ".join([*kinds, *(["null"] if key.optional else [])])
    unit = "" if key.unit == PLAIN else key.unit
    return Description(path, text, key.schema, default, key.meaning, unit)


def describe(path: str, tree: Any) -> Description | None:
    """Return the description of a key, whether or not the tree has it; None if it is unknown.

    Args:
        path: dotted path.
        tree: the plain mapping of a composed tree, unresolved, which names the class of a node.
    """
    if declared := declaration(path):
        return _of_key(path, declared, NO_DEFAULT)
    parent, _, name = path.rpartition(".")
    cls = class_around(parent, tree)
    argument = arguments(cls)[0].get(name) if cls else None
    if cls is None or argument is None:
        return None
    words, json = _type_of(name, NO_DEFAULT, argument)
    return Description(path, words, json, argument.default, argument_meanings(cls).get(name, ""))


def class_around(path: str, tree: Any) -> type | None:
    """Return the class whose arguments are the keys of a node; None if there is none."""
    node = select(tree, path) if path else tree
    if not isinstance(node, Mapping) or "_target_" in node:
        return _class_in(node or {})
    outer, _, name = path.rpartition(".")
    around = select(tree, outer) if outer else tree
    cls = _class_in(around) if isinstance(around, Mapping) else None
    argument = arguments(cls)[0].get(name) if cls else None
    return argument.keywords_of if argument else None


def option_keys(option: Option) -> Iterator[Description]:
    """Yield the keys that an option sets, in full, and those that its classes take in addition."""
    comments = {join(option.place, key): text for key, text in option.comments.items()}
    yield from _of_node(option.values, option.place, comments, _class_in(option.values))


def _of_node(
    node: Mapping[str, Any], path: str, comments: Mapping[str, str], cls: type | None
) -> Iterator[Description]:
    """Yield the keys of a node whose keys, if it has a class, are arguments of that."""
    taken = arguments(cls)[0] if cls else {}
    meanings = argument_meanings(cls) if cls else {}
    # Required arguments that the node lacks are given by whoever builds it.
    further = [name for name, each in taken.items() if not each.required and name not in _GIVEN]
    for name in dict.fromkeys([*map(str, node), *further]):
        key, argument = join(path, name), taken.get(name)
        value = node.get(name, argument.default if argument else NO_DEFAULT)
        if isinstance(value, Mapping) and value:
            inner = _class_in(value) or (argument.keywords_of if argument else None)
            yield from _of_node(value, key, comments, inner)
        elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            for item in value:
                yield from _of_node(item, f"{key}[]", comments, _class_in(item))
        elif declared := declaration(key):
            yield _of_key(key, declared, value)
        else:
            meaning = meanings.get(name) or comments.get(key.replace("[]", ""), "")
            yield Description(key, *_type_of(name, value, argument), value, meaning)


def _class_in(node: Mapping[str, Any]) -> type | None:
    return find_class(node["_target_"], "_target_") if "_target_" in node else None


def argument_meanings(cls: type) -> dict[str, str]:
    """Return the meanings of the arguments of a class, by name, from its docstring.

    What the docstring leaves to those of its base classes is taken from there.
    """
    meanings = dict(MEANINGS) if _is_torchs(cls) else {}
    for each in reversed(cls.__mro__):
        if each.__module__.startswith("dlcexp."):
            own = _documented(inspect.cleandoc(each.__doc__ or ""))
            meanings |= {name: text for name, text in own.items() if not text.startswith("see ")}
    return meanings


def _is_torchs(cls: type) -> bool:
    return any(each.__module__.startswith("torch.optim.") for each in cls.__mro__)


def _documented(docstring: str) -> dict[str, str]:
    """Return the `Args:` of a docstring, each on one line, in YAML's terms."""
    _, _, section = docstring.partition("Args:\n")
    section = re.split(r"\n(?=\S)", section, maxsplit=1)[0]
    found = re.findall(r"^    (\w[\w, ]*): (.*(?:\n {5,}.*)*)", section, flags=re.MULTILINE)
    return {
        name.strip(): re.sub(r"\bNone\b", "null", re.sub(r"\s+", " ", text))
        for names, text in found
        for name in names.split(",")
    }


def _type_of(name: str, value: Any, argument: Argument | None) -> tuple[str, dict[str, Any]]:
    """Return the type of an argument or a value, as text and as a JSON schema."""
    if name == "_target_":
        return "a class", {"type": "string"}
    if argument is not None and argument.annotation is not NO_DEFAULT:
        json = json_type(argument.annotation)
        if json and value is None:
            json = {"anyOf": [json, {"type": "null"}]}
        return type_text(argument.annotation), json
    if isinstance(value, bool):
        return "true or false", {"type": "boolean"}
    if isinstance(value, int | float):
        return "a number", {"type": "number"}
    return ("a list", {"type": "array"}) if isinstance(value, list) else ("", {})
