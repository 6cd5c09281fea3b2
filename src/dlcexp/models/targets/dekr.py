"""Targets of DEKR: Gaussian heatmaps, and offsets around the centres.

Geng et al., "Bottom-Up Human Pose Estimation via Disentangled Keypoint Regression", CVPR 2021.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from dlcexp.models.targets.base import TargetGenerator, Targets, to_map

SMALLEST_AREA = 1.0  # px²


@dataclass
class DEKRGenerator(TargetGenerator):
    """Heatmaps (b, k + 1, h, w) and offsets (b, 2 k, h, w) for keypoints with the centre last.

    Args:
        num_joints: keypoints k, without the centre.
        pos_dist_thresh: standard deviation of the centre's Gaussian and reach of the offsets
            around it, image px; the other keypoints have half that deviation.
        bg_weight: weight of the heatmap away from all keypoints.
    """

    num_joints: int
    pos_dist_thresh: float
    bg_weight: float = 0.1

    def __call__(
        self,
        stride: float,
        outputs: Mapping[str, torch.Tensor],
        labels: Mapping[str, torch.Tensor],
    ) -> Targets:
        """Targets in map pixels; offsets are pixel minus keypoint, weighted by 1 / sqrt(area)."""
        keypoints = self.keypoints(labels, outputs)
        points = to_map(keypoints[..., :2], stride)
        h, w = outputs["heatmap"].shape[-2:]
        inside = (points >= 0).all(-1) & (points[..., 0] < w) & (points[..., 1] < h)
        visible = keypoints[..., 2] > 0
        drawn = visible & inside
        # A single visible keypoint has a box without area, whose weight would be infinite.
        area = labels["area"].to(points).clamp(min=SMALLEST_AREA)
        return {
            "heatmap": self._heatmap(points, drawn, stride, (h, w)),
            "offset": self._offset(
                points, drawn[..., :-1] & visible[..., -1:], area, stride, (h, w)
            ),
        }

    def _heatmap(
        self, points: torch.Tensor, drawn: torch.Tensor, stride: float, size: tuple[int, int]
    ) -> dict[str, torch.Tensor]:
        """Return the maximum over the individuals of Gaussians cut off a little beyond 3 sigma."""
        sigma = points.new_full((points.shape[2], 1), self.pos_dist_thresh / stride / 2)
        sigma[-1] *= 2
        x, x_near = _gaussian(points[..., 0:1], sigma, size[1])
        y, y_near = _gaussian(points[..., 1:2], sigma, size[0])
        b, _, k, _ = x.shape
        target = points.new_zeros(b, k, *size)
        near = torch.zeros_like(target, dtype=torch.bool)
        for i in range(points.shape[1]):
            window = y_near[:, i, :, :, None] & x_near[:, i, :, None] & drawn[:, i, :, None, None]
            gaussian = y[:, i, :, :, None] * x[:, i, :, None]
            target = torch.maximum(target, gaussian * window)
            near |= window
        return {"target": target, "weights": torch.where(near, 1.0, self.bg_weight)}

    def _offset(
        self,
        points: torch.Tensor,
        drawn: torch.Tensor,
        area: torch.Tensor,
        stride: float,
        size: tuple[int, int],
    ) -> dict[str, torch.Tensor]:
        """In a square around each centre the way to its keypoints; the smallest animal is on top.

        As in the authors' code the size on record is that of the last animal to draw there, and
        it draws if it is not larger or once any of its keypoints found the place empty.
        """
        reach = self.pos_dist_thresh / stride
        columns, rows = (torch.arange(length, device=points.device) for length in reversed(size))
        b, n, k = drawn.shape
        target = points.new_zeros(b, k, 2, *size)
        weights = points.new_zeros(b, k, *size)
        smallest = points.new_full((b, 1, *size), torch.inf)
        for i in range(n):
            near_x = _within(columns, points[:, i, -1, 0:1], reach)
            near_y = _within(rows, points[:, i, -1, 1:2], reach)
            square = (near_y[:, :, None] & near_x[:, None, :]).unsqueeze(1)
            candidate = square & drawn[:, i, :, None, None]
            found_empty = (candidate & (weights == 0)).cumsum(dim=1) > 0
            size_i = area[:, i, None, None, None]
            wanted = candidate & (found_empty | (size_i <= smallest))
            x = (columns - points[:, i, :-1, 0:1]).unsqueeze(2).expand(b, k, *size)
            y = (rows - points[:, i, :-1, 1:2]).unsqueeze(3).expand(b, k, *size)
            target = torch.where(wanted.unsqueeze(2), torch.stack([x, y], dim=2), target)
            weights = torch.where(wanted, size_i.rsqrt(), weights)
            smallest = torch.where(wanted.any(dim=1, keepdim=True), size_i, smallest)
        return {"target": target.flatten(1, 2), "weights": weights.repeat_interleave(2, dim=1)}


def _gaussian(
    centres: torch.Tensor, sigma: torch.Tensor, length: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Along one axis, exp(-d² / 2 sigma²) and where it is drawn, for centres (..., 1)."""
    axis = torch.arange(length, device=centres.device)
    first = (centres - 3 * sigma - 1).floor()
    end = (centres + 3 * sigma + 2).ceil()
    value = torch.exp(-((axis - centres) ** 2) / (2 * sigma**2))
    return value, (axis >= first) & (axis < end)


def _within(axis: torch.Tensor, centres: torch.Tensor, reach: float) -> torch.Tensor:
    """Pixels (b, length) from centre - reach up to, without, centre + reach, both rounded down."""
    return (axis >= (centres - reach).floor()) & (axis < (centres + reach).floor())
