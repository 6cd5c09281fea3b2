"""The loss of coordinate classification (Jiang et al., "RTMPose", arXiv 2303.07399)."""

import torch
import torch.nn.functional as F

from dlcexp.models.criterions.base import Criterion


class KLDiscreteLoss(Criterion):
    """Kullback-Leibler divergence of the output's distribution from the label's.

    Averaged over bins and keypoints, summed over the batch.

    Args:
        use_target_weight: multiply by the weights of the keypoints.
        beta: factor of the logits (inverse temperature) in both softmaxes.
        label_softmax: pass the labels through a softmax.
        weight: factor of this loss in the total loss of its head.
    """

    def __init__(
        self,
        use_target_weight: bool = True,
        beta: float = 1.0,
        label_softmax: bool = False,
        weight: float = 1.0,
    ) -> None:
        super().__init__(weight)
        self.use_target_weight = use_target_weight
        self.beta = beta
        self.label_softmax = label_softmax

    def forward(
        self, output: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | float = 1.0
    ) -> torch.Tensor:
        """Return the loss of logits (b, k, bins), labels (b, n, k, bins) and weights (b, n, k)."""
        keypoints, bins = output.shape[-2:]
        log_probabilities = (output * self.beta).log_softmax(dim=-1).view(-1, bins)
        label = target.reshape(-1, bins)
        if self.label_softmax:
            label = (label * self.beta).softmax(dim=-1)
        divergence = F.kl_div(log_probabilities, label, reduction="none").mean(dim=1)
        if self.use_target_weight:
            divergence = divergence * torch.as_tensor(weights).flatten()
        return divergence.sum() / keypoints
