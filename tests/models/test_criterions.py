"""Criterions, worked by hand."""

import pytest
import torch

from dlcexp.models import criterions

ERROR = torch.tensor([[0.5, 3.0, 1.0, 0.05]])
WEIGHTS = torch.tensor([[2.0, 1.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("WeightedMSECriterion", (2 * 0.25 + 9 + 0.0025) / 3),
        ("WeightedHuberCriterion", (2 * 0.125 + 2.5 + 0.00125) / 3),
        ("DEKRHeatmapLoss", (2 * 0.25 + 9 + 0.0025) / 4),
        ("DEKROffsetLoss", (2 * (0.5 - 1 / 18) + (3 - 1 / 18) + 0.5 * 0.0025 * 9) / 3),
    ],
)
def test_by_hand(name, expected):
    target = torch.ones(1, 4)
    loss = getattr(criterions, name)(weight=1.0)(target + ERROR, target, WEIGHTS)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_by_hand():
    loss = criterions.WeightedBCECriterion()(
        torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0]), torch.tensor([1.0, 3.0])
    )
    expected = (torch.log(torch.tensor(2.0)) + 3 * torch.log1p(torch.exp(torch.tensor(2.0)))) / 2
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("use_target_weight", [True, False])
@pytest.mark.parametrize("label_softmax", [True, False])
def test_divergence_by_hand(use_target_weight, label_softmax):
    torch.manual_seed(0)
    output, beta = torch.randn(2, 3, 8), 5.0
    target = torch.rand(2, 1, 3, 8).softmax(dim=-1)
    weights = torch.tensor([[[1.0, 0.0, 1.0]], [[0.0, 0.0, 2.0]]])
    criterion = criterions.KLDiscreteLoss(use_target_weight, beta, label_softmax)
    expected = 0.0
    for image in range(2):
        for keypoint in range(3):
            log_p = torch.log_softmax(beta * output[image, keypoint], dim=0)
            q = target[image, 0, keypoint]
            q = torch.softmax(beta * q, dim=0) if label_softmax else q
            weight = weights[image, 0, keypoint] if use_target_weight else 1.0
            divergence = (q * (q.log() - log_p)).sum()
            expected += weight * divergence / 8 / 3  # bins, keypoints
    torch.testing.assert_close(criterion(output, target, weights), expected)


def test_divergence_of_the_label_from_itself_is_zero():
    target = torch.rand(1, 1, 4, 16)
    loss = criterions.KLDiscreteLoss(beta=3.0, label_softmax=True)(
        target[:, 0], target, torch.ones(1, 1, 4)
    )
    assert loss.item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("name", [n for n in criterions.__all__ if n != "Criterion"])
def test_weights_of_zero_give_a_loss_of_zero_with_a_gradient(name):
    output = torch.randn(2, 3, requires_grad=True)
    loss = getattr(criterions, name)()(output, torch.zeros(2, 3), torch.zeros(2, 1))
    loss.backward()
    assert loss == 0
    assert not output.grad.any()
