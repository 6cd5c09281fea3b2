"""`dlcexp explain`: what a key means, its value, and where that comes from."""

import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcexp.commands.help_text import two_columns
from dlcexp.commands.settings import CONFIG_DIR, TEXT, Command, Row, Setting
from dlcexp.errors import UserError, together
from dlcexp.trees import select

if TYPE_CHECKING:
    from dlcexp.config.options import Option
    from dlcexp.config.origins import Composition, Origin

COMMAND = Command(
    name="explain",
    about="""
        Prints a key of the experiment that the overrides compose: its value, meaning, type and
        unit, and where it is set. That is a file and its line, each interpolation on the way, or
        an override. Of a node it prints the keys below, of a group the options. Runs nothing.
    """,
    settings=(
        Setting(
            "KEY",
            TEXT,
            "a key such as optimizer.lr, or a group such as model/backbone; several are allowed",
            shown="KEY ...",
            keyword="keys",
            required=True,
            positional=True,
            several=True,
        ),
        CONFIG_DIR,
    ),
    takes_overrides=True,
    examples=(
        "dlcexp explain batch_size",
        "dlcexp explain optimizer.lr trainer.eval_interval net_type=dekr_w32",
        "dlcexp explain model/backbone",
    ),
)

# Columns of output that is not read on a terminal: nothing is wrapped.
_UNLIMITED = 10_000


def run(keys: list[str], overrides: list[str], config_dir: Path | None) -> int:
    """Print what is known of keys and groups.

    Raises:
        UserError: keys that there are not, all of them together, or overrides that are wrong.
    """
    from dlcexp.composition import composed
    from dlcexp.config.origins import composition

    made = composed(overrides, lambda left: composition(left, overrides, config_dir))
    texts, errors = [], []
    for key in keys:
        try:
            texts.append("\n".join(_explained(key, made, config_dir)))
        except UserError as error:
            errors.append(error)
    if errors:
        raise together(errors)
    print("\n\n".join(texts))
    return 0


def _explained(key: str, made: "Composition", config_dir: Path | None) -> Iterator[str]:
    """Yield lines about a key, or a group and the node that its option fills."""
    from dlcexp.config.hydra_errors import missing_key
    from dlcexp.config.options import groups, options_of
    from dlcexp.config.reference import describe

    options = options_of(key, config_dir)
    if options:
        yield from _group(key, options, made)
    problem = missing_key(made.tree, key, None, groups())
    has_node = key.partition(".")[0] in made.plain
    if problem is None:
        yield from [""] if options else []
        value = made.value(key)
        is_node = isinstance(value, Mapping) and bool(value)
        yield from _node(key, value, made) if is_node else _key(key, value, made)
    elif has_node and describe(key, made.plain):
        yield from _unset(key, made)
    elif not options:
        raise problem


def _group(group: str, options: Iterable["Option"], made: "Composition") -> Iterator[str]:
    """Yield the options of a group, with a star at those that are composed."""
    chosen = made.chosen(group)
    yield f"{group}={','.join(chosen) or 'null'}"
    rows = (
        (f"{'*' if each.name in chosen else ' '} {each.name}", each.meaning) for each in options
    )
    yield from two_columns(rows, _width())


def _node(path: str, node: Mapping[str, Any], made: "Composition") -> Iterator[str]:
    """Yield the keys of a node, with their values and meanings."""
    from dlcexp.config.overrides import shortened

    meaning = _meaning(path, made)
    yield f"{path}: {meaning}" if meaning else path
    rows: list[Row] = []
    for name, value in node.items():
        key = f"{path}.{name}"
        is_node = isinstance(value, Mapping) and bool(value)
        rows.append((key if is_node else f"{key}={shortened(value)}", _meaning(key, made)))
    yield from two_columns(rows, _width())


def _key(key: str, value: Any, made: "Composition") -> Iterator[str]:
    """Yield the value of a key, what is known of it, and where it comes from."""
    from dlcexp.config.overrides import literal

    yield f"{key}={literal(value)}"
    origins = made.origins(key)
    references = made.references(origins[-1])
    rows = [
        *_facts(key, made),
        *_labelled("set in", (_origin(each, key) for each in origins)),
        *_labelled("where", (f"{name}={literal(its)}" for name, its in references.items())),
    ]
    yield from two_columns(rows, _width())


def _labelled(label: str, texts: Iterable[str]) -> Iterator[Row]:
    """Yield rows of which the first has the label."""
    for text in texts:
        yield label, text
        label = ""


def _unset(key: str, made: "Composition") -> Iterator[str]:
    """Yield what is known of a key that the tree does not have."""
    yield f"{key} is not set"
    yield from two_columns(_facts(key, made), _width())


def _facts(key: str, made: "Composition") -> Iterator[Row]:
    from dlcexp.config.overrides import literal
    from dlcexp.config.reference import NO_DEFAULT, class_around, describe

    meaning = _meaning(key, made)
    if meaning:
        yield "meaning", meaning
    known = describe(key, made.plain)
    if known is None:
        return
    yield "type", known.text
    if known.unit:
        yield "unit", known.unit
    parent = key.rpartition(".")[0]
    cls = class_around(parent, made.plain)
    if cls:
        own = f"{cls.__module__}.{cls.__qualname__}"
        yield "class", select(made.plain, f"{parent}._target_", own)
    if known.default is not NO_DEFAULT:
        yield "default", f"{literal(known.default)}, if the tree does not set it"


def _meaning(key: str, made: "Composition") -> str:
    """Return the meaning by its declaration, else by the comment where it is set."""
    from dlcexp.config.reference import describe

    known = describe(key, made.plain)
    return known.meaning.removesuffix(".") if known else made.comment(key)


def _origin(origin: "Origin", key: str) -> str:
    """Return where a key is set, and to what: of another key or node with its name."""
    if origin.typed:
        return f"the override {origin.typed}"
    text = origin.text if origin.key == key else f"{origin.key}: {origin.text}"
    return f"{origin.place}  {text}" if origin.place else text


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _UNLIMITED
