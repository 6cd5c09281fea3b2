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


@pytest.mark.parametrize("name", [n for n in criterions.__all__ if n != "Criterion"])
def test_weights_of_zero_give_a_loss_of_zero_with_a_gradient(name):
    output = torch.randn(2, 3, requires_grad=True)
    loss = getattr(criterions, name)()(output, torch.zeros(2, 3), torch.zeros(2, 3))
    loss.backward()
    assert loss == 0
    assert not output.grad.any()
