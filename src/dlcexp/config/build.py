"""The one place where a `_target_` of the tree becomes an object.

Hydra's `instantiate` calls whatever a tree names, so only classes of this project, of torch's
optimizers, of albumentations and of Lightning's callbacks are allowed here, and those under a
prefix that the user lists in `allow_targets`.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from omegaconf import OmegaConf

from dlcexp.config.signatures import arguments
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
        args: positional arguments put before those of the node.
        key: dotted path of the node in the tree, for messages.
        kwargs: keyword arguments that complete those of the node.

    Returns:
        The object; a `functools.partial` where the node has `_partial_: true`.

    Raises:
        ConfigError: a target that is unknown or not allowed, a wrong keyword, or whatever the
            constructor refuses.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    check_targets(plain, key)
    try:
        return instantiate(_without_recipes(plain), *args, _convert_="all", **kwargs)
    except InstantiationException as error:
        cause = root_cause(error)
        if isinstance(cause, UserError):
            raise cause from error
        if not isinstance(cause, TypeError | ValueError | KeyError | AssertionError | RuntimeError):
            raise
        name = plain.get("_target_", "") if isinstance(plain, dict) else ""
        raise ConfigError(key or name, f"{name} refuses its arguments: {cause}") from error


def check_targets(node: Any, key: str = "") -> None:
    """Check every target below `node` before anything is built.

    Raises:
        ConfigError: one that is not allowed or cannot be built; `Mistakes` for several.
    """
    run_checks(*(partial(bind, target, path) for path, target in iterate_targets(node, key)))


def iterate_targets(node: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every mapping with a `_target_` in a plain container, by its dotted path."""
    for path, child in nodes(node, key):
        if isinstance(child, Mapping) and "_target_" in child:
            yield path, dict(child)


def bind(node: Mapping[str, Any], key: str, *, only_named: bool = False) -> None:
    """Check the keywords of one target node, and their values, against the signature of its class.

    Args:
        node: the target node.
        key: where it is in the tree, for messages.
        only_named: refuse keywords that the class takes by `**kwargs` alone.

    Raises:
        ConfigError: names the keyword, what the class accepts, and the nearest match; `Mistakes`
            for several keywords.
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
    """The class that `target` names, if it is on the allow-list under its own name.

    A name that merely passes through an allowed module (`dlcexp.files.os.system`) is refused,
    because what it denotes does not come from there.
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
