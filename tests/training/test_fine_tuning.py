"""Frozen modules, and learning rates of their own under every schedule."""

from typing import Any

import pytest
import torch
from scheduler_support import SCHEDULERS, node
from torch import nn

from dlcexp.config.build import build
from dlcexp.errors import ConfigError
from dlcexp.models import PoseModel
from dlcexp.training.fine_tuning import (
    find_module,
    freeze,
    learning_rates,
    parameter_groups,
    scale_rates,
    unscaled,
)
from dlcexp.training.schedulers import LRListScheduler, build_scheduler


@pytest.fixture
def model(small_tree: dict[str, Any]) -> PoseModel:
    return build(small_tree["model"], key="model")


def step(optimizer: torch.optim.Optimizer, scheduler: Any) -> None:
    optimizer.step()
    with unscaled(optimizer):
        plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
        scheduler.step(1.0) if plateau else scheduler.step()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_factor_holds_under_every_schedule(name: str, model: PoseModel) -> None:
    """A group with a factor has that times what a lone optimizer has, epoch by epoch."""
    lone = torch.optim.SGD(model.parameters(), lr=1.0)
    groups = parameter_groups(model, {"backbone": 0.1})
    optimizer = torch.optim.SGD(groups, lr=1.0)
    alone = build_scheduler(node(name, **SCHEDULERS[name]), lone)
    scheduler = build_scheduler(node(name, **SCHEDULERS[name]), optimizer)
    scale_rates(optimizer)
    for _ in range(6):
        rates = learning_rates(optimizer)
        expected = lone.param_groups[0]["lr"]
        assert rates["lr"] == pytest.approx(expected)
        assert rates["lr.backbone"] == pytest.approx(0.1 * expected)
        step(lone, alone)
        step(optimizer, scheduler)


def test_deeplabcuts_schedule_sets_one_value_for_all_groups(model: PoseModel) -> None:
    optimizer = torch.optim.SGD(parameter_groups(model, {"backbone": 0.1}), lr=1.0)
    scheduler = LRListScheduler(optimizer, [1, 3], [[0.5], [0.2]])
    scale_rates(optimizer)
    seen = []
    for _ in range(4):
        seen.append(list(learning_rates(optimizer).values()))
        step(optimizer, scheduler)
    expected = [[1, 0.1], [0.5, 0.05], [0.5, 0.05], [0.2, 0.02]]
    assert torch.allclose(torch.tensor(seen), torch.tensor(expected))


def test_factors_outlive_the_state_of_the_optimizer(model: PoseModel) -> None:
    optimizer = torch.optim.SGD(parameter_groups(model, {"backbone": 0.1}), lr=1.0)
    scheduler = build_scheduler(node("ExponentialLR", gamma=0.5), optimizer)
    scale_rates(optimizer)
    step(optimizer, scheduler)
    other = torch.optim.SGD(parameter_groups(model, {"backbone": 0.1}), lr=1.0)
    again = build_scheduler(node("ExponentialLR", gamma=0.5), other)
    scale_rates(other)
    other.load_state_dict(optimizer.state_dict())
    again.load_state_dict(scheduler.state_dict())
    for _ in range(2):
        assert learning_rates(other) == learning_rates(optimizer)
        step(optimizer, scheduler)
        step(other, again)


def test_the_innermost_factor_counts(model: PoseModel) -> None:
    groups = parameter_groups(model, {"backbone": 0.1, "backbone.layer1": 0.5})
    sizes = {g["lr_scale"]: sum(p.numel() for p in g["params"]) for g in groups}
    layer = sum(p.numel() for p in model.backbone.model.layer1.parameters())
    backbone = sum(p.numel() for p in model.backbone.parameters() if p.requires_grad)
    heads = sum(p.numel() for p in model.heads.parameters())
    assert sizes == {1.0: heads, 0.5: layer, 0.1: backbone - layer}


def test_a_frozen_module_has_no_gradient_and_keeps_its_statistics(model: PoseModel) -> None:
    freeze(model, ["backbone.layer1"])
    model.train()
    layer = model.backbone.model.layer1
    norms = [each for each in layer.modules() if isinstance(each, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    assert not any(p.requires_grad for p in layer.parameters())
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    optimizer = torch.optim.SGD(parameter_groups(model, {"heads": 2.0}), lr=0.1)
    outputs = model(torch.randn(2, 3, 64, 64))["bodypart"]
    outputs["heatmap"].square().sum().backward()
    optimizer.step()
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    assert len(optimizer.param_groups[0]["params"]) < len(list(model.parameters()))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("backbon", "'backbon'.*'backbone'"),
        ("backbone.layr1", "'backbone.layr1'.*'backbone.layer1'"),
        ("heads.bodypart.predictor", "'heads.bodypart.predictor'"),
    ],
)
def test_a_module_that_is_not_there_is_told(path: str, message: str, model: PoseModel) -> None:
    with pytest.raises(ConfigError, match=message):
        find_module(model, path, "weights.freeze")


def test_a_path_leaves_out_what_layers_are_wrapped_in(model: PoseModel) -> None:
    assert find_module(model, "backbone.layer1", "weights.freeze") == "backbone.model.layer1"
    outer = nn.ModuleDict({"backbone": nn.ModuleDict({"backbone": model.backbone})})
    found = find_module(outer, "backbone.backbone.layer1", "weights.freeze")
    assert found == "backbone.backbone.model.layer1"


def test_something_must_be_left_to_train(model: PoseModel) -> None:
    with pytest.raises(ConfigError, match=r"^weights\.freeze: "):
        freeze(model, ["backbone", "heads"])
