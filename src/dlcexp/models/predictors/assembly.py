"""Assembly of keypoint detections into individuals, along the strongest links.

Lauer et al., "Multi-animal pose estimation, identification and tracking with DeepLabCut", Nature
Methods 2022, section "Data-driven individual assembly".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

# An individual with fewer links is not kept.
LEAST_LINKS = 2
# Two individuals are one if this part of the keypoints of each lies in the box around the other.
SAME_OVERLAP = 0.8


@dataclass(frozen=True, order=True)
class Detection:
    """The `rank`-th best peak of a bodypart."""

    bodypart: int
    rank: int


@dataclass(frozen=True)
class Link:
    """Two detections of different bodyparts and how strongly the field connects them."""

    affinity: float
    start: Detection
    end: Detection


@dataclass
class Assembly:
    """Detections that belong to one individual, at most one per bodypart, and their links."""

    detections: dict[int, Detection] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)

    def __contains__(self, detection: Detection) -> bool:
        return self.detections.get(detection.bodypart) == detection

    def add(self, link: Link) -> None:
        """Take in a link and those detections at its ends whose bodyparts are still missing.

        A link between bodyparts that are both there already counts if it joins these detections.
        """
        ends = (link.start, link.end)
        missing = [end for end in ends if end.bodypart not in self.detections]
        if missing or all(end in self for end in ends):
            self.links.append(link)
        for end in missing:
            self.detections[end.bodypart] = end

    @property
    def strength(self) -> float:
        """Sum of the affinities."""
        return sum(link.affinity for link in self.links)

    @property
    def affinity(self) -> float:
        """Mean of the affinities."""
        return self.strength / len(self.links)


def strongest_links(
    graph: Sequence[tuple[int, int]],
    affinities: np.ndarray,
    usable: np.ndarray,
    min_affinity: float,
) -> list[Link]:
    """For each limb the pairs of detections whose affinities sum to the most.

    Args:
        graph: the limbs, each two bodyparts.
        affinities: (e, n, n), of each detection of the first and of the second bodypart.
        usable: (k, n) whether there is such a detection, best first.
        min_affinity: least affinity of a link.
    """
    links: list[Link] = []
    counts = usable.sum(axis=1)
    for (start, end), matrix in zip(graph, affinities, strict=True):
        matrix = matrix[: counts[start], : counts[end]]
        for i, j in zip(*linear_sum_assignment(matrix, maximize=True), strict=True):
            if matrix[i, j] >= min_affinity:
                links.append(Link(float(matrix[i, j]), Detection(start, i), Detection(end, j)))
    return links


def assemble(links: Sequence[Link], bodyparts: int) -> list[Assembly]:
    """Individuals, the strongest first.

    Connected detections that are not more than an individual has are one. Among the others, each
    individual grows from the strongest link whose detections are free, always by the strongest
    link that touches it, until it is complete or nothing fits.

    Args:
        links: in the order of the limbs.
        bodyparts: detections of a complete individual.
    """
    assemblies = []
    crowded: list[Link] = []
    for detections, component in _components(links):
        if len(detections) > bodyparts:
            crowded += component
            continue
        assembly = Assembly()
        for link in sorted(component, key=links.index):
            assembly.add(link)
        assemblies.append(assembly)
    assemblies += _grow_all(sorted(crowded, key=lambda link: -link.affinity), bodyparts)
    kept = [assembly for assembly in assemblies if len(assembly.links) >= LEAST_LINKS]
    return sorted(kept, key=lambda assembly: -assembly.strength)


def distinct(assemblies: Sequence[Assembly], points: np.ndarray) -> list[Assembly]:
    """The individuals that do not cover the same place as a stronger one.

    Args:
        assemblies: strongest first.
        points: (k, n, 2) of each detection, px.
    """
    kept: list[tuple[Assembly, np.ndarray]] = []
    for assembly in assemblies:
        found = assembly.detections.values()
        keypoints = np.array([points[detection.bodypart, detection.rank] for detection in found])
        if all(_overlap(keypoints, other) < SAME_OVERLAP for _, other in kept):
            kept.append((assembly, keypoints))
    return [assembly for assembly, _ in kept]


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """The smaller share of the keypoints (m, 2) of one that lie in the box around the other."""
    shares = [
        ((points >= box.min(axis=0)) & (points <= box.max(axis=0))).all(axis=1).mean()
        for points, box in ((first, second), (second, first))
    ]
    return float(min(shares))


def _components(links: Sequence[Link]) -> list[tuple[set[Detection], list[Link]]]:
    """Connected detections and the links between them."""
    components: list[tuple[set[Detection], list[Link]]] = []
    for link in links:
        ends = {link.start, link.end}
        touched = [component for component in components if component[0] & ends]
        components = [component for component in components if not component[0] & ends]
        detections = ends.union(*(component[0] for component in touched))
        members = [member for component in touched for member in component[1]]
        components.append((detections, [*members, link]))
    return components


def _grow_all(links: Sequence[Link], bodyparts: int) -> list[Assembly]:
    """Individuals grown one after the other from links, strongest first."""
    taken: set[Detection] = set()
    assemblies = []
    for link in links:
        if link.start in taken or link.end in taken:
            continue
        assembly = _grown(link, links, taken, bodyparts)
        taken.update(assembly.detections.values())
        assemblies.append(assembly)
    return assemblies


def _grown(seed: Link, links: Sequence[Link], taken: set[Detection], bodyparts: int) -> Assembly:
    """The individual that grows from a link by the links that touch it.

    Of equally strong links the one that has touched it for longest counts.
    """
    assembly = Assembly()
    assembly.add(seed)
    waiting = [link for link in links if link is not seed]
    touching: list[Link] = []
    while len(assembly.detections) < bodyparts:
        touching += [link for link in waiting if _touches(link, assembly)]
        waiting = [link for link in waiting if not _touches(link, assembly)]
        fitting = [link for link in touching if _fits(link, assembly, taken)]
        if not fitting:
            break
        strongest = max(fitting, key=lambda link: link.affinity)
        assembly.add(strongest)
        touching.remove(strongest)
    return assembly


def _touches(link: Link, assembly: Assembly) -> bool:
    return link.start in assembly or link.end in assembly


def _fits(link: Link, assembly: Assembly, taken: set[Detection]) -> bool:
    """Whether the link touches the assembly, and its other end is in it or free to join."""
    inside = [link.start in assembly, link.end in assembly]
    if all(inside) or not any(inside):
        return all(inside)
    other = link.end if inside[0] else link.start
    return other not in taken and other.bodypart not in assembly.detections
