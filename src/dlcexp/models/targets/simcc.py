"""Targets of coordinate classification: a distribution over the columns and one over the rows.

Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation", ECCV
2022; Gaussian labels as in Jiang et al., "RTMPose", arXiv 2303.07399.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from dlcexp.config.model_checks import ModelInputs, check_size
from dlcexp.errors import ConfigError, nearest
from dlcexp.models.targets.base import TargetGenerator, Targets

SmoothingType = Literal["gaussian", "standard"]

# A keypoint that is further than this many standard deviations outside the image does not count.
REACH = 3


@dataclass
class SimCCGenerator(TargetGenerator):
    """Labels "x" (b, n, k, width * ratio) and "y" (b, n, k, height * ratio), ratio bins per px.

    Args:
        input_size: width and height of the images, px.
        smoothing_type: "gaussian" draws a Gaussian around the bin of the keypoint, "standard" gives
            that bin 1 - `label_smooth_weight` and shares the rest among the others.
        sigma: standard deviations of the Gaussian in x and y, bins.
        simcc_split_ratio: bins per image px.
        label_smooth_weight: share of the other bins, for "standard"; 0 for "gaussian".
        normalize: divide the Gaussians by sigma * sqrt(2 pi).

    Raises:
        ConfigError: an unknown smoothing type, or `label_smooth_weight` with "gaussian".
    """

    input_size: list[int]
    smoothing_type: SmoothingType = "gaussian"
    sigma: list[float] | float = 6.0
    simcc_split_ratio: float = 2.0
    label_smooth_weight: float = 0.0
    normalize: bool = True

    def __post_init__(self) -> None:
        if self.smoothing_type not in get_args(SmoothingType):
            known = get_args(SmoothingType)
            raise ConfigError(
                "target_generator.smoothing_type",
                f"{self.smoothing_type!r}; allowed are {', '.join(known)}."
                f"{nearest(str(self.smoothing_type), known)}",
            )
        if self.label_smooth_weight and self.smoothing_type == "gaussian":
            raise ConfigError(
                "target_generator.label_smooth_weight",
                f"{self.label_smooth_weight}, which needs smoothing_type=standard.",
            )

    @classmethod
    def check_inputs(cls, node: Mapping[str, Any], key: str, inputs: ModelInputs) -> None:
        """Reject labels for images of another size than the crops."""
        for crop in inputs.crops:
            check_size(f"{key}.input_size", node["input_size"], [crop.width, crop.height])

    def __call__(
        self,
        stride: float,
        outputs: Mapping[str, torch.Tensor],
        labels: Mapping[str, torch.Tensor],
    ) -> Targets:
        """Targets and weights (b, n, k): 1 where the keypoint is visible and reaches the image."""
        keypoints = self.keypoints(labels, outputs)
        bins = (keypoints[..., :2] * self.simcc_split_ratio).round()
        # Plain numbers: reading one from a tensor would wait for the GPU.
        sizes = [side * self.simcc_split_ratio for side in self.input_size]
        sigmas = [self.sigma] * 2 if isinstance(self.sigma, float | int) else self.sigma
        axes = list(zip("xy", bins.unbind(dim=-1), sizes, sigmas, strict=True))
        drawn = keypoints[..., 2] > 0
        for _, middles, size, sigma in axes:
            drawn = drawn & self._reaches(middles, size, sigma)
        return {
            axis: {
                "target": self._label(middles, int(size), sigma) * drawn.unsqueeze(-1),
                "weights": drawn.float(),
            }
            for axis, middles, size, sigma in axes
        }

    def _reaches(self, middles: torch.Tensor, size: float, sigma: float) -> torch.Tensor:
        """Return whether enough of a label is in the image along one axis."""
        if self.smoothing_type == "standard":
            return (middles >= 0) & (middles < size)
        return (middles + REACH * sigma + 1 >= 0) & (middles - REACH * sigma < size)

    def _label(self, middles: torch.Tensor, length: int, sigma: float) -> torch.Tensor:
        """Distributions (..., length) around bins (...)."""
        distance = torch.arange(length, device=middles.device) - middles.unsqueeze(-1)
        if self.smoothing_type == "standard":
            rest = self.label_smooth_weight / (length - 1)
            return torch.where(distance == 0, 1 - self.label_smooth_weight, rest)
        gaussian = torch.exp(-(distance**2) / (2 * sigma**2))
        return gaussian / (sigma * (2 * torch.pi) ** 0.5) if self.normalize else gaussian
