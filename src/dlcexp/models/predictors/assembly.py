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
        """Take in a link and the detections at its ends."""
        self.links.append(link)
        for detection in (link.start, link.end):
            self.detections[detection.bodypart] = detection

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
    """For each limb the pairs of detections whose affinities sum to the most, strongest first.

    Args:
        graph: the limbs, each two bodyparts.
        affinities: (e, n, n), of each detection of the first and of the second bodypart.
        usable: (k, n) whether there is such a detection, best first.
        min_affinity: least affinity of a link.
    """
    links = []
    counts = usable.sum(axis=1)
    for (start, end), matrix in zip(graph, affinities, strict=True):
        matrix = matrix[: counts[start], : counts[end]]
        for i, j in zip(*linear_sum_assignment(matrix, maximize=True), strict=True):
            if matrix[i, j] >= min_affinity:
                links.append(Link(float(matrix[i, j]), Detection(start, i), Detection(end, j)))
    return sorted(links, key=lambda link: -link.affinity)


def assemble(links: Sequence[Link], bodyparts: int, individuals: int) -> list[Assembly]:
    """Individuals, the strongest first.

    Each grows from the strongest link whose detections are free, always by the strongest link
    that touches it, until it is complete or nothing fits.

    Args:
        links: strongest first.
        bodyparts: detections of a complete individual.
        individuals: how many to return at most.
    """
    taken: set[Detection] = set()
    assemblies = []
    for link in links:
        if link.start in taken or link.end in taken:
            continue
        assembly = _grown(link, links, taken, bodyparts)
        taken.update(assembly.detections.values())
        assemblies.append(assembly)
    kept = [assembly for assembly in assemblies if len(assembly.links) >= LEAST_LINKS]
    return sorted(kept, key=lambda assembly: -assembly.strength)[:individuals]


def _grown(
    seed: Link, links: Sequence[Link], taken: set[Detection], bodyparts: int
) -> Assembly:
    """The individual that grows from a link by the links that touch it."""
    assembly = Assembly()
    assembly.add(seed)
    waiting = [link for link in links if link is not seed]
    while len(assembly.detections) < bodyparts:
        link = next((link for link in waiting if _fits(link, assembly, taken)), None)
        if link is None:
            break
        assembly.add(link)
        waiting.remove(link)
    return assembly


def _fits(link: Link, assembly: Assembly, taken: set[Detection]) -> bool:
    """Whether the link touches the assembly, and its other end is in it or free to join."""
    inside = [link.start in assembly, link.end in assembly]
    if all(inside) or not any(inside):
        return all(inside)
    other = link.end if inside[0] else link.start
    return other not in taken and other.bodypart not in assembly.detections
