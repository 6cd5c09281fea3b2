import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from omegaconf import DictConfig
from torch import nn

from dlcexp.runs.stages import pose_stage
from dlcexp.training import RunFolder
from dlcexp.training.epochs import EarlyStopping, EpochEnd, single_precision


@pytest.mark.parametrize(
    ("values", "patience", "min_delta", "larger", "stops"),
    [
        pytest.param([1, 2, 2, 2], 2, 0.0, True, True, id="two without a better one"),
        pytest.param([1, 2, 2, 3], 2, 0.0, True, False, id="better in time"),
        pytest.param([1, 1.5, 1.9], 2, 1.0, True, True, id="better by too little"),
        pytest.param([3, 2, 1], 1, 0.0, False, False, id="smaller is better"),
        pytest.param([3, 3], 1, 0.0, False, True, id="smaller is better, equal"),
        pytest.param([1, math.nan], 1, 0.0, True, True, id="NaN is not better"),
        pytest.param([math.nan, 1], 1, 0.0, True, False, id="anything beats NaN"),
        pytest.param([1] * 50, None, 0.0, True, False, id="without patience never"),
    ],
)
def test_early_stopping(
    values: list[float], patience: int | None, min_delta: float, larger: bool, stops: bool
) -> None:
    whole = EarlyStopping(patience, min_delta, larger)
    resumed = EarlyStopping(patience, min_delta, larger)
    for value in values:
        whole.update(value)
        fresh = EarlyStopping(patience, min_delta, larger)
        fresh.load_state_dict(resumed.state_dict())
        resumed = fresh
        resumed.update(value)
    assert whole.exhausted == resumed.exhausted == stops


@pytest.mark.parametrize(
    ("mode", "losses", "scores", "rates"),
    [
        pytest.param("min", [3, 2, 2, 1], [9, 9, 9, 9], [1, 1, 0.1, 0.1], id="loss stalls"),
        pytest.param("max", [3, 2, 2, 1], [1, 2, 3, 3], [1, 1, 1, 0.1], id="metric stalls"),
        pytest.param("max", [3, 2, 2, 1], [1, None, None, 2], [1, 1, 1, 1], id="not evaluated"),
    ],
)
def test_a_plateau_watches_the_loss_or_the_key_metric(
    tree: Callable[..., DictConfig],
    tmp_path: Path,
    mode: Literal["min", "max"],
    losses: list[float],
    scores: list[float | None],
    rates: list[float],
) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode=mode, patience=0)
    module: Any = SimpleNamespace(scheduler=plateau, optimizers=lambda: optimizer)
    cfg = tree({"trainer.key_metric": "test.mAP"})
    epochs = EpochEnd(cfg, pose_stage(cfg), RunFolder(tmp_path), lambda _: {})
    seen = []
    for loss, score in zip(losses, scores, strict=True):
        epochs._step_scheduler(module, loss, {} if score is None else {"test.mAP": score})
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == pytest.approx(rates)


def test_evaluation_is_in_single_precision() -> None:
    network = nn.Linear(2, 2)
    assert single_precision(network) is network
    half = nn.Linear(2, 2).bfloat16()
    assert single_precision(half).weight.dtype == torch.float32
    assert half.weight.dtype == torch.bfloat16
