"""Tables of a page that are sorted by a click, and how numbers are put there and everywhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_MINUTE, _HOUR = 60, 3600


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what stands in it, and by what it is sorted; None goes last."""

    text: str
    key: float | str | None
    strong: bool = False


@dataclass(frozen=True)
class Grid:
    """A table that can be sorted by each of its columns.

    Attributes:
        title: of the table, for those who do not see it.
        columns: name of each column and whether it holds numbers.
        rows: cells.
    """

    title: str
    columns: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[Cell]]


def number(value: float) -> str:
    """A metric to as many digits as anyone reads; a dash for NaN."""
    if math.isnan(value):
        return "–"
    if value == 0 or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def time(seconds: float) -> str:
    """A duration such as `42 s`, `3:05 min` or `2:10 h`."""
    if math.isnan(seconds):
        return "–"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)}:{int(seconds % _MINUTE):02d} min"
    return f"{int(seconds // _HOUR)}:{int(seconds % _HOUR // _MINUTE):02d} h"


def number_cell(value: float, *, strong: bool = False) -> Cell:
    """A number; one that is none goes last."""
    return Cell(number(value), sort_key(value), strong)


def sort_key(value: float) -> float | None:
    return None if math.isnan(value) else value
