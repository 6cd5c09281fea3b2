"""All mistakes of a command in one error: what is left of it is tried without those found."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from dlcexp.config.options import groups
from dlcexp.config.overrides import Override
from dlcexp.errors import ConfigError, ProjectError, UserError, separate, together
from dlcexp.project import opened_once

Result = TypeVar("Result")


@opened_once()
def all_mistakes(
    overrides: Sequence[Override],
    attempt: Callable[[list[Override]], Result],
    *,
    decisive: Collection[str] | None = None,
) -> Result:
    """Return `attempt(overrides)`, or raise every mistake in them, in the order they were typed.

    A mistake keeps later checks from running. So the attempt is repeated without the override to
    blame, or with the one that was probably meant.

    Args:
        overrides: of one command.
        attempt: composes and checks overrides.
        decisive: groups and keys that others rest on; None: every group, and `project`. Without
            an override of these, others would look like mistakes: nothing further is attempted.

    Raises:
        UserError: the only mistake, or `Mistakes`.
    """
    decisive = (*groups(), "project") if decisive is None else decisive
    left = dict(enumerate(overrides))
    assumed: set[int] = set()  # places of overrides that are as they were probably meant
    found: list[tuple[int, UserError]] = []
    while True:
        try:
            result = attempt(list(left.values()))
        except UserError as error:
            new = [(_place(each, left), each) for each in separate(error)]
        else:
            if not found:
                return result
            break
        found += [(place, error) for place, error in new if place not in assumed]
        before = dict(left)
        if not _set_aside(left, new, decisive):
            break
        assumed |= {place for place in left if left[place] != before[place]}
    raise together(error for _, error in sorted(found, key=lambda pair: pair[0]))


def _place(error: UserError, left: Mapping[int, Override]) -> int:
    """Return the place of the override to blame; beyond all of them where there is none."""
    nowhere = max(left, default=0) + 1
    if isinstance(error, ProjectError):
        key, override = "project", ""
    elif isinstance(error, ConfigError):
        key, override = error.key, error.override
    else:
        return nowhere
    key = key.replace("/", ".")
    keys = {place: each.name.replace("/", ".") for place, each in left.items()}
    named = [place for place, each in left.items() if each.text == override]
    exact = [place for place, own in keys.items() if key == own]
    around = [place for place, own in keys.items() if key.startswith(f"{own}.")]
    return (named or exact or around or [nowhere])[-1]


def _set_aside(
    left: dict[int, Override], found: Sequence[tuple[int, UserError]], decisive: Collection[str]
) -> bool:
    """Take mistakes out of the overrides; return False if no further attempt makes sense."""
    before = dict(left)
    for place, error in found:
        override = before.get(place)
        if override is None:
            continue
        if isinstance(error, ConfigError) and error.suggestion not in ("", override.text):
            left[place] = Override.parse(error.suggestion)
        elif override.key in decisive:
            return False
        else:
            left.pop(place, None)
    return left != before
