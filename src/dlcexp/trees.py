"""Plain trees of mappings, lists and values: selected from, merged, flattened, compared."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


class Absent:
    """The type of `ABSENT`, the value of a key that a tree does not have."""

    def __repr__(self) -> str:
        return "–"


# Unlike null, which is a value.
ABSENT = Absent()


def select(tree: Any, path: str, default: Any = None) -> Any:
    """Return the value at a dotted path, or `default`; a number names a place in a list."""
    for part in path.split("."):
        if isinstance(tree, Mapping) and part in tree:
            tree = tree[part]
        elif isinstance(tree, list) and part.isdecimal() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            return default
    return tree


def put(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path in place, and make the mappings above it."""
    *parents, name = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[name] = value


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with the values of `above`; mappings that both have are merged, too."""
    result = dict(below)
    for name, value in above.items():
        before = result.get(name)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        result[name] = merged(before, value) if both else value  # type: ignore[arg-type]
    return result


def leaves(node: Any, path: str = "") -> dict[str, Any]:
    """Return the values of a tree by dotted path; lists and empty mappings are values."""
    if not isinstance(node, Mapping) or not node:
        return {path: node}
    found: dict[str, Any] = {}
    for name, child in node.items():
        found |= leaves(child, join(path, name))
    return found


def nodes(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield a tree and everything in it, each by its dotted path: `split.test[0]` in a list."""
    yield path, tree
    if isinstance(tree, Mapping):
        for name, child in tree.items():
            yield from nodes(child, join(path, name))
    elif isinstance(tree, list | tuple):
        for index, child in enumerate(tree):
            yield from nodes(child, f"{path}[{index}]")


def join(path: str, name: object) -> str:
    """Return the dotted path of a key below `path`, which is empty at the top."""
    return f"{path}.{name}" if path else str(name)


def same(one: Any, other: Any) -> bool:
    """Return True if YAML reads both alike: 1 and 1.0 are the same, 1 and true are not."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


@dataclass(frozen=True)
class Difference:
    """One key at which two trees differ.

    Attributes:
        key: full dotted path.
        first: the value in the first tree, or `ABSENT`.
        second: the value in the second tree, or `ABSENT`.
    """

    key: str
    first: Any
    second: Any


def differences(first: Any, second: Any, key: str = "") -> Iterator[Difference]:
    """Yield the differences of two plain trees, in the order of their keys.

    A node that only one of them has is one difference, and so is a list of a different length. An
    empty mapping that only one of them has is not: it is the default of a key that is newer.
    """
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for name in dict.fromkeys([*first, *second]):
            yield from differences(
                first.get(name, ABSENT), second.get(name, ABSENT), join(key, name)
            )
    elif _lists_of_nodes(first, second):
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from differences(one, other, f"{key}[{index}]")
    elif not same(first, second) and any(each not in ({}, ABSENT) for each in (first, second)):
        yield Difference(key, first, second)


def _lists_of_nodes(first: Any, second: Any) -> bool:
    both = isinstance(first, list) and isinstance(second, list) and len(first) == len(second)
    return both and any(isinstance(item, Mapping) for item in first)
