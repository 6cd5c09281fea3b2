"""The arguments of a class of the tree, their types, and the check of a value."""

import collections.abc
import functools
import inspect
import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from dlcexp.errors import nearest

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    type(None): "null",
}
_SEQUENCES = (list, collections.abc.Sequence, collections.abc.Iterable)
_MAPPINGS = (dict, collections.abc.Mapping)


@dataclass(frozen=True)
class Argument:
    """One keyword of a class.

    Attributes:
        name: the keyword.
        annotation: its type; `inspect.Parameter.empty` where the class has none.
        default: its default; `inspect.Parameter.empty` where it must be given.
        keywords_of: the class whose keywords a mapping holds, where the annotation names one, as
            `Annotated[Mapping[str, Any], DeconvModule]` does.
    """

    name: str
    annotation: Any
    default: Any
    keywords_of: type | None = None

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty

    def problem(self, value: Any) -> str | None:
        """Return why a plain value does not fit this argument; None if it does.

        Nodes with a `_target_` become objects later, and are taken as they are.
        """
        adapter = _adapter(self.annotation) if not _has_target(value) else None
        if adapter is None or (value is None and self.default is None):
            return None
        from pydantic import ValidationError

        try:
            adapter.validate_json(json.dumps(_whole(value)), strict=True)
        except ValidationError:
            words = type_text(self.annotation)
            close = nearest(str(value), [str(w) for w in literals(self.annotation)])
            return f"{value!r} is not allowed. Allowed: {words}.{close}"
        except (TypeError, ValueError):
            return None  # not a value of YAML
        return None


@functools.cache
def arguments(cls: type) -> tuple[dict[str, Argument], bool]:
    """The keywords of a class by name, and whether it takes any others.

    Raises:
        ValueError: the class is written in C and has no signature.
    """
    parameters = _signature(cls).parameters.values()
    named = {
        p.name: Argument(p.name, *_without_marks(p.annotation, p.default))
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _without_marks(annotation: Any, default: Any) -> tuple[Any, Any, type | None]:
    """Return the annotation, the default, and the class that `Annotated` names."""
    if get_origin(annotation) is not Annotated:
        return annotation, default, None
    plain, cls, *_ = get_args(annotation)
    return plain, default, cls


def _signature(cls: type) -> inspect.Signature:
    """The signature, with annotations that are written as text turned into types if they can be."""
    try:
        return inspect.signature(cls, eval_str=True, locals=vars(collections.abc))
    except (NameError, TypeError, SyntaxError, AttributeError):
        return inspect.signature(cls)


@functools.cache
def _adapter(annotation: Any) -> Any:
    """The validator of a type; None where there is nothing to check."""
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError

    checked = _checkable(annotation)
    if checked is Any:
        return None
    try:
        return TypeAdapter(checked, config=ConfigDict(arbitrary_types_allowed=True))
    except (PydanticUserError, PydanticSchemaGenerationError, TypeError, NameError):
        return None


def _checkable(annotation: Any) -> Any:
    """Return the part of a type that plain values can be checked against, else `Any`."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        members = [_checkable(each) for each in inner]
        return Any if Any in members else Union[tuple(members)]  # noqa: UP007 (of a tuple)
    if origin in _SEQUENCES:
        return list[_checkable(inner[0])]  # type: ignore[misc]
    if origin is tuple:
        return tuple[tuple(each if each is ... else _checkable(each) for each in inner)]  # type: ignore[misc]
    if origin in _MAPPINGS and len(inner) == 2:
        return dict[_checkable(inner[0]), _checkable(inner[1])]  # type: ignore[misc]
    plain = annotation in (*_WORDS, list, dict) or origin is Literal
    if plain and origin is Literal:
        return annotation if all(isinstance(w, str | int | None) for w in inner) else Any
    is_class = isinstance(annotation, type) and annotation is not inspect.Parameter.empty
    if plain or (is_class and not _wraps_text(annotation)):
        return annotation
    return Any


def _wraps_text(annotation: type) -> bool:
    """Return True if the class is made from a text or is a protocol: paths, enums, callables."""
    from enum import Enum
    from os import PathLike

    return issubclass(annotation, PathLike | Enum | collections.abc.Callable)


def type_text(annotation: Any) -> str:
    """A type as a sentence names it: `float | None` is "a number or null"."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        sayable = [each for each in inner if get_origin(each) or each in _WORDS] or inner
        return " or ".join(dict.fromkeys(map(type_text, sayable)))
    if origin is Literal:
        return ", ".join(map(str, inner))
    if origin in _SEQUENCES:
        return f"a list, each member {type_text(inner[0])}"
    if origin is tuple and inner[-1:] == (...,):
        return f"a list, each member {type_text(inner[0])}"
    if origin is tuple:
        return f"[{', '.join(map(type_text, inner))}]"
    if origin in _MAPPINGS or annotation is dict:
        return "a mapping"
    return _WORDS.get(annotation) or str(getattr(annotation, "__name__", annotation))


def json_type(annotation: Any) -> dict[str, Any]:
    """Return the JSON schema of a type, as far as plain values have it; {} allows anything."""
    if get_origin(annotation) in (Union, types.UnionType):
        known = [each for each in map(json_type, get_args(annotation)) if each]
        return {"anyOf": known} if len(known) > 1 else (known or [{}])[0]
    from pydantic import PydanticUserError, TypeAdapter

    try:
        return TypeAdapter(_checkable(annotation)).json_schema()
    except (PydanticUserError, TypeError, NameError):
        return {}


def literals(annotation: Any) -> Iterator[Any]:
    """Yield the literals that a type allows, those of its parts included."""
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
        return
    for inner in get_args(annotation):
        yield from literals(inner)


def _whole(value: Any) -> Any:
    """Return the value with 5.0 as 5, numbers that are the same in YAML."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _whole(item) for name, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list | tuple) else value


def _has_target(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(_has_target, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_target, value))
