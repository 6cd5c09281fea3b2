"""Paired tests, against scipy and numbers worked by hand."""

import math

import numpy as np
import pytest
from scipy import stats
from sweep_support import FAST, SLOW, write_run

from dlcexp.results.read_sweep import read_sweep
from dlcexp.results.recipe_text import verdict
from dlcexp.results.statistics import CORRECTED, PAIRED, compare, holm, paired_test


def test_without_overlap_it_is_scipys_paired_t_test():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=8), rng.normal(0.5, size=8)
    assert paired_test(one - other) == pytest.approx(stats.ttest_rel(one, other).pvalue)


def test_of_five_folds_the_variance_is_more_than_doubled():
    # Differences 1, 0.5, 3, 0, 2: mean 1.3, variance 1.45. Nadeau and Bengio: 1/5 + 1/4.
    differences = np.subtract(FAST, SLOW)
    t = 1.3 / math.sqrt(1.45 * 0.45)
    assert paired_test(differences, 1 / 4) == pytest.approx(2 * stats.t.sf(t, 4))
    assert paired_test(differences) < 0.1 < paired_test(differences, 1 / 4)


@pytest.mark.parametrize(
    ("differences", "p"), [([1.0], math.nan), ([], math.nan), ([0, 0, 0], 1.0), ([2, 2, 2], 0.0)]
)
def test_borders(differences, p):
    assert paired_test(differences, 0.25) == pytest.approx(p, nan_ok=True)


def test_holm():
    # Holm's example form: 4 * 0.005, 3 * 0.01, 2 * 0.03, then never below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, math.nan, 0.6]) == pytest.approx([1.0, math.nan, 1.0], nan_ok=True)


def test_under_no_difference_five_folds_find_a_winner_as_rarely_as_they_say():
    # Correlation of resampled differences is test / (test + train) = 1/5 by Nadeau and Bengio.
    rng = np.random.default_rng(1)
    shared = rng.normal(size=(2000, 1)) * math.sqrt(0.2)
    draws = shared + rng.normal(size=(2000, 5)) * math.sqrt(0.8)
    corrected = np.mean([paired_test(row, 1 / 4) < 0.05 for row in draws])
    plain = np.mean([paired_test(row) < 0.05 for row in draws])
    assert corrected == pytest.approx(0.05, abs=0.015)
    assert plain > 0.09


def test_recipes_are_compared_on_the_folds_that_both_have(folds):
    (folds / "0" / "status.json").write_text('{"status": "failed", "error": "no memory"}')
    (comparison,) = compare(read_sweep(folds))
    assert (comparison.n, comparison.test, comparison.unit) == (4, CORRECTED, "folds")
    assert comparison.difference == pytest.approx((0.5 + 3 + 0 + 2) / 4)


def test_seeds_on_the_same_folds_are_averaged_and_are_no_more_folds(folds):
    (before,) = compare(read_sweep(folds))
    for number in range(10):  # each fold again, from another seed, with the same result
        rate = 0.001 if number < 5 else 0.01
        changes = {"optimizer.lr": rate, "split.fold": number % 5, "seed": 1}
        score = (SLOW + FAST)[number]
        write_run(folds / str(number + 10), changes, metrics={"test.mAP": score})
    (after,) = compare(read_sweep(folds))
    assert (after.n, after.p) == (before.n, pytest.approx(before.p))


def test_seeds_alone_are_independent(tmp_path):
    for number, score in enumerate((*SLOW, *FAST)):
        changes = {"optimizer.lr": 0.1 if number < 5 else 0.2, "seed": number % 5}
        write_run(tmp_path / str(number), changes, metrics={"test.mAP": score})
    (comparison,) = compare(read_sweep(tmp_path))
    assert (comparison.test, comparison.unit, comparison.n) == (PAIRED, "seeds", 5)
    assert comparison.p == pytest.approx(stats.ttest_rel(FAST, SLOW).pvalue)


def test_a_difference_within_noise_is_called_that(folds):
    lines = verdict(read_sweep(folds))
    expected = "optimizer.lr=0.01 and optimizer.lr=0.001: not distinguishable, p=0.18, n=5"
    assert lines[0] == expected
    assert "Nadeau and Bengio" in lines[1]
    assert "folds" in lines[1]


def test_one_run_of_each_recipe_says_how_to_get_spread(tmp_path):
    for number in range(2):
        changes = {"optimizer.lr": number}
        write_run(tmp_path / str(number), changes, metrics={"test.mAP": 50.0 + number})
    (line,) = verdict(read_sweep(tmp_path))
    assert "unknown" in line
    assert "split=kfold 'split.fold=range(5)'" in line
