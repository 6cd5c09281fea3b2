"""What the commands share: their `--help`, `key=value` words, and `--config-dir`."""

from collections.abc import Sequence
from pathlib import Path

from dlcexp.errors import UserError, nearest
from dlcexp.files import expanded, names_in


def wants_help(words: Sequence[str]) -> bool:
    return any(word in ("--help", "-h") for word in words)


def take_config_dir(words: Sequence[str]) -> tuple[list[str], Path | None]:
    """The words without `--config-dir DIR` (or `-cd DIR`), and that folder.

    Raises:
        UserError: the folder is missing, or a flag that this command does not have.
    """
    rest, folder = [], None
    remaining = iter(words)
    for word in remaining:
        flag, equals, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            folder = expanded(value if equals else next(remaining, ""))
            if not folder.is_dir():
                raise UserError(f"--config-dir: there is no folder {str(folder)!r}.")
        elif word.startswith("-"):
            raise UserError(f"there is no flag {word!r} here; see --help.")
        else:
            rest.append(word)
    return rest, folder


def take_values(words: Sequence[str], names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Split off the words `name=value` whose name is one of `names`: a command's own settings.

    Raises:
        UserError: a word of another form, or `run=` names nothing (seen before torch is imported).
    """
    values = {}
    rest = []
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name in names:
            values[name] = value.strip("'\"")
        elif equals or word.startswith("~"):
            rest.append(word)
        else:
            raise UserError(f"cannot read {word!r}; the form is key=value.{nearest(word, names)}")
    if "run" in values and not (path := expanded(values["run"])).exists():
        hint = nearest(path.name, names_in(path.parent))
        raise UserError(f"run: there is no {values['run']!r}.{hint}")
    return rest, values
