"""Differences between experiments, by the keys that a user would type."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlcexp.config.overrides import Override
from dlcexp.runs.folder import PRECISION
from dlcexp.trees import ABSENT, leaves, select
from dlcexp.vocabulary import AUTO

# Factors that make a repeat of the same recipe, not another recipe: those by which the frames are
# drawn, and the seed of training.
SPLIT_KEYS = ("split.fold", "split.seed")
REPEATS = ("seed", *SPLIT_KEYS)

# Keys of where a run computes and how it is shown, or that training itself fills in.
_NO_FACTORS = (
    "allow_targets",
    "data.cache",
    "detector.num_workers",
    "device",
    "evaluation.examples",
    "export",
    "hydra",
    "logger",
    "model.heads.bodypart.predictor.edges_to_keep",
    "resume",
    "save_epochs",
    "sweep",
    "trainer.display_iters",
    "trainer.num_workers",
    "trainer.pin_memory",
    "trainer.progress_bar",
)

# What a model recommends takes effect in other keys, and is shown there.
_RECOMMENDATIONS = "recipe"
_TARGET = "_target_"
# What a network starts from, and what follows from it: `auto` until a run begins.
_STARTS = ("weights", "freeze_bn_stats")


@dataclass(frozen=True)
class Factor:
    """A key in which experiments differ.

    Attributes:
        key: as one types it: `optimizer`, `model/backbone`, `optimizer.lr`.
        name: short for it, unique among the factors.
        path: the node in the tree.
        choice: whether it picks an option of a group.
    """

    key: str
    name: str
    path: str
    choice: bool

    @property
    def repeat(self) -> bool:
        """Return True if experiments that differ in it alone are repeats of one recipe."""
        return self.key in REPEATS

    def value(self, tree: Mapping[str, Any], overrides: Mapping[str, str]) -> Any:
        """Its value in an experiment: an option, a plain value, or `ABSENT`."""
        if self.choice:
            return overrides[self.key] if self.key in overrides else _target(tree, self.path)
        found = select(tree, self.path, ABSENT)
        if found is ABSENT and self.key in overrides and not tree:
            return overrides[self.key]
        if isinstance(found, str) and self.path.endswith(_TARGET):
            return found.rpartition(".")[2]
        return found


def find_factors(
    trees: Sequence[Mapping[str, Any]],
    overrides: Sequence[Mapping[str, str]],
    swept: Sequence[str] = (),
) -> tuple[Factor, ...]:
    """Return the keys in which experiments differ.

    First those that were typed and differ; then, if these do not explain everything, keys of the
    trees that differ in addition, whatever made them differ.

    Args:
        trees: resolved trees; an empty one for an experiment that cannot be read.
        overrides: their values as typed, by key.
        swept: keys whose order counts, if they are among the factors.
    """
    leaves = [_leaves(tree) for tree in trees]
    typed = [*swept, *dict.fromkeys(key for each in overrides for key in each)]
    keys = [key for key in dict.fromkeys(typed) if _differs(key, trees, overrides)]
    factors = [_typed_factor(key, trees, overrides) for key in keys]
    for path in _differing_paths(leaves):
        if not _explained(path, factors, trees, overrides, leaves):
            factors.append(_tree_factor(path))
    return _named(factors)


def values_by_key(overrides: Iterable[str]) -> dict[str, str]:
    """Return the values of overrides as typed, without quotes, by key without prefix."""
    read = map(Override.with_text, overrides)
    return {each.name: "(removed)" if each.value is None else str(each.value) for each in read}


def _differs(
    key: str, trees: Sequence[Mapping[str, Any]], overrides: Sequence[Mapping[str, str]]
) -> bool:
    factor = _typed_factor(key, trees, overrides)
    if _is_ignored(factor.path) or key.startswith("pytorch_config"):
        return False
    known = [(tree, typed) for tree, typed in zip(trees, overrides, strict=True) if tree or typed]
    values = {repr(factor.value(tree, typed)) for tree, typed in known}
    return len(values) > 1


def _typed_factor(
    key: str, trees: Sequence[Mapping[str, Any]], overrides: Sequence[Mapping[str, str]]
) -> Factor:
    group, _, package = key.partition("@")
    path = package or group.replace("/", ".")
    nodes = [select(tree, path, ABSENT) for tree in trees if tree]
    texts = [typed[key] for typed in overrides if key in typed]
    bare = not any(text.startswith(("{", "[")) for text in texts)
    into_node = any(isinstance(node, Mapping) for node in nodes) and bare
    choice = "/" in group or bool(package) or into_node or all(n is ABSENT for n in nodes)
    return Factor(key, key, path, choice and bool(nodes))


def _tree_factor(path: str) -> Factor:
    key = path.removesuffix(f".{_TARGET}")
    return Factor(key, key, path, choice=False)


def _named(factors: Iterable[Factor]) -> tuple[Factor, ...]:
    """Factors with names as short as can be: the last two parts of their keys, or more."""
    factors = tuple(factors)
    return tuple(
        Factor(f.key, _short(f.path, [o.path for o in factors if o != f]), f.path, f.choice)
        for f in factors
    )


def _short(path: str, others: Sequence[str]) -> str:
    parts = path.removesuffix(f".{_TARGET}").split(".")
    for count in range(min(2, len(parts)), len(parts)):
        tail = ".".join(parts[-count:])
        if not any(
            f".{other}".removesuffix(f".{_TARGET}").endswith(f".{tail}") for other in others
        ):
            return tail
    return ".".join(parts)


def _differing_paths(leaves: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the paths of leaves that differ, classes first: what follows from them is left out.

    What networks start from, which follows from their names, is last.
    """
    paths = dict.fromkeys(path for each in leaves for path in each)
    differing = [path for path in paths if len(set(map(repr, _settled(path, leaves)))) > 1]
    return sorted(
        differing,
        key=lambda path: (not path.endswith(_TARGET), _place_of_start(path), path.count(".")),
    )


def _settled(path: str, leaves: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return the values of a leaf in all trees that have settled it."""
    return [each.get(path, ABSENT) for each in leaves if each and not _is_open(path, each)]


def _is_open(path: str, leaves: Mapping[str, Any]) -> bool:
    settled = path == PRECISION or bool(_place_of_start(path))
    return settled and leaves.get(path) == AUTO


def _place_of_start(path: str) -> int:
    """Return 1 for what a network starts from, 2 for what follows from it, 0 for other keys."""
    name = path.rpartition(".")[2]
    return _STARTS.index(name) + 1 if name in _STARTS else 0


def _explained(
    path: str,
    factors: Sequence[Factor],
    trees: Sequence[Mapping[str, Any]],
    overrides: Sequence[Mapping[str, str]],
    leaves: Sequence[Mapping[str, Any]],
) -> bool:
    """Return True if experiments that are equal in all factors are equal in this leaf, too.

    Runs that start from different weights are not repeats, whatever their seeds.
    """
    if _place_of_start(path):
        factors = [factor for factor in factors if not factor.repeat]
    seen: dict[str, str] = {}
    for tree, typed, own in zip(trees, overrides, leaves, strict=True):
        if own and not _is_open(path, own):
            values = repr([factor.value(tree, typed) for factor in factors])
            value = repr(own.get(path, ABSENT))
            if seen.setdefault(values, value) != value:
                return False
    return True


def _leaves(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that can be factors, by dotted path; an empty node is as good as none."""
    return {
        path: value
        for path, value in leaves(tree).items()
        if value != {} and not _is_ignored(path) and _RECOMMENDATIONS not in path.split(".")
    }


def _is_ignored(path: str) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in _NO_FACTORS)


def _target(tree: Mapping[str, Any], path: str) -> Any:
    """The class of a node whose option was not typed."""
    target = select(tree, f"{path}.{_TARGET}", ABSENT)
    return target.rpartition(".")[2] if isinstance(target, str) else ABSENT
