"""Decoding of part-affinity fields: peaks, the affinity of their pairs, and their assembly.

Lauer et al., "Multi-animal pose estimation, identification and tracking with DeepLabCut", Nature
Methods 2022, section "Data-driven individual assembly"; the fields after Cao et al., CVPR 2017.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from dlcexp.models.predictors.assembly import assemble, distinct, strongest_links
from dlcexp.models.predictors.base import Predictor

# Least height of a peak, and least height for one to be linked to others.
PEAK_THRESHOLD = 0.01
LINK_THRESHOLD = 0.1
# Points on the line between two peaks at which the field is read.
LINE_POINTS = 10
ABSENT = -1.0


class PartAffinityFieldPredictor(Predictor):
    """Poses from heatmaps (b, k, h, w), refinement (b, 2 k, h, w) and fields (b, 2 e, h, w).

    Args:
        num_animals: individuals to return; absent ones are filled with -1.
        num_multibodyparts: bodyparts k.
        num_uniquebodyparts: bodyparts that belong to no individual; they have a head of their own.
        nms_radius: side of the window in which a peak is the largest value, map pixels; odd.
        sigma: standard deviation of the Gaussian that smooths the heatmaps, map pixels.
        locref_stdev: image px per unit of location refinement.
        min_affinity: least affinity of a link.
        graph: the limbs, each two bodyparts; one field each.
        edges_to_keep: the limbs that are used, as indices into `graph`.
        apply_sigmoid: pass the heatmaps through a sigmoid first.
        clip_scores: clip the scores to [0, 1].
    """

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
        self.graph = [(graph[edge][0], graph[edge][1]) for edge in edges_to_keep]
        self.edges_to_keep = edges_to_keep
        self.locref_stdev = locref_stdev
        self.nms_radius = nms_radius
        self.min_affinity = min_affinity
        self.apply_sigmoid = apply_sigmoid
        self.clip_scores = clip_scores
        kernel = _gaussian_kernel(sigma, nms_radius)
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(
        self, stride: float, outputs: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Poses (b, n, k, 3), NaN with score 0 where a keypoint is missing.

        Also "affinity" (b, n), the mean affinity of the links within each individual.
        """
        scores, cells = self._peaks(outputs["heatmap"])
        detections = self._detections(scores, cells, outputs, stride)
        if self.num_animals == 1:
            found = (scores > PEAK_THRESHOLD).unsqueeze(-1)
            poses = torch.where(found, detections, _missing(detections))
            poses = torch.where(found.any(dim=1, keepdim=True), poses, ABSENT)
            affinity = poses.new_zeros(len(poses), 1)  # nothing is linked
            return {"poses": self._clipped(poses.transpose(1, 2)), "affinity": affinity}
        affinities = self._affinities(cells, outputs["paf"])
        usable = scores >= LINK_THRESHOLD
        results = [
            self._assembled(*image)
            for image in zip(detections.cpu(), usable.cpu(), affinities.cpu(), strict=True)
        ]
        poses, affinity = (
            torch.stack(parts).to(scores.device) for parts in zip(*results, strict=True)
        )
        return {"poses": self._clipped(poses), "affinity": affinity}

    def _clipped(self, poses: torch.Tensor) -> torch.Tensor:
        if self.clip_scores:
            poses = torch.cat([poses[..., :2], poses[..., 2:].clamp(0, 1)], dim=-1)
        return poses

    def _peaks(self, heatmap: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Values (b, k, n) and flat cells (b, k, n) of the highest peaks, highest first."""
        if self.apply_sigmoid:
            heatmap = heatmap.sigmoid()
        k = heatmap.shape[1]
        smooth = F.conv2d(heatmap, self.kernel.expand(k, 1, -1, -1), padding="same", groups=k)
        window = self.nms_radius
        largest = F.max_pool2d(smooth, window, stride=1, padding=window // 2)
        peaks = (smooth * (smooth == largest)).flatten(2)
        return peaks.topk(min(self.num_animals, peaks.shape[2]), dim=2)

    def _detections(
        self,
        scores: torch.Tensor,
        cells: torch.Tensor,
        outputs: Mapping[str, torch.Tensor],
        stride: float,
    ) -> torch.Tensor:
        """The peaks (b, k, n, 3) as x px, y px in the image, score."""
        b, k, n = cells.shape
        w = outputs["heatmap"].shape[-1]
        # Whole pixels, as in the targets: at stride 1 a map pixel is its upper left corner.
        positions = torch.stack([cells % w, cells // w], dim=-1) * stride + stride // 2
        locref = outputs["locref"].flatten(2).view(b, k, 2, -1)
        refinement = locref.gather(3, cells.unsqueeze(2).expand(b, k, 2, n)).transpose(2, 3)
        positions = positions + refinement * self.locref_stdev
        return torch.cat([positions, scores.unsqueeze(-1)], dim=-1)

    def _affinities(self, cells: torch.Tensor, fields: torch.Tensor) -> torch.Tensor:
        """Affinity (b, e, n, n) of every pair of peaks (b, k, n) that a limb may connect.

        The length of the integral of the field along the line, x and y apart, over the length of
        the line; rounded to three digits.
        """
        b, _, h, w = fields.shape
        edges = torch.tensor(self.edges_to_keep, device=fields.device)
        fields = fields.view(b, -1, 2, h * w)[:, edges]
        # Whole pixels (b, e, n, n, points, 2); float32 decides which of two on a border, as in DLC.
        points = torch.stack([cells % w, cells // w], dim=-1).float()
        first, second = torch.tensor(self.graph, device=fields.device).T
        start, end = points[:, first, :, None], points[:, second, None, :]
        steps = torch.linspace(0, 1, LINE_POINTS, device=fields.device).view(-1, 1)
        way = (end - start).unsqueeze(-2)
        line = (start.unsqueeze(-2) + steps * way).long()
        length = (end - start).norm(dim=-1).to(fields)
        at_line = (line[..., 1] * w + line[..., 0]).flatten(2)
        values = fields.gather(3, at_line.unsqueeze(2).expand(-1, -1, 2, -1))
        values = values.unflatten(3, line.shape[2:5]).movedim(2, -1)
        middle = (values[..., 1:, :] + values[..., :-1, :]) / 2
        integral = (middle * line.diff(dim=-2)).sum(dim=-2)
        affinity = integral.norm(dim=-1) / length
        return (torch.where(length > 0, affinity, 0.0) * 1000).round() / 1000

    def _assembled(
        self, detections: torch.Tensor, usable: torch.Tensor, affinities: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Poses (n, k, 3) and affinities (n,) of one image."""
        k = len(detections)
        poses = detections.new_full((self.num_animals, k, 3), ABSENT)
        affinity = detections.new_full((self.num_animals,), ABSENT)
        links = strongest_links(self.graph, affinities.numpy(), usable.numpy(), self.min_affinity)
        assemblies = distinct(assemble(links, k), detections[..., :2].numpy())
        for i, assembly in enumerate(assemblies[: self.num_animals]):
            poses[i] = _missing(poses[i])
            for detection in assembly.detections.values():
                poses[i, detection.bodypart] = detections[detection.bodypart, detection.rank]
            affinity[i] = assembly.affinity
        return poses, affinity


def _gaussian_kernel(sigma: float, radius: int) -> torch.Tensor:
    """Gaussian (1, 1, 2 radius + 1, 2 radius + 1) that sums to 1."""
    line = torch.exp(-(torch.arange(-radius, radius + 1.0) ** 2) / (2 * sigma**2))
    square = torch.outer(line, line)
    return (square / square.sum())[None, None]


def _missing(poses: torch.Tensor) -> torch.Tensor:
    """The same shape (..., 3), with NaN for the coordinates and a score of 0."""
    return poses.new_tensor([torch.nan, torch.nan, 0.0]).expand_as(poses)
