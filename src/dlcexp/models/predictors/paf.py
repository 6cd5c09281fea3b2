"""Decoding of part-affinity fields: peaks, the affinity of their pairs, and their assembly.

Lauer et al., "Multi-animal pose estimation, identification and tracking with DeepLabCut", Nature
Methods 2022, section "Data-driven individual assembly"; the fields after Cao et al., CVPR 2017.
"""

import math
from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from dlcexp.config.model_checks import ModelInputs
from dlcexp.config.paf_graph import check_graph
from dlcexp.models.predictors.assembly import assemble, distinct, strongest_links
from dlcexp.models.predictors.base import Predictor

# Least height of a peak, and least height for one to be linked to others.
PEAK_THRESHOLD = 0.01
LINK_THRESHOLD = 0.1
# Points on the line between two peaks at which the field is read.
LINE_POINTS = 10
ABSENT = -1.0
# A keypoint that was not found: x, y, score.
MISSING = (math.nan, math.nan, 0.0)


class PartAffinityFieldPredictor(Predictor):
    """Poses from heatmaps (b, k, h, w), refinement (b, 2 k, h, w) and fields (b, 2 e, h, w).

    Args:
        num_animals: individuals to return; absent ones are filled with -1.
        num_multibodyparts: bodyparts k.
        num_uniquebodyparts: bodyparts that belong to no individual; they have a separate head.
        nms_radius: side of the window in which a peak is the largest value, map pixels; odd.
        sigma: standard deviation of the Gaussian that smooths the heatmaps, map pixels.
        locref_stdev: image px per unit of location refinement.
        min_affinity: least affinity of a link.
        graph: the edges, each two bodyparts; one field each.
        edges_to_keep: the edges that are used, as indices into `graph`.
        apply_sigmoid: pass the heatmaps through a sigmoid first.
        clip_scores: clip the scores to [0, 1].
    """

    kernel: torch.Tensor
    graph: torch.Tensor
    edges: torch.Tensor
    missing: torch.Tensor

    def __init__(
        self,
        num_animals: int,
        num_multibodyparts: int,
        num_uniquebodyparts: int,
        graph: list[list[int]],
        edges_to_keep: list[int],
        locref_stdev: float,
        nms_radius: int,
        sigma: float,
        min_affinity: float,
        apply_sigmoid: bool = True,
        clip_scores: bool = False,
    ) -> None:
        super().__init__()
        self.num_animals = num_animals
        self.num_multibodyparts = num_multibodyparts
        self.num_uniquebodyparts = num_uniquebodyparts
        self.locref_stdev = locref_stdev
        self.nms_radius = nms_radius
        self.min_affinity = min_affinity
        self.apply_sigmoid = apply_sigmoid
        self.clip_scores = clip_scores
        buffers = {
            "kernel": _gaussian_kernel(sigma, nms_radius),
            "graph": torch.tensor(graph),
            "edges": torch.tensor(edges_to_keep),
            "missing": torch.tensor(MISSING),
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)
        # Individuals are assembled by the CPU.
        self.used_graph = np.array(graph)[edges_to_keep]

    @classmethod
    def check_inputs(cls, node: Mapping[str, Any], key: str, inputs: ModelInputs) -> None:
        """Reject a graph that does not connect the bodyparts."""
        check_graph(node, key, inputs.bodyparts)

    def forward(
        self, stride: float, outputs: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Decode poses (b, n, k, 3), NaN with score 0 where a keypoint is missing.

        Also "affinity" (b, n), the mean affinity of the links within each individual.
        """
        detections, cells = self.detections(stride, outputs)
        if self.num_animals == 1:
            found = detections[..., 2:] > PEAK_THRESHOLD
            poses = torch.where(found, detections, self.missing)
            poses = torch.where(found.any(dim=1, keepdim=True), poses, ABSENT)
            affinity = poses.new_zeros(len(poses), 1)  # nothing is linked
            return {"poses": self._clipped(poses.transpose(1, 2)), "affinity": affinity}
        affinities = self.affinities(cells, outputs["paf"])
        peaks, pairs = _on_host(detections, affinities)
        results = self.assembled(peaks, pairs, self.used_graph)
        poses, affinity = (torch.from_numpy(each).to(detections) for each in results)
        return {"poses": self._clipped(poses), "affinity": affinity}

    def _clipped(self, poses: torch.Tensor) -> torch.Tensor:
        if self.clip_scores:
            poses = torch.cat([poses[..., :2], poses[..., 2:].clamp(0, 1)], dim=-1)
        return poses

    def _peaks(self, heatmap: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Values (b, k, n) and flat cells (b, k, n) of the highest peaks, highest first."""
        if self.apply_sigmoid:
            heatmap = heatmap.sigmoid()
        smooth = self._smoothed(heatmap)
        largest = _largest_around(smooth, self.nms_radius)
        peaks = (smooth * (smooth == largest)).flatten(2)
        return peaks.topk(min(self.num_animals, peaks.shape[2]), dim=2)

    def _smoothed(self, heatmap: torch.Tensor) -> torch.Tensor:
        """Return the heatmaps after a Gaussian, along rows, then along columns."""
        k = heatmap.shape[1]
        for kernel in (self.kernel.view(1, 1, 1, -1), self.kernel.view(1, 1, -1, 1)):
            heatmap = F.conv2d(heatmap, kernel.expand(k, -1, -1, -1), padding="same", groups=k)
        return heatmap

    def detections(
        self, stride: float, outputs: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the highest peaks (b, k, n, 3), x px, y px and score, and their map cells."""
        scores, cells = self._peaks(outputs["heatmap"])
        b, k, n = cells.shape
        w = outputs["heatmap"].shape[-1]
        # Whole pixels, as in the targets: at stride 1 a map pixel is its upper left corner.
        positions = torch.stack([cells % w, cells // w], dim=-1) * stride + stride // 2
        locref = outputs["locref"].flatten(2).view(b, k, 2, -1)
        refinement = locref.gather(3, cells.unsqueeze(2).expand(b, k, 2, n)).transpose(2, 3)
        positions = positions + refinement * self.locref_stdev
        return torch.cat([positions, scores.unsqueeze(-1)], dim=-1), cells

    def affinities(self, cells: torch.Tensor, fields: torch.Tensor) -> torch.Tensor:
        """Return the affinity (b, e, n, n) of every pair of peaks (b, k, n) that an edge may join.

        The length of the integral of the field along the line, x and y apart, over the length of
        the line; rounded to three digits.
        """
        h, w = fields.shape[-2:]
        # Whole pixels (b, e, n, n, points, 2); float32 decides which of two on a border, as in DLC.
        points = torch.stack([cells % w, cells // w], dim=-1).float()
        first, second = self.graph[self.edges].T
        start, end = points[:, first, :, None], points[:, second, None, :]
        steps = torch.linspace(0, 1, LINE_POINTS, device=fields.device).view(-1, 1)
        way = (end - start).unsqueeze(-2)
        line = (start.unsqueeze(-2) + steps * way).long()
        length = (end - start).norm(dim=-1).to(fields)
        # Read from the maps as they lie in memory: there are far more pixels than points.
        x_map = (2 * h * w * self.edges).view(-1, 1, 1, 1)
        at_x = x_map + line[..., 1] * w + line[..., 0]
        at_line = torch.stack([at_x, at_x + h * w], dim=-1)
        values = fields.flatten(1).gather(1, at_line.flatten(1)).view(at_line.shape)
        middle = (values[..., 1:, :] + values[..., :-1, :]) / 2
        integral = (middle * line.diff(dim=-2)).sum(dim=-2)
        affinity = integral.norm(dim=-1) / length
        return (torch.where(length > 0, affinity, 0.0) * 1000).round() / 1000

    def assembled(
        self, detections: np.ndarray, affinities: np.ndarray, graph: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Assemble poses (b, n, k, 3) and affinities (b, n) of images.

        Args:
            detections: (b, k, n, 3) peaks: x px, y px, score.
            affinities: (b, e, n, n), of each pair of peaks that an edge may join.
            graph: (e, 2) these edges.
        """
        b, k, n, _ = detections.shape
        usable = detections[..., 2] >= LINK_THRESHOLD
        poses = np.full((b, self.num_animals, k, 3), ABSENT, detections.dtype)
        affinity = np.full((b, self.num_animals), ABSENT, detections.dtype)
        links = strongest_links(graph, affinities, usable, self.min_affinity)
        for image, found in enumerate(links):
            flat = detections[image].reshape(k * n, 3)
            assemblies = distinct(assemble(found, k, n), flat[:, :2])
            for i, assembly in enumerate(assemblies[: self.num_animals]):
                poses[image, i] = MISSING
                poses[image, i, list(assembly.detections)] = flat[
                    list(assembly.detections.values())
                ]
                affinity[image, i] = assembly.affinity
        return poses, affinity


def _on_host(*values: torch.Tensor) -> list[np.ndarray]:
    """Return arrays of tensors of one type, copied at once: each copy waits for the device."""
    flat = torch.cat([each.flatten() for each in values]).cpu().numpy()
    parts = np.split(flat, np.cumsum([each.numel() for each in values[:-1]]))
    return [part.reshape(each.shape) for part, each in zip(parts, values, strict=True)]


def _gaussian_kernel(sigma: float, radius: int) -> torch.Tensor:
    """Gaussian (2 radius + 1,) that sums to 1."""
    line = torch.exp(-(torch.arange(-radius, radius + 1.0) ** 2) / (2 * sigma**2))
    return line / line.sum()


def _largest_around(maps: torch.Tensor, window: int) -> torch.Tensor:
    """Return the largest value in a window by pixel; torch's pooling is ten times slower."""
    for axis in (2, 3):
        margin = [0, 0, window // 2, window // 2] if axis == 2 else [window // 2, window // 2]
        padded = F.pad(maps, margin, value=-math.inf)
        views = [padded.narrow(axis, i, maps.shape[axis]) for i in range(window)]
        maps = reduce(torch.maximum, views)
    return maps
