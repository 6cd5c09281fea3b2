"""Several target generators for the maps of one head."""

from collections.abc import Mapping

import torch
from torch import nn

from dlcexp.models.targets.base import TargetGenerator, Targets


class SequentialGenerator(TargetGenerator):
    """The targets of all its generators; where two draw the same map, the later one counts."""

    def __init__(
        self, generators: list[TargetGenerator], label_keypoint_key: str = "keypoints"
    ) -> None:
        super().__init__(label_keypoint_key)
        self.generators = nn.ModuleList(generators)

    def forward(
        self,
        stride: float,
        outputs: Mapping[str, torch.Tensor],
        labels: Mapping[str, torch.Tensor],
    ) -> Targets:
        targets: Targets = {}
        for generator in self.generators:
            targets |= generator(stride, outputs, labels)
        return targets
