import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from dlcexp.config.build import build
from dlcexp.data.loading import PoseData
from dlcexp.runs.stages import pose_stage
from dlcexp.training.module import LossMeter
from dlcexp.training.pose_module import PoseModule


def test_losses_are_means_over_images_not_over_batches() -> None:
    meter = LossMeter()
    meter.add({"total_loss": torch.tensor(1.0)}, images=3)
    meter.add({"total_loss": torch.tensor(5.0)}, images=1)
    means = meter.means(SimpleNamespace(trainer=SimpleNamespace(world_size=1)))  # type: ignore[arg-type]
    assert means["train.total_loss"] == pytest.approx((3 * 1.0 + 5.0) / 4)
    assert meter.current() == pytest.approx(2.0)
    assert means["images_per_second"] > 0


def test_losses_are_means_over_all_processes() -> None:
    def reduce(sums: torch.Tensor, reduce_op: str) -> torch.Tensor:
        assert reduce_op == "sum"
        return sums + torch.tensor([2 * 7.0, 2.0])  # another process saw 2 images with a loss of 7

    meter = LossMeter()
    meter.add({"total_loss": torch.tensor(1.0)}, images=4)
    trainer = SimpleNamespace(world_size=2, strategy=SimpleNamespace(reduce=reduce))
    means = meter.means(SimpleNamespace(trainer=trainer))  # type: ignore[arg-type]
    assert means["train.total_loss"] == pytest.approx((4 * 1.0 + 2 * 7.0) / 6)


@pytest.mark.parametrize(
    ("losses", "step", "loss"),
    [
        pytest.param([3.0, 2.0, 1.0], 3, 1.0, id="the last if all are finite"),
        pytest.param([3.0, math.inf, 1.0, math.nan, 2.0], 2, math.inf, id="else the first"),
        pytest.param([math.nan], 1, math.nan, id="also at once"),
    ],
)
def test_the_first_step_that_diverges_is_found_later(
    losses: list[float], step: int, loss: float
) -> None:
    meter = LossMeter()
    for each in losses:
        meter.add({"total_loss": torch.tensor(each)}, images=2)
    assert meter.look(trainer_of()) == pytest.approx((step, loss), nan_ok=True)
    assert meter.latest == pytest.approx(sum(losses) / len(losses), nan_ok=True)


@pytest.mark.parametrize(
    ("other", "step", "loss"),
    [
        pytest.param([3.0, 1.0, 9.0], 3, 1.0, id="finite"),
        pytest.param([2.0, math.inf, math.inf], 2, math.inf, id="earlier"),
        pytest.param([3.0, math.nan, math.nan], 3, math.nan, id="in the last step"),
    ],
)
@pytest.mark.parametrize("rank", [0, 1])
def test_all_processes_learn_of_the_first_step_that_diverges_in_one(
    other: list[float], step: int, loss: float, rank: int
) -> None:
    def all_gather(seen: torch.Tensor) -> torch.Tensor:
        others = torch.tensor(other, dtype=seen.dtype)
        return torch.stack([seen, others] if rank == 0 else [others, seen])

    meter = LossMeter()
    for each in (3.0, 2.0, 1.0):
        meter.add({"total_loss": torch.tensor(each)}, images=2)
    found = meter.look(trainer_of(world_size=2, global_rank=rank, all_gather=all_gather))
    assert found == pytest.approx((step, loss), nan_ok=True)
    assert meter.latest == pytest.approx(2.0)  # of this process


def trainer_of(world_size: int = 1, global_rank: int = 0, **strategy: Any) -> Any:
    return SimpleNamespace(
        world_size=world_size, global_rank=global_rank, strategy=SimpleNamespace(**strategy)
    )


def test_nothing_seen_is_no_number() -> None:
    assert math.isnan(LossMeter().current())


def test_frozen_parameters_keep_their_numbers_and_their_values(
    tree: Callable[..., DictConfig],
) -> None:
    cfg = tree()
    module = PoseModule(build(cfg.model, key="model"), PoseData(cfg), cfg, pose_stage(cfg))
    frozen, *others = module.model.parameters()
    frozen.requires_grad_(False)
    before = frozen.clone()
    optimizer = module.configure_optimizers()
    for parameter in others:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    state = optimizer.state_dict()
    assert state["param_groups"][0]["params"] == list(range(1 + len(others)))
    assert sorted(state["state"]) == list(range(1, 1 + len(others)))
    assert torch.equal(frozen, before)
