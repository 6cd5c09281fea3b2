"""A sweep as command lines of single runs, each of its values in one of them."""

from collections.abc import Iterable
from typing import Any

from dlcexp.errors import ConfigError


def one_at_a_time(overrides: Iterable[str]) -> list[list[str]]:
    """Command lines without sweeps: one of all first values, and one more for each other value."""
    fixed: list[str] = []
    sweeps: list[list[str]] = []
    for values in map(_values, overrides):
        if len(values) > 1:
            sweeps.append(values)
        else:
            fixed += values
    lines = [[*fixed, *(sweep[0] for sweep in sweeps)]]
    for position, sweep in enumerate(sweeps):
        others = [other[0] for place, other in enumerate(sweeps) if place != position]
        lines += [[*fixed, *others, further] for further in sweep[1:]]
    return lines


def _values(word: str) -> list[str]:
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
