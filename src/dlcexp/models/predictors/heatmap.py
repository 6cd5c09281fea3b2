"""Decoding of plain heatmaps: one animal, each keypoint at the maximum of its heatmap."""

from collections.abc import Mapping

import torch

from dlcexp.models.predictors.base import Predictor, to_image


class HeatmapPredictor(Predictor):
    """Poses (b, 1, k, 3) from heatmaps (b, k, h, w) and location refinement (b, 2 k, h, w).

    Args:
        apply_sigmoid: pass the heatmaps through a sigmoid first.
        clip_scores: clip the scores to [0, 1].
        location_refinement: add the location refinement at the maximum.
        locref_std: image px per unit of location refinement.
    """

    def __init__(
        self,
        apply_sigmoid: bool = True,
        clip_scores: bool = False,
        location_refinement: bool = True,
        locref_std: float = 7.2801,
    ) -> None:
        super().__init__()
        self.apply_sigmoid = apply_sigmoid
        self.clip_scores = clip_scores
        self.location_refinement = location_refinement
        self.locref_std = locref_std

    def forward(
        self, stride: float, outputs: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Decode poses of one individual per image."""
        heatmap = outputs["heatmap"]
        if self.apply_sigmoid:
            heatmap = heatmap.sigmoid()
        b, k, _, w = heatmap.shape
        scores, cells = heatmap.flatten(2).max(dim=2)
        positions = to_image(torch.stack([cells % w, cells // w], dim=-1), stride)
        if self.location_refinement:
            locref = outputs["locref"].flatten(2).view(b, k, 2, -1)
            at_cells = locref.gather(3, cells[..., None, None].expand(b, k, 2, 1)).squeeze(3)
            positions = positions + at_cells * self.locref_std
        if self.clip_scores:
            scores = scores.clamp(0, 1)
        return {"poses": torch.cat([positions, scores.unsqueeze(-1)], dim=-1).unsqueeze(1)}
