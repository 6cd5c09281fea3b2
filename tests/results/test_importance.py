"""Importance of swept keys, against scipy and sums of squares worked by hand."""

import math

import numpy as np
import pytest
from scipy import stats
from sweep_support import write_run

from dlcexp.results.importance import importances, variance_shares
from dlcexp.results.read_sweep import read_sweep


def test_of_one_key_it_is_scipys_analysis_of_variance():
    rng = np.random.default_rng(0)
    groups = [rng.normal(mean, 1, 6) for mean in (0, 1, 3)]
    f = stats.f_oneway(*groups).statistic
    # epsilon squared = (SSb - dfb * MSw) / SSt, with F = (SSb / dfb) / MSw; dfb 2, dfw 15
    expected = (2 * f - 2) / (2 * f + 15)
    levels = np.repeat([0, 1, 2], 6)
    assert variance_shares([levels], np.concatenate(groups)) == pytest.approx([expected])


def test_of_a_balanced_grid_by_hand():
    # Two keys of two levels, two jobs each: A moves by 4, B by 2, noise +-0.5.
    a, b = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 1, 1, 0, 0, 1, 1])
    values = 4.0 * a + 2.0 * b + np.tile([0.5, -0.5], 4)
    # SS: A 8 * 2^2 = 32, B 8 * 1^2 = 8, residual 8 * 0.25 = 2 with 5 degrees: chance 0.4 each
    assert variance_shares([a, b], values) == pytest.approx([31.6 / 42, 7.6 / 42])


def test_a_key_that_does_nothing_has_next_to_no_share():
    rng = np.random.default_rng(2)
    levels = rng.integers(0, 4, (200, 60))
    shares = [variance_shares([row], rng.normal(size=60))[0] for row in levels]
    assert np.mean(shares) < 0.03


@pytest.mark.parametrize(
    ("factors", "values"),
    [([[0, 1]], [1.0, 2.0]), ([[0, 0, 1, 1]], [3.0, 3.0, 3.0, 3.0])],
    ids=["as many levels as jobs", "nothing varies"],
)
def test_where_nothing_can_be_told_it_is_not(factors, values):
    assert all(map(math.isnan, variance_shares(factors, np.array(values))))


def test_of_a_sweep_the_most_important_key_first(tmp_path):
    for number in range(12):
        rate, fold, seed = number % 2, number // 2 % 3, number
        changes = {"optimizer.lr": rate, "split.fold": fold, "seed": seed}
        write_run(tmp_path / str(number), changes, metrics={"test.mAP": 50 + 10 * fold + rate})
    found = importances(read_sweep(tmp_path))
    assert [each.factor.key for each in found] == ["split.fold", "optimizer.lr"]
    assert found[0].share > 0.9
    assert found[0].swing == pytest.approx(20)
