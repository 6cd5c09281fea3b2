"""Decoding of DEKR: the best centres, and the keypoints that the offsets there point to.

Geng et al., "Bottom-Up Human Pose Estimation via Disentangled Keypoint Regression", CVPR 2021.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
import torch.nn.functional as F

from dlcexp.errors import ConfigError, nearest
from dlcexp.models.predictors.base import Predictor, to_image

ScoreType = Literal["combined", "heatmap", "center"]

# A centre is the largest value in a window of this many map pixels.
PEAK_WINDOW = 5
# Coordinates and score of an individual that pose suppression removed.
ABSENT = -1.0


class DEKRPredictor(Predictor):
    """Poses (b, num_animals, k, 3) from heatmaps (b, k + 1, h, w) and offsets (b, 2 k, h, w).

    Args:
        num_animals: individuals to return; where pose suppression leaves fewer, the last are
            filled with -1.
        detection_threshold: has no effect; DeepLabCut accepts it.
        apply_sigmoid: pass the heatmaps through a sigmoid first.
        clip_scores: clip the scores to [0, 1].
        use_heatmap: move each keypoint to the nearest of the `num_animals` highest peaks of its
            heatmap; those that reach none have a heatmap value of 0.
        keypoint_score_type: the score of a keypoint is the heatmap value of its individual's
            "center", the value of the keypoint's "heatmap" where it lies, or their product
            ("combined").
        max_absorb_distance: how far a peak may be to attract a keypoint, map pixels.
        nms_threshold: two poses are one if any of their keypoints are closer than this fraction
            of the diagonal of the box around the weaker pose.
        apply_pose_nms: remove the weaker of two poses that are one; orders weakest first.

    Raises:
        ConfigError: an unknown score type.
    """

    def __init__(
        self,
        num_animals: int,
        detection_threshold: float = 0.01,
        apply_sigmoid: bool = True,
        clip_scores: bool = False,
        use_heatmap: bool = True,
        keypoint_score_type: ScoreType = "combined",
        max_absorb_distance: float = 75,
        nms_threshold: float = 0.05,
        apply_pose_nms: bool = True,
    ) -> None:
        super().__init__()
        if keypoint_score_type not in get_args(ScoreType):
            known = get_args(ScoreType)
            raise ConfigError(
                "predictor.keypoint_score_type",
                f"{keypoint_score_type!r}; allowed are {', '.join(known)}."
                f"{nearest(str(keypoint_score_type), known)}",
            )
        self.num_animals = num_animals
        self.detection_threshold = detection_threshold
        self.apply_sigmoid = apply_sigmoid
        self.clip_scores = clip_scores
        self.use_heatmap = use_heatmap
        self.keypoint_score_type = keypoint_score_type
        self.max_absorb_distance = max_absorb_distance
        self.nms_threshold = nms_threshold
        self.apply_pose_nms = apply_pose_nms

    def forward(
        self, stride: float, outputs: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Decode poses, best centre first, or weakest first after pose suppression."""
        heatmap = outputs["heatmap"]
        if self.apply_sigmoid:
            heatmap = heatmap.sigmoid()
        keypoint_maps, centre_map = heatmap[:, :-1], heatmap[:, -1:]
        centre_scores, cells = self._centres(centre_map)
        positions = _regressed(outputs["offset"], cells)
        if self.use_heatmap:
            keypoint_maps = _peaks(keypoint_maps)
            positions = self._absorbed(positions, keypoint_maps)
        scores = self._scores(centre_scores, keypoint_maps, positions)
        poses = torch.cat([to_image(positions, stride), scores.unsqueeze(-1)], dim=-1)
        if self.apply_pose_nms:
            poses = suppress_poses(poses, self.nms_threshold)
        return {"poses": poses}

    def _centres(self, centre_map: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Values (b, n) and flat cells (b, n) of the highest peaks, highest first."""
        return self._highest(_peaks(centre_map).flatten(1))

    def _highest(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the `num_animals` highest values along the last dimension, and where they are."""
        return values.topk(min(self.num_animals, values.shape[-1]), dim=-1)

    def _absorbed(self, positions: torch.Tensor, peak_maps: torch.Tensor) -> torch.Tensor:
        """Positions (b, n, k, 2), each moved to the nearest of its heatmap's highest peaks."""
        w = peak_maps.shape[-1]
        _, cells = self._highest(peak_maps.flatten(2))
        peaks = torch.stack([cells % w, cells // w], dim=-1).transpose(1, 2).to(positions)
        distances = (positions.unsqueeze(2) - peaks.unsqueeze(1)).norm(dim=-1)
        nearest_distance, nearest_peak = distances.min(dim=2)
        target = peaks.gather(1, nearest_peak.unsqueeze(-1).expand_as(positions))
        absorbed = nearest_distance < self.max_absorb_distance
        return torch.where(absorbed.unsqueeze(-1), target, positions)

    def _scores(
        self, centre_scores: torch.Tensor, keypoint_maps: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        """Score (b, n, k) of each keypoint at its position (b, n, k, 2) in map pixels."""
        scores = centre_scores.unsqueeze(-1).expand(positions.shape[:-1])
        if self.keypoint_score_type != "center":
            values = _values_at(keypoint_maps, positions)
            scores = values if self.keypoint_score_type == "heatmap" else scores * values
        return scores.clamp(0, 1) if self.clip_scores else scores


def suppress_poses(poses: torch.Tensor, threshold: float) -> torch.Tensor:
    """Remove poses that repeat a better one; what is left comes weakest first, then rows of -1.

    Args:
        poses: (b, n, k, 3), best first.
        threshold: fraction of the diagonal of the box around the weaker pose, below which the
            distance of any keypoint to the same keypoint of a better pose makes them one.

    Returns:
        Poses (b, n, k, 3).
    """
    points = poses[..., :2]
    extent = points.amax(dim=2) - points.amin(dim=2)
    reach = threshold * extent.norm(dim=-1)
    distances = (points.unsqueeze(2) - points.unsqueeze(1)).norm(dim=-1)
    near = (distances < reach[:, :, None, None]).any(dim=-1)
    repeated = near.tril(diagonal=-1).any(dim=-1).flip(1)
    order = repeated.to(torch.uint8).argsort(dim=1, stable=True)
    kept = torch.where(repeated[..., None, None], ABSENT, poses.flip(1))
    return kept.gather(1, order[..., None, None].expand_as(kept))


def _peaks(maps: torch.Tensor) -> torch.Tensor:
    """Return the maps (b, c, h, w) with 0 wherever a pixel is not the largest in its window."""
    largest = F.max_pool2d(maps, PEAK_WINDOW, stride=1, padding=PEAK_WINDOW // 2)
    return maps * (largest == maps)


def _regressed(offsets: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Positions (b, n, k, 2), x and y in map pixels, that the offsets at the cells point to."""
    b, channels, _, w = offsets.shape
    n = cells.shape[1]
    at_cells = offsets.flatten(2).gather(2, cells.unsqueeze(1).expand(b, channels, n))
    start = torch.stack([cells % w, cells // w], dim=-1)
    return start.unsqueeze(2) - at_cells.view(b, channels // 2, 2, n).permute(0, 3, 1, 2)


def _values_at(maps: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Value (b, n, k) of each keypoint's map (b, k, h, w) at its position, rounded down."""
    h, w = maps.shape[-2:]
    x = positions[..., 0].clamp(0, w - 1)
    y = positions[..., 1].clamp(0, h - 1)
    cells = y.long() * w + x.long()
    return maps.flatten(2).gather(2, cells.transpose(1, 2)).transpose(1, 2)
