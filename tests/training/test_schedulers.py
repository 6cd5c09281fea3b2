import warnings
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from scheduler_support import SCHEDULERS, node
from torch import nn

from dlcexp.config.options import options
from dlcexp.errors import ConfigError
from dlcexp.training.schedulers import (
    ConstantFactor,
    ExponentialDecay,
    InverseSquareRoot,
    LRListScheduler,
    build_optimizer,
    build_scheduler,
    check_optimizer,
)

OPTIMIZERS = [
    name
    for name, cls in vars(torch.optim).items()
    if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer) and name != "Optimizer"
]


def sgd(lr: float = 1.0, groups: int = 1) -> torch.optim.SGD:
    parameters = [{"params": [nn.Parameter(torch.ones(2, 2))]} for _ in range(groups)]
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9)


def rates(scheduler: Any, optimizer: torch.optim.Optimizer, epochs: int) -> list[float]:
    seen = []
    for _ in range(epochs):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_lr_list_sets_the_listed_values_at_the_milestones() -> None:
    optimizer = sgd(0.5)
    scheduler = LRListScheduler(optimizer, milestones=[2, 4], lr_list=[[0.1], [0.01]])
    assert rates(scheduler, optimizer, 6) == [0.5, 0.5, 0.1, 0.1, 0.01, 0.01]


def test_lr_list_sets_each_group() -> None:
    optimizer = sgd(0.5, groups=2)
    scheduler = LRListScheduler(optimizer, milestones=[1], lr_list=[[0.1, 0.2]])
    rates(scheduler, optimizer, 1)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2]


@pytest.mark.parametrize(
    ("milestones", "lr_list", "message"),
    [
        ([1, 2], [[0.1]], r"\b2\b"),
        ([1], [[0.1, 0.2]], "lr_list"),
        ([2, 1], [[0.1], [0.2]], r"milestones.*\[2, 1\]"),
    ],
)
def test_lr_list_checks_its_lengths(
    milestones: list[int], lr_list: list[Any], message: str
) -> None:
    listed = {"_target_": "dlcexp.training.schedulers.LRListScheduler", "_partial_": True}
    with pytest.raises(ConfigError, match=message) as caught:
        build_scheduler({**listed, "milestones": milestones, "lr_list": lr_list}, sgd())
    assert caught.value.key in ("scheduler", "scheduler.milestones")


def test_lr_list_goes_on_after_a_restart() -> None:
    def make() -> tuple[torch.optim.SGD, LRListScheduler]:
        optimizer = sgd(0.5)
        return optimizer, LRListScheduler(optimizer, [2, 4], [[0.1], [0.01]])

    optimizer, scheduler = make()
    rates(scheduler, optimizer, 3)
    again, resumed = make()
    again.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    assert rates(resumed, again, 2) == [0.1, 0.01]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (ExponentialDecay(0.5), [1.0, 0.5, 0.25]),
        (ConstantFactor(0.9), [0.9, 0.9, 0.9]),
        (InverseSquareRoot(2), [0.5, 1.0, (2 / 3) ** 0.5]),
    ],
)
def test_functions_of_the_epoch(function: Any, expected: list[float]) -> None:
    assert [function(epoch) for epoch in range(3)] == pytest.approx(expected)


def test_every_scheduler_of_torch_is_here() -> None:
    module = vars(torch.optim.lr_scheduler)
    base = torch.optim.lr_scheduler.LRScheduler
    classes = {n for n, c in module.items() if isinstance(c, type) and issubclass(c, base)}
    assert {name for name in classes if not name.startswith("_")} - {"LRScheduler"} == set(
        SCHEDULERS
    )


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_changes_the_rate_and_resumes(name: str) -> None:
    def make() -> tuple[torch.optim.SGD, Any]:
        optimizer = sgd(1.0)
        return optimizer, build_scheduler(node(name, **SCHEDULERS[name]), optimizer)

    def run(optimizer: torch.optim.SGD, scheduler: Any, epochs: int) -> list[float]:
        if name != "ReduceLROnPlateau":
            return rates(scheduler, optimizer, epochs)
        seen = []
        for _ in range(epochs):
            seen.append(optimizer.param_groups[0]["lr"])
            scheduler.step(1.0)
        return seen

    whole = run(*make(), 6)
    assert len(set(whole)) > 1
    optimizer, scheduler = make()
    first = run(optimizer, scheduler, 4)
    again, resumed = make()
    again.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    assert first + run(again, resumed, 2) == whole


def test_building_nested_schedules_is_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_scheduler(node("SequentialLR", **SCHEDULERS["SequentialLR"]), sgd())


def test_no_schedule() -> None:
    assert build_scheduler(None, sgd()) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        pytest.param(node("StepLR", step_sise=3), "step_sise", id="misspelt"),
        pytest.param(
            node("ChainedScheduler", schedulers=[node("ReduceLROnPlateau")]),
            "ReduceLROnPlateau",
            id="nested plateau",
        ),
        pytest.param(
            node("OneCycleLR", max_lr=1.0, total_steps=-1), "total_steps", id="refused by torch"
        ),
    ],
)
def test_mistakes_name_the_key(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build_scheduler(wrong, sgd())
    assert caught.value.key.startswith("scheduler")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_a_loss(name: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 1, bias=False))
    lr = {"Adadelta": 1.0, "ASGD": 0.05, "SGD": 0.05, "LBFGS": 0.1}.get(name, 0.01)
    listed = {"_target_": f"torch.optim.{name}", "_partial_": True, "lr": lr}
    optimizer = build_optimizer(listed, network.parameters())
    if name == "SparseAdam":
        with pytest.raises(ConfigError, match="SparseAdam"):
            check_optimizer(optimizer)
        return
    check_optimizer(optimizer)
    inputs = torch.rand(32, 4)
    wanted = inputs.sum(dim=1, keepdim=True)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(network(inputs), wanted)
        loss.backward()
        return loss

    losses = [float(optimizer.step(closure).detach()) for _ in range(30)]  # type: ignore[arg-type, union-attr]
    assert losses[-1] < 0.9 * losses[0]


def test_an_optimizer_refuses_in_our_words() -> None:
    node = {"_target_": "torch.optim.SGD", "_partial_": True, "lr": -1.0}
    with pytest.raises(ConfigError, match=r"^optimizer\.lr: .*SGD.*-1\.0"):
        build_optimizer(node, [nn.Parameter(torch.ones(1))])


@pytest.mark.parametrize("option", [name for name in options("scheduler") if name != "none"])
def test_every_option_builds(option: str) -> None:
    from importlib import import_module

    from dlcexp.config import resolvers
    from dlcexp.config.options import CONFIG_MODULE

    resolvers.register()
    folder = import_module(CONFIG_MODULE).__path__[0]
    tree = OmegaConf.create(
        {
            "epochs": 20,
            "recipe": {"lr": 0.1, "scheduler": {"lr_list": [[0.1]], "milestones": [5]}},
            "optimizer": {"lr": 0.1},
        }
    )
    tree.scheduler = OmegaConf.load(f"{folder}/scheduler/{option}.yaml")
    scheduler = build_scheduler(OmegaConf.to_container(tree.scheduler, resolve=True), sgd())
    assert scheduler is not None
