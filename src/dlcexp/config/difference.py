"""What differs between two resolved trees."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dlcexp.deeplabcut.form import same

# What a model recommends takes effect in other keys, and is told there.
_RECOMMENDATIONS = "recipe"


class Absent:
    """Stands where a tree has no such key, or leaves a choice at its default."""

    def __repr__(self) -> str:
        return "–"


ABSENT = Absent()


@dataclass(frozen=True)
class Difference:
    """One key that two trees do not have in common, or have with other values.

    Attributes:
        key: full dotted path.
        first: the value in the first tree, or `ABSENT`.
        second: the value in the second tree, or `ABSENT`.
    """

    key: str
    first: Any
    second: Any


def differences(first: Any, second: Any, key: str = "") -> Iterator[Difference]:
    """The differences of two plain trees, in the order of their keys.

    A node that only one of them has is one difference; so is a list of other length.
    Recommendations (`recipe`) are left out.
    """
    if key.rpartition(".")[2] == _RECOMMENDATIONS:
        return
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for name in dict.fromkeys([*first, *second]):
            below = f"{key}.{name}" if key else str(name)
            yield from differences(first.get(name, ABSENT), second.get(name, ABSENT), below)
    elif _lists_of_nodes(first, second):
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from differences(one, other, f"{key}[{index}]")
    elif not same(first, second):
        yield Difference(key, first, second)


def _lists_of_nodes(first: Any, second: Any) -> bool:
    both = isinstance(first, list) and isinstance(second, list) and len(first) == len(second)
    return both and any(isinstance(item, Mapping) for item in first)
