"""The tree as a JSON schema (draft 2020-12), by which editors complete and check overlays.

An overlay has only a part of the tree, and any value in it may be an interpolation. So nothing is
required, and each value may be a text with `${...}`.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from dlcexp.config.augmentation_keys import AUGMENTATIONS, SECTIONS
from dlcexp.config.build import arguments, find_class
from dlcexp.config.options import Option
from dlcexp.config.reference import NO_DEFAULT, Description, option_keys
from dlcexp.config.schema import TREE
from dlcexp.config.value_types import MAPPING, Fields
from dlcexp.trees import join

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_INTERPOLATION = {"type": "string", "pattern": r"\$\{|^\?\?\?$"}
_REFERENCE = {"$ref": "#/$defs/interpolation"}

# Nodes of augmentations: the entries of a menu may also be directly under these.
_MENUS = ("data", "data_detector")
# Short forms of a node.
_SHORT_FORMS = {"weights": {"type": "string"}}


def json_schema(options: Iterable[Option]) -> dict[str, Any]:
    """The schema of the tree with these options."""
    options = list(options)
    schema = _of_fields(TREE, "", _by_place(options))
    schema["properties"] |= {"defaults": _defaults_list(options), "hydra": {"type": "object"}}
    return {
        "$schema": DRAFT,
        "title": "dlcexp",
        "description": "An experiment of dlcexp, or an overlay that sets a part of it.",
        **schema,
        "$defs": {"interpolation": _INTERPOLATION, "menu": _menu()},
    }


def _by_place(options: Iterable[Option]) -> dict[str, list[Description]]:
    """Return the keys of all options, in full, by the top-level key they are below."""
    known: dict[str, list[Description]] = {}
    for option in options:
        if (option.is_overlay and option.group) or option.group.startswith("hydra"):
            continue
        for key in option_keys(option):
            top = key.key.partition(".")[0]
            known.setdefault(top, []).append(key)
            if option.group in ("optimizer", "scheduler"):  # they are also those of the detector
                of_detector = dataclasses.replace(key, key=f"detector.{key.key}")
                known.setdefault("detector", []).append(of_detector)
    return known


def _of_fields(fields: Fields, path: str, known: Mapping[str, list[Description]]) -> dict[str, Any]:
    properties = {}
    for name, key in fields.keys.items():
        full = join(path, name)
        others: list[dict[str, Any]] = [_SHORT_FORMS[full]] if full in _SHORT_FORMS else []
        if key.fields is not None:
            value = _of_fields(key.fields, full, known)
            others.append({"type": "null"})
        elif path in _MENUS and name in SECTIONS:
            value, others = {"$ref": "#/$defs/menu"}, [{"type": "null"}]
        elif key.type is MAPPING:
            value = _of_keys(known.get(full.partition(".")[0], []), full)
            others = [{"type": "null"}]
        else:
            value = _loosened(key.schema)
        properties[name] = _or_interpolation(value, *others) | {"description": key.meaning}
    return {"type": "object", "properties": properties, "additionalProperties": fields.open}


def _of_keys(keys: Iterable[Description], path: str) -> dict[str, Any]:
    """Return the object at a path: what any option has there; other classes may have other keys."""
    root: dict[str, Any] = {"type": "object"}
    for key in keys:
        if not key.key.startswith(f"{path}."):
            continue
        node = root
        *parents, name = key.key.removeprefix(f"{path}.").split(".")
        for parent in parents:
            node = _below(node, parent)
        _add(node.setdefault("properties", {}), name, key)
        if name == "_target_":
            _close(node, str(key.default))
    _name_keys(root)
    return root


def _name_keys(node: Any) -> None:
    """Put the keys that are possible into every node whose classes are known.

    A class that takes any object there is not an alternative to a node that an option defines.
    """
    if isinstance(node, dict):
        choices = node.get("anyOf", [])
        if {} in choices and any("properties" in each for each in choices):
            choices.remove({})
        if "if" in node:
            names = [*node["properties"], "_partial_", "recipe"]
            node["then"] = {"propertyNames": {"enum": list(dict.fromkeys(names))}}
        for child in node.values():
            _name_keys(child)
    elif isinstance(node, list):
        for child in node:
            _name_keys(child)


def _close(node: dict[str, Any], target: str) -> None:
    """Note the class: where a node is of one that is known, it has no other keys than these."""
    if arguments(find_class(target, "_target_"))[1]:
        return
    known = node.setdefault("if", {"properties": {"_target_": {"enum": []}}})
    if target not in known["properties"]["_target_"]["enum"]:
        known["properties"]["_target_"]["enum"].append(target)


def _below(node: dict[str, Any], name: str) -> dict[str, Any]:
    """The object schema of a key, made where there is none yet; `name[]`: of each list member."""
    slot = node.setdefault("properties", {}).setdefault(name.removesuffix("[]"), {"anyOf": []})
    wanted = "array" if name.endswith("[]") else "object"
    found = next((each for each in slot["anyOf"] if each.get("type") == wanted), None)
    if found is None:
        found = {"type": wanted}
        slot["anyOf"] += [found] if _REFERENCE in slot["anyOf"] else [found, _REFERENCE]
    if wanted == "array":
        return dict.setdefault(found, "items", {"type": "object"})
    return found


def _add(properties: dict[str, Any], name: str, key: Description) -> None:
    """Add the key of an option to what other options have for it."""
    slot = properties.setdefault(name, {"anyOf": []})
    loosened = _loosened(key.json)
    for each in loosened.get("anyOf", [loosened]):
        if each not in slot["anyOf"]:
            slot["anyOf"].append(each)
    if key.default is None and {"type": "null"} not in slot["anyOf"]:
        slot["anyOf"].append({"type": "null"})
    if _REFERENCE not in slot["anyOf"]:
        slot["anyOf"].append(_REFERENCE)
    if key.meaning:
        slot.setdefault("description", key.meaning)
    if key.default is not NO_DEFAULT and name != "_target_" and _is_plain(key.default):
        slot.setdefault("examples", [])
        if key.default not in slot["examples"]:
            slot["examples"].append(key.default)


def _loosened(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with an interpolation allowed for each member of a list or mapping."""

    def member(inner: Any) -> Any:
        return _or_interpolation(_loosened(inner)) if isinstance(inner, dict) else inner

    loosened = dict(schema)
    if "anyOf" in schema:
        loosened["anyOf"] = [_loosened(each) for each in schema["anyOf"]]
    if "items" in schema:
        loosened["items"] = member(schema["items"])
    if "prefixItems" in schema:
        loosened["prefixItems"] = [member(each) for each in schema["prefixItems"]]
    if "properties" in schema:
        loosened["properties"] = {name: member(each) for name, each in schema["properties"].items()}
    return loosened


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float | bool) and "${" not in str(value)


def _menu() -> dict[str, Any]:
    """Return the object of a menu of augmentations; null and false switch each of them off."""
    own = {"type": "object", "required": ["_target_"]}
    off = {"enum": [None, False]}
    return {
        "type": "object",
        "properties": {
            name: _or_interpolation(_loosened(key.schema), off) | {"description": key.meaning}
            for name, key in AUGMENTATIONS.keys.items()
        },
        "additionalProperties": {"anyOf": [own, off]},
    }


def _or_interpolation(value: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    if not value:
        return {}
    choices = value.pop("anyOf") if "anyOf" in value else [value]
    return {"anyOf": [*choices, *others, _REFERENCE]}


def _defaults_list(options: Iterable[Option]) -> dict[str, Any]:
    """The choices of an overlay: `override /optimizer: sgd`."""
    known: dict[str, list[str]] = {}
    for option in options:
        if option.group:
            known.setdefault(option.group, []).append(option.name)
    choices: dict[str, Any] = {}
    for group, names in known.items():
        several = group in ("logger", "callbacks", "model/heads")
        allowed: dict[str, Any] = {"enum": [*names, None]}
        # Options of the user's own are as good as those that come with dlcexp.
        value = {"anyOf": [allowed, {"type": "string"}]}
        if several:
            value["anyOf"].append({"type": "array", "items": {"type": "string"}})
        choices |= {f"override /{group}": value, f"/{group}": value}
    return {
        "type": "array",
        "items": {"anyOf": [{"type": "string"}, {"type": "object", "properties": choices}]},
    }
