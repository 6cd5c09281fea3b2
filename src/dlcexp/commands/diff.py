"""`dlcexp diff`: what differs between two experiments."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlcexp.commands.arguments import take_config_dir, wants_help
from dlcexp.errors import ConfigError, ProjectError, UserError
from dlcexp.files import expanded

HELP = """\
dlcexp diff A B [key=value ...]

Shows every key in which two experiments differ, their interpolations filled in. A and B may each be

  runs/mouse/DIR                       a run folder, or its config.yaml
  pytorch_config.yaml                  a file of DeepLabCut's, of any version
  "net_type=dekr_w32 batch_size=4"     a command line, as one word; "" is the default experiment

Words after A and B are put to both, where they are no runs:

  dlcexp diff net_type=dekr_w18 net_type=dekr_w32 project=~/mouse

What a model recommends (`recipe`) is left out, as the keys that follow it are shown. A terminal
gets a table; a file or a pipe gets lines of key, A and B with tabs between them, nothing cut.
The exit code is 0 whether they differ or not, and 2 where one of them cannot be read.
"""

# What a model recommends takes effect in other keys, and is shown there.
_RECOMMENDATIONS = "recipe"
# Characters of a value in a table, at most.
_WIDEST = 70


def run(words: list[str]) -> int:
    if wants_help(words):
        print(HELP, end="")
        return 0
    words, config_dir = take_config_dir(words)
    if len(words) < 2:
        raise UserError(
            "diff takes two experiments: run folders, files, or command lines as one word each; "
            "see dlcexp diff --help."
        )
    from dlcexp.trees import differences

    first, second, *common = words
    trees = [_tree(source, common, config_dir) for source in (first, second)]
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


def _tree(source: str, common: list[str], config_dir: Path | None) -> dict[str, Any]:
    """The resolved tree that a word of the command line means.

    Raises:
        UserError: there is no such file, it is neither kind of file, or the line has a mistake.
    """
    from dlcexp.composition import rewritten
    from dlcexp.config.checks import check_keys
    from dlcexp.config.compose import compose_tree, resolve
    from dlcexp.config.mistakes import all_mistakes
    from dlcexp.yaml_files import read_mapping

    path = expanded(source)
    if source and _is_path(source, path):
        file = path / "config.yaml" if path.is_dir() else path
        if not file.is_file():
            what = "is no run folder: it has no config.yaml" if path.is_dir() else "is not there"
            raise UserError(f"{source} {what}.")
        document = _run_tree(file)
        if document is not None:
            return document
        read_mapping(file)  # says what is wrong with it before it is taken for an experiment
        words = [f"pytorch_config={file}"]
    else:
        words = _words(source)
    try:
        return all_mistakes(
            rewritten([*words, *common]),
            lambda left: check_keys(resolve(compose_tree(left, config_dir))),
        )
    except UserError as error:
        raise UserError(f"{source or '(default)'}: {error}") from error


def _is_path(source: str, path: Path) -> bool:
    try:
        return path.exists() or "=" not in source
    except OSError:
        return False  # a command line may be longer than a name can be


def _run_tree(file: Path) -> dict[str, Any] | None:
    """The tree of a run's `config.yaml`; None for any other file."""
    from dlcexp.yaml_files import read_yaml

    try:
        document = read_yaml(file)
    except ProjectError:
        return None
    is_tree = isinstance(document, dict) and {"trainer", "metadata", "split"} <= document.keys()
    return document if is_tree else None


def _words(line: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UserError(f"cannot read the command line {line!r}: {error}.") from error
    if words[:1] == ["dlcexp"]:
        words = words[1:]
    return words[1:] if words[:1] == ["train"] else words


def _shown(value: Any) -> str:
    """A value as one would type it; a node of a target by the name of its class."""
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
