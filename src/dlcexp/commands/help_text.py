"""The text that `dlcexp COMMAND --help` prints, made from the declaration of the command."""

import shutil
import textwrap
from collections.abc import Iterable, Iterator
from functools import partial

from dlcexp.commands.settings import SWITCH, Command, Row, Setting

# Columns: of the whole text, of what is typed, and fewer than these are as good as none.
_WIDEST, _TYPED, _NARROWEST = 100, 36, 40
# More settings than these are not spelt out in the line of usage.
_SPELT_OUT = 3

_wrap = partial(textwrap.wrap, break_long_words=False, break_on_hyphens=False)


def help_text(command: Command) -> str:
    """Return the help of a command, in the width of the terminal."""
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))
    return "\n".join(_lines(command, width)) + "\n"


def _lines(command: Command, width: int) -> Iterator[str]:
    yield from _wrap(_usage(command), width, subsequent_indent=" " * 4)
    for paragraph in command.about.strip().split("\n\n"):
        yield ""
        yield from _wrap(" ".join(paragraph.split()), width)
    if command.settings:
        yield ""
        yield from two_columns(map(_row, command.settings), width)
    for section in command.sections:
        yield from ("", f"{section.title}:")
        yield from two_columns(section.rows() if callable(section.rows) else section.rows, width)
    if command.examples:
        yield from ("", "Examples:")
        yield from (f"  {example}" for example in command.examples)


def _usage(command: Command) -> str:
    needed = [each.form for each in command.settings if each.required]
    optional = [each for each in command.settings if not each.required]
    if len(optional) <= _SPELT_OUT:
        forms = [f"[{each.form}]" for each in optional]
    else:
        are_flags = all(each.name.startswith("-") for each in optional)
        forms = ["[--flag ...]" if are_flags else "[setting=value ...]"]
    overrides = ["[group=option ...]", "[key=value ...]"] if command.takes_overrides else []
    return " ".join(["dlcexp", command.name, *needed, *forms, *overrides])


def _row(setting: Setting) -> Row:
    """Return how a setting is typed, and its meaning with the choices."""
    typed = ", ".join([*setting.flags, setting.form])
    choices = "" if setting.kind is SWITCH else ", ".join(setting.kind.choices)
    return typed, f"{setting.meaning} ({choices})" if choices else setting.meaning


def two_columns(rows: Iterable[Row], width: int) -> Iterator[str]:
    """Yield lines of two columns; an entry too long for the first one gets a separate line."""
    rows = list(rows)
    typed_width = min(max(len(typed) for typed, _ in rows) + 2, _TYPED, width // 2)
    for typed, meaning in rows:
        lines = _wrap(meaning, width - typed_width - 2)
        if len(typed) + 2 > typed_width or not lines:
            yield f"  {typed}"
        else:
            yield f"  {typed:<{typed_width}}{lines.pop(0)}"
        yield from (" " * (typed_width + 2) + line for line in lines)
