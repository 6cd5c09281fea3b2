import math

import pytest
import torch
from torch import nn

from dlcexp.training.epochs import EarlyStopping, single_precision


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


def test_evaluation_is_in_single_precision() -> None:
    network = nn.Linear(2, 2)
    assert single_precision(network) is network
    half = nn.Linear(2, 2).bfloat16()
    assert single_precision(half).weight.dtype == torch.float32
    assert half.weight.dtype == torch.bfloat16
