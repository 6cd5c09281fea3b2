"""Assembly of keypoint detections into individuals, along the strongest links.

Lauer et al., "Multi-animal pose estimation, identification and tracking with DeepLabCut", Nature
Methods 2022, section "Data-driven individual assembly".

The `rank`-th best of the n peaks of a bodypart is the detection `bodypart * n + rank`.
"""

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

# An individual with fewer links is not kept.
LEAST_LINKS = 2
# Two individuals are one if this part of the keypoints of each lies in the box around the other.
SAME_OVERLAP = 0.8


@dataclass(frozen=True)
class Links:
    """Pairs of detections of different bodyparts and how strongly the fields connect them."""

    affinity: list[float]
    start: list[int]
    end: list[int]


@dataclass
class Assembly:
    """Detections of one individual by bodypart, and the affinities of the links between them."""

    detections: dict[int, int] = field(default_factory=dict)
    affinities: list[float] = field(default_factory=list)

    @property
    def strength(self) -> float:
        """Sum of the affinities."""
        return sum(self.affinities)

    @property
    def affinity(self) -> float:
        """Mean of the affinities."""
        return self.strength / len(self.affinities)


def strongest_links(
    graph: np.ndarray, affinities: np.ndarray, usable: np.ndarray, min_affinity: float
) -> list[Links]:
    """Return for each edge the pairs of detections of the largest summed affinity, by image.

    Args:
        graph: (e, 2) the edges, each two bodyparts.
        affinities: (b, e, n, n), of each detection of the first and of the second bodypart.
        usable: (b, k, n) whether there is such a detection, best first.
        min_affinity: least affinity of a link.

    Returns:
        The links of each image, in the order of the edges.
    """
    rows, columns = usable[:, graph[:, 0]], usable[:, graph[:, 1]]
    there = rows[..., :, None] & columns[..., None, :]
    chosen, settled = _mutual_best(np.where(there, affinities, -np.inf), there)
    counts = rows.sum(axis=2), columns.sum(axis=2)
    for image, edge in np.argwhere(~settled):
        matrix = affinities[image, edge, : counts[0][image, edge], : counts[1][image, edge]]
        chosen[image, edge][linear_sum_assignment(matrix, maximize=True)] = True
    chosen &= affinities >= min_affinity
    image, edge, first, second = np.nonzero(chosen)
    n = usable.shape[2]
    parts = (affinities[chosen], graph[edge, 0] * n + first, graph[edge, 1] * n + second)
    borders = np.searchsorted(image, np.arange(1, len(usable)))
    return [
        Links(*(part.tolist() for part in each))
        for each in zip(*(np.split(part, borders) for part in parts), strict=True)
    ]


def assemble(links: Links, bodyparts: int, ranks: int) -> list[Assembly]:
    """Assemble individuals, those with most keypoints first, and of equally many the strongest.

    Connected detections that are not more than an individual has are one. Among the others, each
    individual grows from the strongest link whose detections are free, always by the strongest
    link that touches it, until it is complete or nothing fits.

    Args:
        links: in the order of the edges.
        bodyparts: detections of a complete individual.
        ranks: n, detections of a bodypart.
    """
    assemblies = []
    crowded: list[int] = []
    for detections, members in _components(links):
        if len(detections) > bodyparts:
            crowded += members
        else:
            assemblies.append(_joined(links, detections, members, ranks))
    crowded.sort(key=lambda link: -links.affinity[link])
    assemblies += _grow_all(links, crowded, bodyparts, ranks)
    kept = [assembly for assembly in assemblies if len(assembly.affinities) >= LEAST_LINKS]
    return sorted(kept, key=lambda assembly: (-len(assembly.detections), -assembly.strength))


def distinct(assemblies: Sequence[Assembly], points: np.ndarray) -> list[Assembly]:
    """Return the individuals that do not cover the same place as an earlier one.

    Args:
        assemblies: as `assemble` orders them.
        points: (k n, 2) of each detection, px.
    """
    if not assemblies:
        return []
    size = max(len(assembly.detections) for assembly in assemblies)
    keypoints = np.full((len(assemblies), size, 2), np.nan, points.dtype)
    for i, assembly in enumerate(assemblies):
        keypoints[i, : len(assembly.detections)] = points[list(assembly.detections.values())]
    low, high = np.nanmin(keypoints, axis=1), np.nanmax(keypoints, axis=1)
    each = keypoints[:, None]
    inside = ((each >= low[:, None]) & (each <= high[:, None])).all(axis=-1).sum(axis=-1)
    share = inside / np.array([len(assembly.detections) for assembly in assemblies])[:, None]
    same = np.minimum(share, share.T) >= SAME_OVERLAP
    kept: list[int] = []
    for i in range(len(assemblies)):
        if not same[i, kept].any():
            kept.append(i)
    return [assemblies[i] for i in kept]


def _mutual_best(affinities: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return assignments (b, e, n, n) that need no solver, and for which edges (b, e) they hold.

    Where each detection of the bodypart that has fewer has one best partner, and no two the same,
    these pairs sum to the most, and nothing else does.
    """
    chosen = np.zeros(there.shape, dtype=bool)
    settled = np.zeros(there.shape[:2], dtype=bool)
    fewer = there.any(axis=3).sum(axis=2), there.any(axis=2).sum(axis=2)
    for axis, small, large in ((3, *fewer), (2, *reversed(fewer))):
        best = (affinities == affinities.max(axis=axis, keepdims=True)) & there
        single = (best.sum(axis=2) <= 1).all(axis=2) & (best.sum(axis=3) <= 1).all(axis=2)
        holds = single & (small <= large) & ~settled
        chosen[holds] = best[holds]
        settled |= holds
    return chosen, settled


def _components(links: Links) -> list[tuple[list[int], list[int]]]:
    """Connected detections and the links between them, in the order of their last links."""
    component_of: dict[int, tuple[list[int], list[int]]] = {}
    for link, ends in enumerate(zip(links.start, links.end, strict=True)):
        touched = {id(found): found for end in ends if (found := component_of.get(end))}
        older, *newer = sorted(touched.values(), key=lambda each: each[1][-1]) or [([], [])]
        for detections, members in newer:
            older[0].extend(detections)
            older[1].extend(members)
            component_of.update(dict.fromkeys(detections, older))
        for end in ends:
            if component_of.get(end) is not older:
                older[0].append(end)
                component_of[end] = older
        older[1].append(link)
    unique = {id(component): component for component in component_of.values()}
    return sorted(unique.values(), key=lambda component: component[1][-1])


def _joined(
    links: Links, detections: Sequence[int], members: Sequence[int], ranks: int
) -> Assembly:
    """Return the individual of a component, which takes the first detection of each bodypart.

    A link counts if it brings one, or joins two that are there.
    """
    assembly = Assembly()
    if len({detection // ranks for detection in detections}) == len(detections):
        assembly.detections = {detection // ranks: detection for detection in detections}
        assembly.affinities = [links.affinity[link] for link in sorted(members)]
        return assembly
    for link in sorted(members):
        ends = (links.start[link], links.end[link])
        missing = [end for end in ends if end // ranks not in assembly.detections]
        if missing or all(assembly.detections[end // ranks] == end for end in ends):
            assembly.affinities.append(links.affinity[link])
        for end in missing:
            assembly.detections[end // ranks] = end
    return assembly


def _grow_all(links: Links, order: Sequence[int], bodyparts: int, ranks: int) -> list[Assembly]:
    """Individuals grown one after the other from links, strongest first."""
    touching: dict[int, list[int]] = defaultdict(list)
    for place, link in enumerate(order):
        touching[links.start[link]].append(place)
        touching[links.end[link]].append(place)
    taken: set[int] = set()
    assemblies = []
    for place, link in enumerate(order):
        if links.start[link] in taken or links.end[link] in taken:
            continue
        assembly = _grown(place, links, order, touching, taken, bodyparts, ranks)
        taken.update(assembly.detections.values())
        assemblies.append(assembly)
    return assemblies


def _grown(
    seed: int,
    links: Links,
    order: Sequence[int],
    touching: dict[int, list[int]],
    taken: set[int],
    bodyparts: int,
    ranks: int,
) -> Assembly:
    """Return the individual that grows from a link by the links that touch it.

    Of equally strong links the one that has touched it for longest counts.

    Args:
        seed: index of the link in `order`.
        order: all links, strongest first.
        touching: for each detection the places of its links.
        taken: detections of other individuals.
    """
    assembly = Assembly()
    queue: list[tuple[float, int, int]] = []
    queued = {seed}

    def add(place: int) -> None:
        """Take in a link and those of its ends that are new."""
        link = order[place]
        ends = (links.start[link], links.end[link])
        new = [end for end in ends if end // ranks not in assembly.detections]
        assembly.detections.update((end // ranks, end) for end in new)
        assembly.affinities.append(links.affinity[link])
        for other in sorted({each for end in new for each in touching[end]} - queued):
            heapq.heappush(queue, (-links.affinity[order[other]], len(queued), other))
            queued.add(other)

    def fits(place: int) -> bool:
        """Return whether each end of a touching link is in the individual, or free to join it."""
        link = order[place]
        for end in (links.start[link], links.end[link]):
            own = assembly.detections.get(end // ranks)
            if own != end and (own is not None or end in taken):
                return False
        return True

    add(seed)
    while queue and len(assembly.detections) < bodyparts:
        place = heapq.heappop(queue)[2]
        if fits(place):
            add(place)
    return assembly
