"""Overrides as people type them: the value of a key that is text or a path needs no quotes.

Hydra's grammar reads `2024_01_15` as a number, and refuses `~/mouse`, umlauts and parentheses.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from dlcexp.config.overrides import Override, literal, parse_overrides
from dlcexp.config.schema import TEXTS_ELSEWHERE, declaration
from dlcexp.config.value_types import Key, Type
from dlcexp.errors import ConfigError, UserError
from dlcexp.files import expanded

# The value of a sweep in full: choice(a,b), range(3), tag(log,interval(1,9)).
_FUNCTION = re.compile(r"[a-z]+\(.*\)", re.DOTALL)
# What a comma does not separate: one value in quotes or in brackets.
_PART = re.compile(
    r"(?<![^,\s])(?:'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|\[[^\[\]]*\])(?=\s*(?:,|$))|\\,|.",
    re.DOTALL,
)
# A text, and no name that some keys allow.
_ANY_TEXT = "1 a,b"
_UNREADABLE = object()


def read_typed(texts: Iterable[str], *, sweep: bool = False) -> list[Override]:
    """Return overrides as typed.

    Args:
        texts: `key=value`. Where the key is text, so is the value: `project=~/Mäuse (2)`.
        sweep: a comma separates the values of a sweep, also of a key that is text.

    Raises:
        ConfigError: one that cannot be read; `Mistakes` for several.
    """
    return parse_overrides(in_grammar(text, sweep=sweep) for text in texts)


def in_grammar(text: str, *, sweep: bool = False) -> str:
    """Return an override in Hydra's grammar, with quotes where a text needs them."""
    typed = Override.with_text(text)
    key, value = text_key(typed.key), typed.value_text.strip()
    if key is None or typed.package is not None or typed.is_deletion or not value:
        return text
    if _FUNCTION.fullmatch(value) and _read(value) is not _UNREADABLE:
        return text
    pieces = _split(value) if sweep else [value]
    return f"{typed.left_side}={','.join(_as_text(piece, key) for piece in pieces)}"


def text_key(path: str) -> Key | None:
    """Return the declaration of a key that takes any text, or a list of texts; None for others."""
    key = declaration("weights.path" if path == "weights" else path)
    if key is None:
        found = (key for pattern, key in TEXTS_ELSEWHERE.items() if re.fullmatch(pattern, path))
        key = next(found, None)
    takes_text = key and (_accepts(key, _ANY_TEXT) or _accepts(key, [_ANY_TEXT]))
    return key if key and takes_text and not _accepts(key, {}) else None


def _as_text(value: str, key: Key) -> str:
    """Return a typed value in Hydra's grammar, in quotes unless it is read as text without them.

    Only bash expands `~` after a `=`: other shells, and programs, leave it to us.
    """
    value = value.strip()
    if value.startswith("~") and any(getattr(each, "is_path", False) for each in key.types):
        return literal(str(expanded(value)))
    read = _read(value)
    if read is None or isinstance(read, str | dict):
        return value
    if value[0] + value[-1] == "[]" and _accepts(key, [_ANY_TEXT]):
        return f"[{','.join(_as_text(piece, key) for piece in _split(value[1:-1]) if piece)}]"
    is_number = type(read) is int and str(read) == value
    return value if is_number and (_accepts(key, read) or _accepts(key, [read])) else literal(value)


def _read(value: str) -> Any:
    try:
        return Override.parse(f"key={value}").value
    except ConfigError:
        return _UNREADABLE


def _split(value: str) -> list[str]:
    """Return what is between the commas of a value, but for those in quotes and brackets."""
    parts = [""]
    for part in _PART.findall(value):
        if part == ",":
            parts.append("")
        else:
            parts[-1] += part
    return parts


def _accepts(key: Key, value: Any) -> bool:
    with suppress(UserError):
        return any(each.accepts(value) for each in key.types if isinstance(each, Type))
    return False
