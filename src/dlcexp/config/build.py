"""The one place where a `_target_` of the tree becomes an object.

Hydra's `instantiate` calls whatever a tree names, so only classes of this project, of torch's
optimizers, of albumentations and of Lightning's callbacks are allowed here, and those under a
prefix that the user lists in `allow_targets`.
"""

import collections.abc
import functools
import inspect
import json
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from omegaconf import OmegaConf

from dlcexp.errors import ConfigError, UserError, nearest, run_checks, together
from dlcexp.trees import nodes

ALLOWED = ("dlcexp.", "torch.optim.", "albumentations.", "lightning.pytorch.callbacks.")

# Keys of a target node that steer Hydra or inform the reader; constructors do not get them.
_NOT_ARGUMENTS = {"_target_", "_partial_", "_convert_", "_recursive_", "recipe"}

_extra_targets: ContextVar[tuple[str, ...]] = ContextVar("extra_targets", default=())


@contextmanager
def allowing(prefixes: Sequence[str]) -> Iterator[None]:
    """Within this context `build` also accepts targets under `prefixes` (`allow_targets`)."""
    token = _extra_targets.set((*_extra_targets.get(), *prefixes))
    try:
        yield
    finally:
        _extra_targets.reset(token)


def build(node: Any, *args: Any, key: str = "", **kwargs: Any) -> Any:
    """Instantiate a node of the tree and everything below it.

    Args:
        node: a mapping with `_target_` (`DictConfig` or plain), or a list or mapping of such.
        args, kwargs: arguments before those of the node, and those that complete them.
        key: dotted path of the node in the tree, for messages.

    Returns:
        The object; a `functools.partial` where the node has `_partial_: true`.

    Raises:
        ConfigError: a target that is unknown or not allowed, a wrong keyword, or whatever the
            constructor refuses.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    node = plain(node)
    check_targets(node, key)
    try:
        return instantiate(_without_recipes(node), *args, _convert_="all", **kwargs)
    except InstantiationException as error:
        cause = root_cause(error)
        if isinstance(cause, UserError):
            raise cause from error
        if not isinstance(cause, TypeError | ValueError | KeyError | AssertionError | RuntimeError):
            raise
        name = node.get("_target_", "") if isinstance(node, dict) else ""
        raise ConfigError(key or name, f"{name} refuses its arguments: {cause}") from error


def plain(node: Any) -> Any:
    """Return a node of a tree in plain containers, resolved; what is plain as it is."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def check_targets(node: Any, key: str = "") -> None:
    """Check every target below `node` before anything is built, or raise a `ConfigError`."""
    run_checks(*(partial(bind, target, path) for path, target in iterate_targets(node, key)))


def check_target(node: Any, key: str, remedy: str) -> None:
    """Reject what is not a mapping with a `_target_`; `remedy` ends the message."""
    if not isinstance(node, Mapping):
        raise ConfigError(key, f"{node!r} has no '_target_'. {remedy}")
    if "_target_" not in node:
        raise ConfigError(key, f"has no '_target_'. {remedy}")


def iterate_targets(node: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every mapping with a `_target_` in a plain container, by its dotted path."""
    for path, child in nodes(node, key):
        if isinstance(child, Mapping) and "_target_" in child:
            yield path, dict(child)


def backbones(model: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the node of the backbone of a model, and that of one inside of it."""
    node = model.get("backbone")
    while isinstance(node, Mapping):
        yield node
        node = node.get("backbone")


def bind(node: Mapping[str, Any], key: str, *, only_named: bool = False) -> None:
    """Check the keywords of one target node, and their values, against the signature of its class.

    Args:
        node: the target node.
        key: where it is in the tree, for messages.
        only_named: refuse keywords that the class takes by `**kwargs` alone.
    """
    cls = find_class(node["_target_"], f"{key}._target_")
    try:
        accepted, takes_any = arguments(cls)
    except ValueError:
        return  # a class written in C need not have a signature
    given = {str(name): value for name, value in node.items() if name not in _NOT_ARGUMENTS}
    errors = []
    for name, value in given.items():
        if name in accepted:
            if problem := accepted[name].problem(value):
                errors.append(ConfigError(f"{key}.{name}", problem))
        elif only_named or not takes_any:
            problem = (
                f"{cls.__name__} has no such argument (its value is {value!r}); it takes "
                f"{', '.join(accepted)}.{nearest(name, accepted)}"
            )
            errors.append(ConfigError(f"{key}.{name}", problem))
    if errors:
        raise together(errors)
    missing = [name for name, each in accepted.items() if each.required and name not in given]
    if missing and not node.get("_partial_"):
        raise ConfigError(key, f"{cls.__name__} needs {', '.join(missing)}.")
    if hasattr(cls, "check_arguments"):
        cls.check_arguments(given, key)


def find_class(target: Any, key: str) -> type:
    """Return the class that `target` names, if it is on the allow-list under its own name.

    One that merely passes through an allowed module (`dlcexp.files.os.system`) is refused.
    """
    prefixes = (*ALLOWED, *_extra_targets.get())
    if not isinstance(target, str) or not target.startswith(prefixes):
        raise ConfigError(
            key,
            f"{target!r} is not allowed; a target starts with {', '.join(prefixes)}. "
            "Add your own package with allow_targets=[name.]",
        )
    found = _locate(target)
    if found is None:
        raise ConfigError(key, f"there is no {target!r}.{_nearest_target(target)}")
    if not isinstance(found, type) or not f"{found.__module__}.".startswith(prefixes):
        raise ConfigError(key, f"{target!r} is not a class of an allowed package.")
    return found


def _locate(target: str) -> Any:
    """Return the object at a dotted path: the longest importable module, then attributes."""
    from importlib import import_module

    parts = target.split(".")
    for size in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:size])
        try:
            found: Any = import_module(module_name)
        except ModuleNotFoundError as error:
            if not f"{module_name}.".startswith(f"{error.name}."):
                raise
            continue
        for part in parts[size:]:
            found = getattr(found, part, None)
        return found
    return None


def _nearest_target(target: str) -> str:
    """Return a hint among the names in the module of the one that was not found."""
    module, _, name = target.rpartition(".")
    found = _locate(f"{module}.__name__") and sys.modules.get(module, _locate(module))
    classes = [other for other in dir(found) if isinstance(getattr(found, other, None), type)]
    return nearest(name, classes)


def _without_recipes(node: Any) -> Any:
    """The container without `recipe` keys: recommendations never reach a constructor."""
    if isinstance(node, Mapping):
        return {k: _without_recipes(v) for k, v in node.items() if k != "recipe"}
    if isinstance(node, list):
        return [_without_recipes(item) for item in node]
    return node


def root_cause(error: BaseException) -> BaseException:
    """The error with which a chain of errors began."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


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
        if _has_target(value) or (value is None and self.default is None):
            return None
        if _is_part(self.annotation):
            return f"{value!r} is not allowed. Allowed: a mapping with a '_target_'."
        adapter = _adapter(self.annotation)
        if adapter is None:
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
    """Return the keywords of a class by name, and whether it takes any others.

    Raises:
        ValueError: the class is written in C and has no signature.
    """
    named, parameters = {}, _signature(cls).parameters.values()
    for p in parameters:
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
            annotation, marks = p.annotation, [None]
            if get_origin(annotation) is Annotated:
                annotation, *marks = get_args(annotation)
            named[p.name] = Argument(p.name, annotation, p.default, marks[0])
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


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


def _is_part(annotation: Any) -> bool:
    """Return True for a class of dlcexp whose objects are called, as the parts of a model are."""
    is_ours = isinstance(annotation, type) and annotation.__module__.startswith("dlcexp.")
    return is_ours and issubclass(annotation, collections.abc.Callable)  # type: ignore[arg-type]


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
