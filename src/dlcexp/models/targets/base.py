"""The base class of target generators, and the conversion to map pixels."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch

Targets = dict[str, dict[str, torch.Tensor]]


@dataclass(kw_only=True)
class TargetGenerator(ABC):
    """Draws targets in the shape of the maps.

    Called with the stride (image px per map px), the maps of a head and the labels ("keypoints"
    (b, n, k, 3): x px, y px in the image, visibility; "area" (b, n) in px², ...); returns
    {map: {"target": t, "weights": w}}. Weights of 0 leave a pixel out of the loss.

    Args:
        label_keypoint_key: which keypoints of the labels, "keypoints" or "keypoints_unique".
    """

    label_keypoint_key: str = "keypoints"

    @abstractmethod
    def __call__(
        self,
        stride: float,
        outputs: Mapping[str, torch.Tensor],
        labels: Mapping[str, torch.Tensor],
    ) -> Targets:
        """The targets of each map."""

    def keypoints(
        self, labels: Mapping[str, torch.Tensor], outputs: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """Return keypoints (b, n, k, 3) in float32, on the device of the maps."""
        keypoints = labels[self.label_keypoint_key]
        if keypoints.ndim == 3:  # unique bodyparts belong to no individual
            keypoints = keypoints.unsqueeze(1)
        device = next(iter(outputs.values())).device
        return keypoints.to(device, torch.float32)


def to_map(points: torch.Tensor, stride: float) -> torch.Tensor:
    """Return image px as map pixels; a map pixel is at the middle of its square."""
    return (points - stride / 2) / stride
