"""`dlcexp diff`: what differs between two experiments."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlcexp.commands.settings import CONFIG_DIR, Command, Kind, Section, Setting
from dlcexp.errors import ConfigError, ProjectError, UserError
from dlcexp.files import expanded
from dlcexp.vocabulary import TREE_FILE

_EXPERIMENT = "a run folder, a file, or a command line in quotes"
_KIND = Kind(str, paths="files", any_text=True)

COMMAND = Command(
    name="diff",
    about="""
        Shows every key in which two experiments differ, with interpolations filled in. Overrides
        after A and B apply to both, unless they are runs.

        What a model recommends (`recipe`) is left out, as the keys that follow it are shown. A
        terminal gets a table; a file or a pipe gets lines of key, A and B, separated by tabs, with
        nothing cut. The exit code is 0 whether they differ or not, and 2 if one of them cannot be
        read.
    """,
    settings=(
        Setting("first", _KIND, _EXPERIMENT, shown="A", required=True, positional=True),
        Setting("second", _KIND, _EXPERIMENT, shown="B", required=True, positional=True),
        CONFIG_DIR,
    ),
    takes_overrides=True,
    sections=(
        Section(
            "A and B may each be",
            (
                ("runs/mouse/DIR", "a run folder, or its config.yaml"),
                ("pytorch_config.yaml", "a file of DeepLabCut, of any version"),
                ('"net_type=dekr_w32 epochs=9"', 'a command line; "" is the default experiment'),
            ),
        ),
    ),
    examples=(
        "dlcexp diff net_type=dekr_w18 net_type=dekr_w32 project=~/mouse",
        "dlcexp diff runs/mouse/DIR pytorch_config.yaml",
    ),
)

# What a model recommends takes effect in other keys, and is shown there.
_RECOMMENDATIONS = "recipe"
# Characters of a value in a table, at most.
_WIDEST = 70


def run(first: str, second: str, config_dir: Path | None, overrides: list[str]) -> int:
    """Print the keys in which two experiments differ."""
    from dlcexp.trees import differences

    trees = [_tree(source, overrides, config_dir) for source in (first, second)]
    rows = [
        (each.key, _shown(each.first), _shown(each.second))
        for each in differences(trees[0], trees[1])
        if _RECOMMENDATIONS not in each.key.split(".")
    ]
    if not rows:
        print("no difference")
    elif sys.stdout.isatty():
        _print_table((first, second), rows)
    else:
        for row in (("key", first, second), *rows):
            print("\t".join(row))
    return 0


def _tree(source: str, overrides: list[str], config_dir: Path | None) -> dict[str, Any]:
    """Return the resolved tree of a run folder, a file or a command line.

    Raises:
        UserError: there is no such file, it is neither kind of file, or the line has a mistake.
    """
    from dlcexp.composition import composed
    from dlcexp.config.checks import check_keys
    from dlcexp.config.compose import compose_tree, resolve
    from dlcexp.yaml_files import read_mapping

    path = expanded(source)
    if source and _is_path(source, path):
        file = path / TREE_FILE if path.is_dir() else path
        if not file.is_file():
            no_run = "is not a run folder: it has no config.yaml"
            what = no_run if path.is_dir() else "does not exist"
            raise UserError(f"{source} {what}.")
        document = _run_tree(file)
        if document is not None:
            return document
        read_mapping(file)  # raises what is wrong with the file itself
        typed = [f"pytorch_config={file}"]
    else:
        typed = _overrides(source)
    try:
        return composed(
            [*typed, *overrides], lambda left: check_keys(resolve(compose_tree(left, config_dir)))
        )
    except UserError as error:
        raise UserError(f"{source or '(default)'}: {error}") from error


def _is_path(source: str, path: Path) -> bool:
    try:
        return path.exists() or "=" not in source
    except OSError:
        return False  # a command line may be longer than a name can be


def _run_tree(file: Path) -> dict[str, Any] | None:
    """Return the tree of a run's `config.yaml`; None for any other file."""
    from dlcexp.yaml_files import read_yaml

    try:
        document = read_yaml(file)
    except ProjectError:
        return None
    is_tree = isinstance(document, dict) and {"trainer", "metadata", "split"} <= document.keys()
    return document if is_tree else None


def _overrides(line: str) -> list[str]:
    """Return the overrides of a command line, which may begin with `dlcexp train`."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UserError(f"cannot read the command line {line!r}: {error}.") from error
    if words[:1] == ["dlcexp"]:
        words = words[1:]
    return words[1:] if words[:1] == ["train"] else words


def _shown(value: Any) -> str:
    """Return a value as one would type it; a node of a target by the name of its class."""
    from dlcexp.config.overrides import literal
    from dlcexp.trees import ABSENT

    if value is ABSENT:
        return repr(value)
    if isinstance(value, dict) and "_target_" in value:
        return f"{str(value['_target_']).rpartition('.')[2]} ({len(value) - 1} keys)"
    if isinstance(value, dict) and any(isinstance(item, dict) for item in value.values()):
        return f"{len(value)} keys: {', '.join(map(str, value))}"
    try:
        return literal(value)
    except ConfigError:
        return repr(value)


def _print_table(titles: tuple[str, str], rows: Sequence[tuple[str, str, str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    keys = min(max(len(key) for key, *_ in rows), console.width // 2)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", overflow="fold", min_width=keys)
    for title in titles:
        table.add_column(Text(_cut(title) or "(default)"), overflow="fold")
    for key, *values in rows:
        if key.endswith("_target_"):
            values = [value.rpartition(".")[2] for value in values]
        table.add_row(Text(key), *(Text(_cut(value)) for value in values))
    console.print(table)


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
