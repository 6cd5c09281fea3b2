"""Targets of part-affinity fields.

Cao et al., "Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields", CVPR 2017; here
fading out with the distance from the edge.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from dlcexp.models.targets.base import TargetGenerator, Targets


@dataclass
class PartAffinityFieldGenerator(TargetGenerator):
    """Fields (b, 2 e, h, w): on each edge its direction, times 1 - distance / width.

    Args:
        graph: the edges, each two bodyparts: from, to.
        width: distance from the line between them at which a field ends, image px.
    """

    graph: list[list[int]]
    width: float

    def __call__(
        self,
        stride: float,
        outputs: Mapping[str, torch.Tensor],
        labels: Mapping[str, torch.Tensor],
    ) -> Targets:
        """Targets of all pixels, without weights; individuals in order, the later on top."""
        keypoints = self.keypoints(labels, outputs)
        h, w = outputs["heatmap"].shape[-2:]
        b = len(keypoints)
        fields = keypoints.new_zeros(b, len(self.graph), 2, h, w)
        # Image by image, since the fields of a whole batch are large.
        for field, individuals in zip(fields, keypoints, strict=True):
            for individual in individuals:
                self._draw(field, individual, stride)
        return {"paf": {"target": fields.flatten(1, 2)}}

    def _draw(self, field: torch.Tensor, keypoints: torch.Tensor, stride: float) -> None:
        """Draw the edges of one individual (k, 3) onto the fields (e, 2, h, w)."""
        h, w = field.shape[-2:]
        start, end = keypoints[torch.tensor(self.graph, device=field.device).T]
        vector = (end - start)[:, :2]
        length = vector.norm(dim=1)
        present = (start[:, 2] > 0) & (end[:, 2] > 0) & (length > 0)
        if not present.any():
            return
        # Whole pixels, as DeepLabCut draws: at stride 1 a map pixel is its upper left corner.
        middles = torch.arange(max(h, w), device=field.device) * stride + stride // 2
        x = (middles[:w] - start[present, 0:1])[:, None, :]
        y = (middles[:h] - start[present, 1:2])[:, :, None]
        length = length[present, None, None]
        direction = vector[present] / length[:, 0]
        ux, uy = direction[:, 0, None, None], direction[:, 1, None, None]
        along = x * ux + y * uy
        distance = (x * uy - y * ux).abs()
        inside = (along >= 0) & (along <= length) & (distance <= self.width)
        strength = 1 - distance / self.width
        drawn = strength.unsqueeze(1) * direction[:, :, None, None]
        field[present] = torch.where(inside.unsqueeze(1), drawn, field[present])
