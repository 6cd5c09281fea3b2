"""Mistyped names, and the names that they mean."""

import re
from collections.abc import Iterable

# Letters that identify a part of a name: those of a short one, the beginning of a long one.
_SHORT, _BEGINNING = 3, 5


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that was probably meant by `name`; None if none is close.

    Either at most a third of the letters differ (`modle` is `model`), or the parts and numbers of
    the name begin some of the candidate (`hrnet32` is `hrnet_w32`, `cosine` is
    `cosine_annealing_lr`). Case and separators do not count.
    """
    typed, known = _letters(name), {each: _letters(each) for each in candidates}
    distance = {each: _distance(typed, letters) for each, letters in known.items()}
    close = [each for each in known if 3 * distance[each] <= max(len(typed), len(known[each]))]
    if close:
        return min(close, key=lambda each: distance[each])
    longer = [each for each in known if _abbreviates(name, each)]
    begun = {each: known[each].startswith(typed) for each in longer}
    return min(longer, key=lambda each: (not begun[each], len(each)), default=None)


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


def _distance(one: str, other: str) -> int:
    """Return how many letters to insert, delete, replace, or swap with the next one."""
    two_before: list[int] = []
    before = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        row = [i]
        for j, its in enumerate(other, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != its)))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == its:
                row[j] = min(row[j], two_before[j - 2] + 1)
        two_before, before = before, row
    return before[-1]


def _abbreviates(name: str, candidate: str) -> bool:
    """Return True if the parts and numbers of `name` begin some of `candidate`, in this order."""
    parts, remaining = _parts(name), iter(_parts(candidate))
    is_specific = any(len(part) >= _SHORT or part.isdecimal() for part in parts)
    return is_specific and all(any(_begins(part, its) for its in remaining) for part in parts)


def _parts(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+|\d+", name.lower())


def _begins(part: str, its: str) -> bool:
    """Return True if `part` is the number `its`, or is `its` or begins it, maybe mistyped."""
    if part.isdecimal():
        return part == its
    return its.startswith(part[:_BEGINNING]) or 4 * _distance(part, its) <= max(len(part), len(its))
