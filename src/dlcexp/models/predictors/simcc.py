"""Decoding of coordinate classification: each keypoint at the likeliest column and row.

Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation", ECCV
2022.
"""

from collections.abc import Mapping

import torch

from dlcexp.models.predictors.base import Predictor


class SimCCPredictor(Predictor):
    """Poses (b, 1, k, 3) from logits "x" (b, k, width * ratio) and "y" (b, k, height * ratio).

    Args:
        simcc_split_ratio: bins per image px.
        sigma: standard deviations of the labels in x and y, bins.
        decode_beta: factor of the logits, together with sigma, unless they are normalized.
        apply_softmax: score by probabilities instead of logits.
        normalize_outputs: clip the logits at 0, and divide them by their maximum if it exceeds 1.
    """

    def __init__(
        self,
        simcc_split_ratio: float = 2.0,
        sigma: list[float] | float = 6.0,
        decode_beta: float = 150.0,
        apply_softmax: bool = True,
        normalize_outputs: bool = False,
    ) -> None:
        super().__init__()
        self.simcc_split_ratio = simcc_split_ratio
        self.sigma = [sigma, sigma] if isinstance(sigma, float | int) else sigma
        self.decode_beta = decode_beta
        self.apply_softmax = apply_softmax
        self.normalize_outputs = normalize_outputs

    def forward(
        self, stride: float, outputs: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Decode one individual per image, scored by the less likely of column and row.

        A keypoint is at bin -1 of both axes where one of them is uninformative: its score is not
        above that of a flat distribution, without softmax 0.
        """
        x, y = (self._scores(outputs[axis], i) for i, axis in enumerate("xy"))
        scores = torch.minimum(x.amax(dim=-1), y.amax(dim=-1))
        bins = torch.stack([x.argmax(dim=-1), y.argmax(dim=-1)], dim=-1)
        absent = self._flat(x) | self._flat(y) if self.apply_softmax else scores <= 0
        positions = bins.masked_fill(absent.unsqueeze(-1), -1) / self.simcc_split_ratio
        return {"poses": torch.cat([positions, scores.unsqueeze(-1)], dim=-1).unsqueeze(1)}

    def _scores(self, logits: torch.Tensor, axis: int) -> torch.Tensor:
        """Return the scores (b, k, bins) of the bins of one axis."""
        if self.normalize_outputs:
            logits = logits.clamp(min=0)
            logits = logits / logits.amax(dim=-1, keepdim=True).clamp(min=1)
        else:
            logits = logits * (self.decode_beta * self.sigma[axis])
        return logits.softmax(dim=-1) if self.apply_softmax else logits

    @staticmethod
    def _flat(scores: torch.Tensor) -> torch.Tensor:
        """Return whether all bins have the same score."""
        return scores.amax(dim=-1) == scores.amin(dim=-1)
