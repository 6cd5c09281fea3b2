"""Targets of heatmap heads: a Gaussian or a disc at each keypoint, and location refinement."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from dlcexp.errors import ConfigError, nearest
from dlcexp.models.targets.base import TargetGenerator, Targets

HeatmapMode = Literal["KEYPOINT", "INDIVIDUAL"]


@dataclass
class HeatmapGenerator(TargetGenerator):
    """Heatmaps (b, c, h, w) and location refinement (b, 2 c, h, w); what they share.

    The location refinement of a pixel is the way from its middle to the keypoint, x and y, in
    units of `locref_std`; it counts within `pos_dist_thresh` of the keypoint.

    Args:
        num_heatmaps: c; bodyparts, or individuals for "INDIVIDUAL".
        pos_dist_thresh: how far around a keypoint is still on it, image px.
        heatmap_mode: "KEYPOINT" draws one map per bodypart with all individuals on it,
            "INDIVIDUAL" one per identity with all bodyparts on it.
        gradient_masking: give maps on which a keypoint is missing the weight `background_weight`,
            as the missing keypoint may well be in the image.
        background_weight: weight of a map on which a keypoint is missing, with `gradient_masking`.
        generate_locref: whether to draw the location refinement.
        locref_std: image px per unit of location refinement.

    Raises:
        ConfigError: an unknown heatmap mode.
    """

    num_heatmaps: int
    pos_dist_thresh: float
    heatmap_mode: HeatmapMode = "KEYPOINT"
    gradient_masking: bool = False
    background_weight: float = 0.1
    generate_locref: bool = True
    locref_std: float = 7.2801

    def __post_init__(self) -> None:
        if self.heatmap_mode not in get_args(HeatmapMode):
            known = get_args(HeatmapMode)
            raise ConfigError(
                "target_generator.heatmap_mode",
                f"{self.heatmap_mode!r}; allowed are {', '.join(known)}."
                f"{nearest(str(self.heatmap_mode), known)}",
            )

    def __call__(
        self,
        stride: float,
        outputs: Mapping[str, torch.Tensor],
        labels: Mapping[str, torch.Tensor],
    ) -> Targets:
        """Targets; individuals are drawn in their order, the later on top."""
        keypoints = self._by_map(self.keypoints(labels, outputs), labels)
        visible = keypoints[..., 2] > 0
        h, w = outputs["heatmap"].shape[-2:]
        b, _, c, _ = keypoints.shape
        heatmap = keypoints.new_zeros(b, c, h, w)
        locref = keypoints.new_zeros(b, c, 2, h, w)
        near_any = torch.zeros_like(heatmap, dtype=torch.bool)
        for i in range(keypoints.shape[1]):
            way = _way(keypoints[:, i], stride, (h, w))
            squared = way.square().sum(dim=2)
            seen = visible[:, i, :, None, None]
            near = seen & (squared <= self.pos_dist_thresh**2)
            heatmap = torch.maximum(heatmap, self.bump(squared) * seen)
            locref = torch.where(self.refined(seen, near).unsqueeze(2), way, locref)
            near_any |= near
        targets = {"heatmap": {"target": heatmap, "weights": self._weights(visible, heatmap)}}
        if self.generate_locref:
            weights = near_any.to(locref).repeat_interleave(2, dim=1)
            targets["locref"] = {
                "target": locref.flatten(1, 2) / self.locref_std,
                "weights": weights,
            }
        return targets

    @abstractmethod
    def bump(self, squared_distance: torch.Tensor) -> torch.Tensor:
        """Return the heatmap value by squared distance from the keypoint, px²."""

    @abstractmethod
    def refined(self, seen: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        """Return where the location refinement of a keypoint is drawn."""

    def _by_map(self, keypoints: torch.Tensor, labels: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Keypoints (b, drawn on one map, c, 3)."""
        if self.heatmap_mode == "KEYPOINT":
            return keypoints
        b, n, k, _ = keypoints.shape
        ids = labels["individual_ids"].to(keypoints.device)
        known = (ids >= 0) & (ids < self.num_heatmaps)
        maps = keypoints.new_zeros(b, self.num_heatmaps, k, 3)
        index = (ids.clamp(0, self.num_heatmaps - 1))[..., None, None].expand(b, n, k, 3)
        maps.scatter_add_(1, index, keypoints * known[..., None, None])
        return maps.transpose(1, 2)

    def _weights(self, visible: torch.Tensor, heatmap: torch.Tensor) -> torch.Tensor:
        if not self.gradient_masking:
            return torch.ones_like(heatmap)
        complete = visible.all(dim=1)[..., None, None].expand_as(heatmap)
        return torch.where(complete, 1.0, self.background_weight)


class HeatmapGaussianGenerator(HeatmapGenerator):
    """Gaussian heatmaps of standard deviation 2/3 `pos_dist_thresh`; refinement everywhere."""

    def bump(self, squared_distance: torch.Tensor) -> torch.Tensor:
        sigma = 2 / 3 * self.pos_dist_thresh
        return torch.exp(-squared_distance / (2 * sigma**2))

    def refined(self, seen: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        return seen.expand_as(near)


class HeatmapPlateauGenerator(HeatmapGenerator):
    """Heatmaps of 1 within `pos_dist_thresh` and 0 beyond; refinement only there."""

    def bump(self, squared_distance: torch.Tensor) -> torch.Tensor:
        return (squared_distance <= self.pos_dist_thresh**2).to(squared_distance)

    def refined(self, seen: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        return near


def _way(keypoints: torch.Tensor, stride: float, size: tuple[int, int]) -> torch.Tensor:
    """Image px (b, c, 2, h, w), x and y, from the middle of each map pixel to the keypoint."""
    h, w = size
    # Whole pixels, as DeepLabCut draws: at stride 1 a map pixel is at its upper left corner.
    middles = torch.arange(max(h, w), device=keypoints.device) * stride + stride // 2
    x = (keypoints[..., 0:1] - middles[:w]).unsqueeze(2)
    y = (keypoints[..., 1:2] - middles[:h]).unsqueeze(3)
    return torch.stack(torch.broadcast_tensors(x, y), dim=2)
