"""Wording that messages and tables have in common: lists of names, numbers, durations, errors."""

import io
import math
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

_MINUTE, _HOUR = 60, 3600
_PASSWORD = re.compile(r"""(://[^:/@\s"',]*):[^@\s"',]+@""")


def listed(names: Iterable[object], most: int | None = 8) -> str:
    """Return names as a list for a sentence, such as `a, b and 4 more`; `none` without any.

    Args:
        names: what is listed.
        most: how many are named; None: all.
    """
    texts = [str(name) for name in names]
    more = f" and {len(texts) - most} more" if most and len(texts) > most else ""
    return f"{', '.join(texts[:most])}{more}" if texts else "none"


def without_passwords(content: Any) -> Any:
    """Replace the secret of each `postgresql://me:secret@host` by `***`.

    Args:
        content: a text, or plain containers that hold texts.
    """
    if isinstance(content, Mapping):
        return {key: without_passwords(value) for key, value in content.items()}
    if isinstance(content, list):
        return [without_passwords(value) for value in content]
    return _PASSWORD.sub(r"\1:***@", content) if isinstance(content, str) else content


def shows_bars() -> bool:
    """Return True where a progress bar can move: on a terminal, and in a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return sys.stderr.isatty() or "IPKernelApp" in getattr(shell, "config", {})


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; the name of its class if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def print_any_character() -> None:
    """Let standard output replace a character that its encoding lacks, in place of an error.

    That of Windows is cp1252 or cp932 where output goes to a file, without the half of our tables.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def print_file(content: str) -> None:
    """Print the content of a file: in UTF-8 where standard output is redirected into one."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(content)


def number(value: float) -> str:
    """Return a metric in the digits that matter; a dash for NaN."""
    if math.isnan(value):
        return "–"
    if value == 0 or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Return a duration such as `42 s`, `3:05 min` or `2:10 h`; a dash for NaN."""
    if math.isnan(seconds):
        return "–"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)}:{int(seconds % _MINUTE):02d} min"
    return f"{int(seconds // _HOUR)}:{int(seconds % _HOUR // _MINUTE):02d} h"


def clock(seconds: float) -> str:
    """Return whole seconds as `0:03:05`, as progress lines show elapsed and remaining time."""
    return str(timedelta(seconds=round(seconds)))


def time_left(elapsed: float, done: int, total: int) -> str:
    """Return the time that the rest takes at the speed so far, as `0:03:05`."""
    return clock(elapsed / done * (total - done))
