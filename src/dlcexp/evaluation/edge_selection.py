"""Selection, from data, of the edges of a graph of part-affinity fields that assemble individuals.

Lauer et al., "Multi-animal pose estimation, identification and tracking with DeepLabCut", Nature
Methods 2022, section "Data-driven individual assembly". Each edge is ranked by how well its
affinity separates two keypoints of one animal from two of different animals. From the best
spanning tree on, edges are added in this order, and the graph is kept by which the training frames
are assembled best.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dlcexp.config.paf_graph import spanning_tree
from dlcexp.data.loading import PoseData
from dlcexp.evaluation.evaluate import score_split
from dlcexp.evaluation.model_poses import in_evaluation, in_original, with_progress
from dlcexp.models.predictors import PartAffinityFieldPredictor
from dlcexp.models.targets.base import to_map
from dlcexp.vocabulary import BODYPART

# Graphs that are tried, from the spanning tree to all edges.
GRAPHS = 10


@dataclass(frozen=True)
class Selection:
    """The edges that assemble the training frames best.

    Attributes:
        edges: indices into the graph, ascending.
        separability: for each edge of the graph the probability that the affinity within an animal
            is larger than between two (the area under the ROC curve); NaN where it was never seen.
        scores: number of edges to mAP of the training frames, percent, of each graph tried.
    """

    edges: list[int]
    separability: np.ndarray
    scores: dict[int, float]


@dataclass(frozen=True)
class _Frame:
    """Detections of the network in one training frame, and affinities between its labels."""

    sample: Any
    detections: np.ndarray
    affinities: np.ndarray
    within: list[np.ndarray]
    between: list[np.ndarray]


def select_edges(
    model: torch.nn.Module,
    data: PoseData,
    settings: Any,
    device: torch.device | str,
    *,
    progress: bool = False,
) -> Selection | None:
    """Choose edges on the training frames; None where no frame has two animals to separate.

    Args:
        model: a `PoseModel` on `device` whose predictor uses all edges of its graph.
        data: project, labels and split.
        settings: `cfg.evaluation`, by which the assemblies are scored.
        device: where to compute.
        progress: draw a bar, if there is a terminal.
    """
    head: Any = model.heads[BODYPART]  # type: ignore[index, union-attr]
    predictor: PartAffinityFieldPredictor = head.predictor
    frames = _frames(model, predictor, data, device, "choosing edges" if progress else "")
    separability = np.array(
        [
            _probability_larger(
                np.concatenate([frame.within[edge] for frame in frames]),
                np.concatenate([frame.between[edge] for frame in frames]),
            )
            for edge in range(len(predictor.graph))
        ]
    )
    if np.isnan(separability).all():
        return None
    graph = predictor.graph.cpu().numpy()
    scores: dict[int, float] = {}
    choices: dict[int, list[int]] = {}
    for edges in _growing(graph, separability, predictor.num_multibodyparts):
        poses = np.stack([_poses(predictor, frame, graph, edges) for frame in frames])
        score = score_split(data, settings, "train", poses, {})["mAP"]
        scores[len(edges)] = float(np.nan_to_num(score, nan=-1.0))
        choices[len(edges)] = edges
    best = max(scores, key=lambda number: (scores[number], -number))
    return Selection(sorted(choices[best]), separability, scores)


def _frames(
    model: Any,
    predictor: PartAffinityFieldPredictor,
    data: PoseData,
    device: torch.device | str,
    description: str,
) -> list[_Frame]:
    stride = model.stride(BODYPART)
    frames = []
    with in_evaluation(model):
        for sample in with_progress(data.frames("train"), description):
            outputs = model(sample["image"][None].to(device))[BODYPART]
            outputs = {name: maps.float() for name, maps in outputs.items()}
            detections, cells = predictor.detections(stride, outputs)
            affinities = predictor.affinities(cells, outputs["paf"])
            keypoints = sample["keypoints"].to(device)
            labelled = predictor.affinities(
                _cells(keypoints, stride, outputs["paf"].shape[-2:]), outputs["paf"]
            )
            within, between = _by_pair(labelled[0], keypoints[..., 2] > 0, predictor.graph)
            place = {name: value for name, value in sample.items() if name != "image"}
            peaks, pairs = detections[0].cpu().numpy(), affinities[0].cpu().numpy()
            frames.append(_Frame(place, peaks, pairs, within, between))
    return frames


def _cells(keypoints: torch.Tensor, stride: float, size: Sequence[int]) -> torch.Tensor:
    """Return the flat map pixels (1, k, n) of keypoints (n, k, 3) px."""
    h, w = size
    places = to_map(keypoints[..., :2], stride).round().long()
    return (places[..., 1].clamp(0, h - 1) * w + places[..., 0].clamp(0, w - 1)).T[None]


def _by_pair(
    affinities: torch.Tensor, visible: torch.Tensor, graph: torch.Tensor
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return for each edge the affinities (e, n, n) within animals, and those between two."""
    first, second = visible[:, graph[:, 0]].T, visible[:, graph[:, 1]].T
    there = (first[:, :, None] & second[:, None, :]).cpu().numpy()
    same = np.eye(there.shape[1], dtype=bool)
    values = affinities.cpu().numpy()
    pairs = list(zip(values, there, strict=True))
    return [each[seen & same] for each, seen in pairs], [each[seen & ~same] for each, seen in pairs]


def _probability_larger(first: np.ndarray, second: np.ndarray) -> float:
    """Return how often a value of the first is larger than one of the second, equal ones half."""
    if not (len(first) and len(second)):
        return float("nan")
    order = np.sort(second)
    smaller = np.searchsorted(order, first, side="left")
    not_larger = np.searchsorted(order, first, side="right")
    return float((smaller + not_larger).mean() / (2 * len(second)))


def _growing(graph: np.ndarray, separability: np.ndarray, bodyparts: int) -> list[list[int]]:
    """Return graphs of more and more edges, the best first in each, from a spanning tree to all."""
    ranking = np.argsort(-np.nan_to_num(separability, nan=-1.0), kind="stable")
    pairs = [(int(first), int(second)) for first, second in graph]
    tree = spanning_tree([pairs[edge] for edge in ranking], bodyparts)
    root = [pairs.index(pair) for pair in tree]
    others = [int(edge) for edge in ranking if edge not in root]
    sizes = np.unique(np.linspace(0, len(others), min(GRAPHS, len(others) + 1), dtype=int))
    return [[*root, *others[:size]] for size in sizes]


def _poses(
    predictor: PartAffinityFieldPredictor, frame: _Frame, graph: np.ndarray, edges: list[int]
) -> np.ndarray:
    """Return poses (n, k, 3) assembled along some edges, in px of the original image."""
    used = sorted(edges)
    poses, _ = predictor.assembled(
        frame.detections[None], frame.affinities[None, used], graph[used]
    )
    return in_original(poses[0], frame.sample).astype(np.float32)
