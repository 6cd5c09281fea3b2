"""The node `weights`: short forms written out, and mistakes that show without the network."""

import math
from collections.abc import Mapping
from typing import Any

from dlcexp.errors import ConfigError, nearest
from dlcexp.files import expanded, names_in
from dlcexp.project.superanimal import SUPERANIMALS

_PATH = "a snapshot, or a run or shuffle folder that has some"


def weights_node(value: Any) -> Any:
    """The node in its full form.

    A text is the path; one module to freeze needs no list; `lr_scale` is flat, by module path.

    Raises:
        ConfigError: invalid names, or factors that are not numbers.
    """
    node = {"path": value} if isinstance(value, str) else value
    if not isinstance(node, Mapping):
        return {} if node is None else node
    given = dict(node)
    path = given.get("path")
    is_text = isinstance(path, str | int) and not isinstance(path, bool)
    if path is not None and not (is_text and str(path).strip()):
        raise ConfigError("weights.path", f"{path!r} is not allowed. Allowed: {_PATH}, or null.")
    if "freeze" in given:
        given["freeze"] = _names("weights.freeze", given["freeze"] or [])
    if "lr_scale" in given:
        given["lr_scale"] = _factors("weights.lr_scale", given["lr_scale"] or {})
    if given.get("bodyparts") is not None:
        given["bodyparts"] = _bodyparts(given["bodyparts"])
    return given


def check_weights_file(path: str | None) -> None:
    """Check that there is what `weights.path` names; only an experiment that begins needs it.

    Raises:
        ConfigError: there is not.
    """
    file = expanded(path or ".")
    if not file.exists():
        names = names_in(file.parent)
        raise ConfigError(
            "weights.path",
            f"there is no {path!r}. Allowed: {_PATH}.{nearest(file.name, names)}",
        )


def check_modules(weights: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """Check what `weights.freeze` and `weights.lr_scale` name, as far as the tree shows.

    Raises:
        ConfigError: a path outside of the network, or a learning rate for what is frozen.
    """
    heads = [f"heads.{name}" for name in model.get("heads") or {}]
    parts = [name for name in ("backbone", "neck") if model.get(name)] + ["heads"]
    for key in ("freeze", "lr_scale"):
        for path in weights.get(key) or ():
            known = heads if path.startswith("heads.") else parts
            if not any(f"{path}.".startswith(f"{part}.") for part in known):
                raise ConfigError(
                    f"weights.{key}",
                    f"the network has no {path!r}; it has {', '.join([*parts, *heads])}, and what "
                    f"is inside of them.{nearest(path, [*parts, *heads])}",
                )
    frozen = {_short(path): path for path in weights.get("freeze") or ()}
    for path in weights.get("lr_scale") or ():
        around = [
            own for short, own in frozen.items() if f"{_short(path)}.".startswith(f"{short}.")
        ]
        if around:
            raise ConfigError(
                f"weights.lr_scale.{path}",
                f"has no effect together with weights.freeze={around[0]}, which keeps it as it is. "
                "Leave one of them out.",
            )


def _short(path: str) -> str:
    """A path without the `model` that may be left out of it, as in `find_module`."""
    return f"{path}.".replace(".model.", ".", 1).removesuffix(".")


def _names(key: str, value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(key, f"{value!r} is not allowed. Allowed: a name, or a list of names.")
    return names


def _bodyparts(value: Any) -> str | list[str]:
    key = "weights.bodyparts"
    if isinstance(value, str):
        if value not in SUPERANIMALS:
            raise ConfigError(
                key,
                f"{value!r} is not allowed. Allowed: a list of names, or one of "
                f"{', '.join(SUPERANIMALS)}.{nearest(value, SUPERANIMALS)}",
            )
        return value
    names = [str(name) for name in value] if isinstance(value, list) else _names(key, value)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(key, f"{twice!r} is named twice.")
    return names


def _factors(key: str, value: Any) -> dict[str, float]:
    """Factors by the path of their module, from a flat mapping or nested ones."""
    if not isinstance(value, Mapping):
        raise ConfigError(
            key, f"{value!r} is not allowed. Write a factor by module, as in {key}.backbone=0.1"
        )
    factors: dict[str, float] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            factors |= {f"{name}.{rest}": each for rest, each in _factors(key, item).items()}
        elif isinstance(item, bool) or not isinstance(item, int | float):
            raise ConfigError(f"{key}.{name}", f"{item!r} is not a number.")
        elif not (math.isfinite(item) and item > 0):
            raise ConfigError(
                f"{key}.{name}",
                f"{item!r} is not allowed. Allowed: a factor above 0; weights.freeze={name} keeps "
                "the module as it is.",
            )
        else:
            factors[str(name)] = float(item)
    return factors
