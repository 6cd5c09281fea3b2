"""Tables of a page that are sorted by a click on a column."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dlcexp.text import number


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, and the key by which it is sorted; None goes last."""

    text: str
    key: float | str | None
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A table that can be sorted by each of its columns.

    Attributes:
        title: of the table, for those who do not see it.
        columns: name of each column and whether it holds numbers.
        rows: cells.
    """

    title: str
    columns: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[Cell]]


def number_cell(value: float, *, strong: bool = False) -> Cell:
    """Return a cell with a number; NaN goes last."""
    return Cell(number(value), sort_key(value), strong)


def sort_key(value: float) -> float | None:
    return None if math.isnan(value) else value
