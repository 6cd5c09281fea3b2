import math
from collections.abc import Callable
from types import SimpleNamespace

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
