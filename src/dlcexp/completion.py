"""Completion of command lines in bash, zsh and fish, by the scripts that Hydra installs.

They run `dlcexp -sc query=SHELL` with the line in COMP_LINE. What a command takes is answered from
its declaration; overrides of the tree are answered by Hydra.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stderr
from pathlib import Path

from dlcexp.commands import NAMES, command_module
from dlcexp.commands.settings import SWITCH, Command, Kind, Reading
from dlcexp.config.overrides import Override
from dlcexp.config.typed import text_key
from dlcexp.config.value_types import Type
from dlcexp.errors import UserError, nearest
from dlcexp.files import expanded

_ACTIONS = ("install", "uninstall", "query")
# The shells, and what is between two candidates.
_SEPARATORS = {"bash": " ", "zsh": " ", "fish": "\n"}


def shell_completion(arguments: Sequence[str]) -> int:
    """Print the script of a shell (`install=bash`), or what completes a line (`query=bash`).

    Raises:
        UserError: no such action or shell.
    """
    typed = Override.with_text(" ".join(arguments))
    action, shell = typed.left_side, typed.value or ""
    if action not in _ACTIONS or shell not in _SEPARATORS:
        raise UserError(
            f"-sc: {typed.text!r} is not one of {', '.join(_ACTIONS)} with one of "
            f"{', '.join(_SEPARATORS)}, such as install=bash."
            f"{nearest(shell, _SEPARATORS) or nearest(action, _ACTIONS)}"
        )
    if action == "query":
        _query(shell)
    else:
        _hydra(f"{action}={shell}")
    return 0


def _query(shell: str) -> None:
    line = os.environ.get("COMP_LINE", "")
    before_cursor = line[: int(os.environ.get("COMP_POINT", len(line)))]
    before = before_cursor.split()[1:]
    current = before.pop() if before and not before_cursor[-1].isspace() else ""
    candidates, overrides = complete(before, current)
    separator = _SEPARATORS[shell]
    # The scripts split what is printed at blanks.
    candidates = [each for each in candidates if separator == "\n" or " " not in each]
    print("".join(f"{each}{separator}" for each in candidates), end="", flush=True)
    if overrides is not None:
        os.environ["COMP_LINE"] = " ".join(["dlcexp", *overrides, current])
        with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
            _hydra(f"query={shell}")


def _hydra(action: str) -> None:
    from dlcexp.commands.train import hydra_application

    hydra_application(["-sc", action])


def complete(before: Sequence[str], current: str) -> tuple[list[str], list[str] | None]:
    """Return what the argument at the cursor may be.

    Args:
        before: the arguments before it, without the program.
        current: its beginning; empty for a new one.

    Returns:
        The candidates, and the overrides before the cursor if Hydra is to add candidates for
        another one; else None.
    """
    name = before[0] if before and before[0] in NAMES else "train"
    candidates = [] if before else [each for each in NAMES if each.startswith(current)]
    command: Command = command_module(name).COMMAND
    before = before[1:] if before[:1] == [name] else before
    flag = command.by_name.get(before[-1]) if before else None
    if flag and flag.name.startswith("-") and flag.kind is not SWITCH:
        found = list(_values(flag.kind, current))
        if found or not flag.kind.bare:
            return found, None
    typed = Override.with_text(current)
    key, value = typed.left_side, typed.value
    if value is not None and key in command.by_name:
        return [f"{key}={each}" for each in _values(command.by_name[key].kind, value)], None
    if value is not None and command.takes_overrides and _is_path(typed.key):
        return [f"{key}={each}" for each in _paths(value, folders_only=False)], None
    reading = Reading(command, before)
    with_flags = current.startswith("-") or not command.takes_overrides
    names = _names(command, reading, with_flags=with_flags)
    candidates += [each for each in names if each.startswith(current)]
    if position := reading.free_position:
        candidates += _values(position.kind, current)
    return candidates, None if with_flags else reading.overrides


def _is_path(key: str) -> bool:
    """Return True if the value of a key of the tree, or of Hydra, is declared as a path."""
    types = declared.types if (declared := text_key(key)) else ()
    return key == "pytorch_config" or any(isinstance(t, Type) and t.is_path for t in types)


def _names(command: Command, reading: Reading, *, with_flags: bool) -> Iterator[str]:
    """Yield the names of the settings that are not given yet, as they are typed."""
    absent = [each for each in command.settings if not reading.has(each) and not each.positional]
    for name in (name for setting in absent for name in setting.names):
        if not name.startswith("-"):
            yield f"{name}="
        elif with_flags:
            yield name


def _values(kind: Kind, beginning: str) -> Iterable[str]:
    """Return the values of a kind that begin so."""
    if kind.choices:
        return [each for each in kind.choices if each.startswith(beginning)]
    return _paths(beginning, folders_only=kind.paths == "folders") if kind.paths else []


def _paths(beginning: str, *, folders_only: bool) -> list[str]:
    """Return the paths that begin so; folders end in a slash."""
    head, slash, start = beginning.rpartition("/")
    folder = expanded(f"{head}{slash}" or ".")
    if not folder.is_dir():
        return []
    shown = [
        each
        for each in sorted(folder.iterdir())
        if each.name.startswith(start) and each.name.startswith(".") == start.startswith(".")
    ]
    return [
        f"{head}{slash}{each.name}{'/' if each.is_dir() else ''}"
        for each in shown
        if each.is_dir() or not folders_only
    ]
