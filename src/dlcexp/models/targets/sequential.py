"""Several target generators for the maps of one head."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from dlcexp.models.targets.base import TargetGenerator, Targets


@dataclass
class SequentialGenerator(TargetGenerator):
    """The targets of all its generators; where two draw the same map, the later one counts."""

    generators: list[TargetGenerator]

    def __call__(
        self,
        stride: float,
        outputs: Mapping[str, torch.Tensor],
        labels: Mapping[str, torch.Tensor],
    ) -> Targets:
        targets: Targets = {}
        for generator in self.generators:
            targets |= generator(stride, outputs, labels)
        return targets
