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
        # The fields of one image fit into the cache of a CPU, those of a batch do not.
        at_once = 1 if _on_cpu(fields) else b
        for part, animals in zip(fields.split(at_once), keypoints.split(at_once), strict=True):
            for individual in animals.unbind(dim=1):
                self._draw(part.flatten(0, 1), individual, stride)
        return {"paf": {"target": fields.flatten(1, 2)}}

    def _draw(self, fields: torch.Tensor, keypoints: torch.Tensor, stride: float) -> None:
        """Draw the edges of one individual (b, k, 3) onto the fields (b * e, 2, h, w)."""
        h, w = fields.shape[-2:]
        points = keypoints.unbind(dim=1)
        start, end = (
            torch.stack([points[i] for i in ends], dim=1).flatten(0, 1)
            for ends in zip(*self.graph, strict=True)
        )
        vector = (end - start)[:, :2]
        length = vector.norm(dim=1)
        present = (start[:, 2] > 0) & (end[:, 2] > 0) & (length > 0)
        some: torch.Tensor | slice = slice(None)
        # A CPU leaves out what is not there; to know it, a GPU would wait for all that it computes.
        if _on_cpu(fields):
            if not present.any():
                return
            some = present
        # Whole pixels, as DeepLabCut draws: at stride 1 a map pixel is its upper left corner.
        middles = torch.arange(max(h, w), device=fields.device) * stride + stride // 2
        x = (middles[:w] - start[some, 0:1])[:, None, :]
        y = (middles[:h] - start[some, 1:2])[:, :, None]
        direction = vector[some] / length[some, None].where(present[some, None], 1.0)
        length = length[some, None, None]
        ux, uy = direction[:, 0, None, None], direction[:, 1, None, None]
        along = x * ux + y * uy
        distance = (x * uy - y * ux).abs()
        inside = (along >= 0) & (along <= length) & (distance <= self.width)
        inside &= present[some, None, None]
        strength = 1 - distance / self.width
        drawn = strength.unsqueeze(1) * direction[:, :, None, None]
        fields[some] = torch.where(inside.unsqueeze(1), drawn, fields[some])


def _on_cpu(values: torch.Tensor) -> bool:
    return values.device.type == "cpu"
