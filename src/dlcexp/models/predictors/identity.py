"""Decoding of identity: which individual is at each pixel of the image, and at each keypoint.

Lauer et al., "Multi-animal pose estimation, identification and tracking with DeepLabCut", Nature
Methods 2022, section "Animal identification".
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

from dlcexp.models.predictors.base import Predictor


class IdentityPredictor(Predictor):
    """Identity (b, h, w, individuals) of each pixel of the image from maps of the head.

    Args:
        apply_sigmoid: pass the maps through a sigmoid, after they have been enlarged.
    """

    def __init__(self, apply_sigmoid: bool = True) -> None:
        super().__init__()
        self.apply_sigmoid = apply_sigmoid

    def forward(
        self, stride: float, outputs: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Resize the maps to the image, as "heatmap"; poses come from another head."""
        heatmap = outputs["heatmap"]
        size = [int(side * stride) for side in heatmap.shape[-2:]]
        heatmap = F.interpolate(heatmap, size, mode="bilinear", antialias=True)
        if self.apply_sigmoid:
            heatmap = heatmap.sigmoid()
        return {"heatmap": heatmap.permute(0, 2, 3, 1)}


def identity_scores(poses: torch.Tensor, heatmap: torch.Tensor) -> torch.Tensor:
    """Return the identity (b, n, k, individuals) at the pixel of each keypoint; 0 if there is none.

    Args:
        poses: (b, n, k, 3) x px, y px, score; a keypoint outside counts at the border.
        heatmap: (b, h, w, individuals), see `IdentityPredictor`.
    """
    b, h, w, _ = heatmap.shape
    known = poses[..., :2].isfinite().all(dim=-1)
    x, y = poses[..., :2].nan_to_num().round().long().unbind(-1)
    image = torch.arange(b, device=poses.device)[:, None, None]
    scores = heatmap[image, y.clamp(0, h - 1), x.clamp(0, w - 1)]
    return scores * known[..., None]


def assign_identities(poses: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Order the poses by individual: each animal gets the place that suits it best.

    The best assignment is the one with the largest sum, over all keypoints, of identity times
    the score of the keypoint.

    Args:
        poses: (b, n, k, 3) x px, y px, score.
        scores: (b, n, k, individuals), see `identity_scores`.

    Returns:
        Poses (b, individuals, k, 3); -1 for individuals that no animal is left for.
    """
    b, _, k, individuals = scores.shape
    ordered = poses.new_full((b, individuals, k, 3), -1.0)
    evidence = (scores * poses[..., 2:]).double().sum(dim=2).cpu()
    for place, matrix in enumerate(evidence):
        animals, slots = linear_sum_assignment(matrix, maximize=True)
        ordered[place, slots] = poses[place, animals]
    return ordered
