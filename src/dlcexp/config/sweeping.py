"""Sweeps as command lines of single runs, each of their values in one of them."""

from collections.abc import Iterable
from typing import Any

from dlcexp.errors import ConfigError


def one_at_a_time(columns: Iterable[list[str]]) -> list[list[str]]:
    """Rows with a value of each column: one of all first values, one more for each other value."""
    columns = list(columns)
    first = [column[0] for column in columns]
    rows = [first]
    for place, column in enumerate(columns):
        rows += [[*first[:place], value, *first[place + 1 :]] for value in column[1:]]
    return rows


def values_of(word: str) -> list[str]:
    """An override for each value of a sweep; the word itself if it is none."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import IntervalSweep
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(word)
        if not override.is_sweep_override():
            return [word]
        name, value = word.partition("=")[0], override.value()
        if isinstance(value, IntervalSweep):
            return [f"{name}={_number(end, override)}" for end in (value.start, value.end)]
        return [f"{name}={each}" for each in override.sweep_string_iterator()] or [word]
    except (HydraException, NotImplementedError, TypeError, ValueError):
        return [word]  # said when the whole is composed


def _number(end: Any, override: Any) -> Any:
    """The end of an interval, whole where the sweep is: `int(interval(1, 8))`."""
    if end is None:
        raise ConfigError(override.key_or_group, "an interval needs both ends.")
    whole = "int(" in str(override.input_line).replace(" ", "")
    return int(end) if whole else end
