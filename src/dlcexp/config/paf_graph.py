"""Graphs of part-affinity fields: the pairs of bodyparts, or edges, that have a field.

Each check raises a `ConfigError` with the key and what is allowed.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from dlcexp.config.build import iterate_targets
from dlcexp.errors import ConfigError, nearest

KEY = "model.recipe.graph"
# A complete graph of more edges is pruned to a few for each bodypart, as DeepLabCut does.
MOST_EDGES = 100
EDGES_PER_BODYPART = 3

Edge = tuple[int, int]


def edges_of(
    graph: Any, bodyparts: Sequence[str], skeleton: Sequence[Sequence[str]], seed: int
) -> list[list[int]]:
    """Return the edges of `graph`, as indices of bodyparts.

    Args:
        graph: `complete` (every pair; of many bodyparts a random connected part), `skeleton` (that
            of the project), or edges, each two bodyparts by name or index.
        bodyparts: those of the project.
        skeleton: that of the project, by name.
        seed: of the pruning.
    """
    if graph == "complete":
        every = list(combinations(range(len(bodyparts)), 2))
        return [list(edge) for edge in _pruned(every, bodyparts, seed)]
    if graph == "skeleton":
        if not skeleton:
            raise ConfigError(
                KEY, "'skeleton', but the project's skeleton is empty. Use complete, or give edges."
            )
        known = set(bodyparts)
        within = [edge for edge in skeleton if known.issuperset(edge)]
        if not within:
            names = ", ".join("-".join(map(str, edge)) for edge in skeleton)
            raise ConfigError(
                KEY,
                f"'skeleton', but no edge of the project's skeleton ({names}) joins two "
                f"of its bodyparts ({', '.join(bodyparts)}). Use complete, or give edges.",
            )
        ends = (sorted(_index(edge, bodyparts)) for edge in within)
        return [list(edge) for edge in dict.fromkeys(map(tuple, ends))]
    if isinstance(graph, str) or not isinstance(graph, Sequence):
        hint = nearest(str(graph), ("complete", "skeleton"))
        raise ConfigError(
            KEY, f"{graph!r}; allowed are complete, skeleton, or edges such as [[0,1],[1,2]].{hint}"
        )
    return [list(_index(edge, bodyparts)) for edge in graph]


def check_graph(predictor: Mapping[str, Any], key: str, bodyparts: Sequence[str]) -> None:
    """Reject a graph by which the individuals of a project cannot be assembled.

    Args:
        predictor: its node, with `graph` and `edges_to_keep`.
        key: where the node is in the tree.
        bodyparts: those of the project.
    """
    graph, kept = predictor["graph"], predictor["edges_to_keep"]
    _check_edges(f"{key}.graph", graph, bodyparts)
    key = f"{key}.edges_to_keep"
    outside = [edge for edge in kept if not 0 <= edge < len(graph)]
    if outside:
        raise ConfigError(
            key, f"{outside[0]} is not an index of the graph; its edges are 0 to {len(graph) - 1}."
        )
    if len(set(kept)) != len(kept):
        raise ConfigError(key, f"{kept!r} has an edge twice.")
    _check_connected(key, [graph[edge] for edge in kept], bodyparts)


def check_fields(head: Mapping[str, Any], key: str) -> None:
    """Reject a head whose fields are not those of the graph by which they are decoded.

    Args:
        head: its node, with `predictor`, `paf_config` and `target_generator`.
        key: where the node is in the tree.
    """
    graph = head["predictor"]["graph"]
    channels = head["paf_config"].get("channels")
    fields = channels[-1] if isinstance(channels, list) and channels else channels
    if fields != 2 * len(graph):
        raise ConfigError(
            f"{key}.paf_config.channels",
            f"the last is {fields}, but {len(graph)} edges need {2 * len(graph)} fields. "
            f"Set {KEY}, which fits all to it.",
        )
    generators = iterate_targets(head["target_generator"], f"{key}.target_generator")
    for path, generator in generators:
        if generator.get("graph", graph) != graph:
            raise ConfigError(
                f"{path}.graph", f"is not {key}.predictor.graph, by which the fields are decoded."
            )


def _check_edges(key: str, graph: Sequence[Sequence[int]], bodyparts: Sequence[str]) -> None:
    last = len(bodyparts) - 1
    for edge in graph:
        if len(edge) != 2 or edge[0] == edge[1]:
            raise ConfigError(key, f"{edge!r} is not a pair of two bodyparts.")
        if not all(0 <= each <= last for each in edge):
            raise ConfigError(
                key,
                f"{edge!r} is out of range: bodyparts are 0 ({bodyparts[0]}) to {last}"
                f" ({bodyparts[last]}).",
            )
    if len({frozenset(edge) for edge in graph}) != len(graph):
        raise ConfigError(key, "it has an edge twice.")
    _check_connected(key, graph, bodyparts)


def _check_connected(key: str, edges: Sequence[Sequence[int]], bodyparts: Sequence[str]) -> None:
    reached, size = {0}, 0
    while len(reached) > size:
        size = len(reached)
        for edge in edges:
            if reached.intersection(edge):
                reached.update(edge)
    apart = [name for number, name in enumerate(bodyparts) if number not in reached]
    if apart:
        raise ConfigError(
            key,
            f"does not connect {bodyparts[0]} with {', '.join(apart)};"
            " individuals are assembled along it. Add edges that do.",
        )


def _pruned(edges: list[Edge], bodyparts: Sequence[str], seed: int) -> list[Edge]:
    """All edges if they are not too many, else a random part that still connects all bodyparts."""
    if len(edges) <= MOST_EDGES:
        return edges
    shuffled = random.Random(seed).sample(edges, len(edges))
    chosen = spanning_tree(shuffled, len(bodyparts))
    further = [edge for edge in shuffled if edge not in chosen]
    return sorted(chosen + further[: EDGES_PER_BODYPART * len(bodyparts) - len(chosen)])


def spanning_tree(edges: Iterable[Edge], bodyparts: int) -> list[Edge]:
    """Of these edges each that joins what those before it leave apart (Kruskal, 1956)."""
    group = list(range(bodyparts))
    tree = []
    for first, second in edges:
        kept, merged = group[first], group[second]
        if kept != merged:
            group = [kept if each == merged else each for each in group]
            tree.append((first, second))
    return tree


def _index(edge: Any, bodyparts: Sequence[str]) -> Edge:
    """Return an edge as indices."""
    if isinstance(edge, str) or not isinstance(edge, Sequence) or len(edge) != 2:
        raise ConfigError(KEY, f"{edge!r} is not an edge: give two bodyparts, such as [0,1].")
    first, second = (_bodypart(each, bodyparts) for each in edge)
    return first, second


def _bodypart(name: Any, bodyparts: Sequence[str]) -> int:
    if isinstance(name, int) and not isinstance(name, bool):
        return name  # its range is checked with the whole tree
    if name not in bodyparts:
        raise ConfigError(
            KEY,
            f"{name!r} is not a bodypart of the project, which has {', '.join(bodyparts)}."
            f"{nearest(str(name), bodyparts)}",
        )
    return list(bodyparts).index(name)
