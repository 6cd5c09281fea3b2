"""The optimism of a choice, against cases worked by hand and a simulation with a known answer."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sweep_support import write_errors, write_run, write_sweep

from dlcexp.results.choice_text import choice_notes
from dlcexp.results.optimism import Optimism, optimisms
from dlcexp.results.read_sweep import Sweep, read_sweep

# Error of two recipes on the validation and test frames of two folds.
SLOW = {0: (4.0, 5.0), 1: (2.0, 4.0)}
FAST = {0: (3.0, 6.0), 1: (5.0, 3.0)}


def write_two_folds(folder: Path) -> Path:
    """Two learning rates over two folds, with `SLOW` and `FAST` as errors."""
    for recipe, scores in enumerate((SLOW, FAST)):
        for fold, (val, test) in scores.items():
            changes = {"optimizer.lr": [0.001, 0.01][recipe], "split.fold": fold, "split.k": 2}
            metrics = {"val.rmse": val, "test.rmse": test}
            write_run(folder / str(2 * recipe + fold), changes, metrics=metrics)
    return write_sweep(folder, [("val.rmse", "minimize")])


def only(sweep: Sweep) -> Optimism:
    (found,) = optimisms(sweep)
    return found


def test_the_best_of_each_fold_by_its_inner_frames_is_scored_on_its_outer_ones(tmp_path):
    found = only(read_sweep(write_two_folds(tmp_path)))
    # Fold 0 takes the fast one: 3 inner, 6 outer. Fold 1 takes the slow one: 2 inner, 4 outer.
    assert (found.inner.value, found.outer.value) == (2.5, 5.0)
    assert (found.inner_metric, found.outer_metric) == ("val.rmse", "test.rmse")
    assert (found.recipes, found.folds, found.unit) == (2, 2, "folds")
    assert [dict(winner.values) for winner in found.winners] == [
        {"optimizer.lr": 0.01},
        {"optimizer.lr": 0.001},
    ]
    # Inner errors are 3 and 2 px smaller than outer ones: variance 0.5, corrected 1/2 + 1/1.
    margin = stats.t.ppf(0.975, 1) * math.sqrt(0.5 * 1.5)
    assert found.difference.value == 2.5
    assert found.difference.low == pytest.approx(2.5 - margin)
    assert found.difference.high == pytest.approx(2.5 + margin)
    # The means of both recipes are 3.5 and 3.5 inner, 5.5 and 3.5 outer.
    assert found.inner_gain.value == pytest.approx((0.5 + 1.5) / 2)
    assert found.outer_gain.value == pytest.approx((-0.5 - 0.5) / 2)
    # In fold 0 the slow one is tested, which fold 1 chose, and the other way round.
    assert found.recipe_gain.value == pytest.approx((0.5 + 0.5) / 2)


def test_it_is_a_sentence_that_names_what_the_folds_chose(tmp_path):
    sweep = read_sweep(write_two_folds(tmp_path))
    line, chosen = choice_notes(sweep)
    assert chosen == "Chosen in the folds: optimizer.lr=0.01 (1), optimizer.lr=0.001 (1)."
    assert "the best of 2 in each fold has val.rmse 2.50, and test.rmse 5.00 (" in line
    assert "optimism 2.50 (" in line
    assert "Gain over the mean of all recipes: 1.00 where they chose, -0.5 (" in line


def test_larger_scores_are_better_the_other_way_round(tmp_path):
    for number, (val, test) in enumerate(((90.0, 80.0), (70.0, 75.0))):
        metrics = {"val.mAP": val, "test.mAP": test, "val.rmse": 2.0, "test.rmse": 2.5}
        write_run(tmp_path / str(number), {"optimizer.lr": number}, metrics=metrics)
    sweep = read_sweep(write_sweep(tmp_path, [("val.mAP", "maximize")]))
    score, pixels = optimisms(sweep)
    assert (score.inner.value, score.outer.value, score.difference.value) == (90.0, 80.0, 10.0)
    assert (score.inner_gain.value, score.outer_gain.value) == (10.0, 2.5)
    assert math.isnan(score.difference.low)
    assert score.unit == ""
    assert (pixels.inner_metric, pixels.difference.value) == ("val.rmse", 0.5)


def test_of_one_split_the_limits_of_an_error_are_those_of_its_frames(tmp_path):
    run = write_run(tmp_path / "0", metrics={"val.rmse": 1.5, "test.rmse": 3.5})
    rng = np.random.default_rng(0)
    val, test = rng.normal(2, 0.2, 40), rng.normal(5, 0.5, 60)
    rows = [("val", f"v/a{i}.png", "nose", error) for i, error in enumerate(val)]
    rows += [("test", f"v/b{i}.png", "nose", error) for i, error in enumerate(test)]
    write_errors(run, rows)
    found = only(read_sweep(write_sweep(tmp_path, [("val.rmse", "minimize")])))
    error = math.sqrt(val.var() / 40 + test.var() / 60)  # of two independent means
    middle = test.mean() - val.mean()
    assert found.unit == "frames"
    assert found.difference.low == pytest.approx(middle - 1.96 * error, abs=0.02)
    assert found.difference.high == pytest.approx(middle + 1.96 * error, abs=0.02)


def test_seeds_are_averaged_and_are_no_folds(tmp_path):
    for number, (rate, val, test) in enumerate(
        ((1, 2.0, 4.0), (1, 4.0, 4.0), (2, 2.5, 6.0), (2, 2.5, 7.0))
    ):
        changes = {"optimizer.lr": rate, "seed": number % 2}
        metrics = {"val.rmse": val, "test.rmse": test}
        write_run(tmp_path / str(number), changes, metrics=metrics)
    found = only(read_sweep(write_sweep(tmp_path, [("val.rmse", "minimize")])))
    assert (found.folds, found.inner.value, found.outer.value) == (1, 2.5, 6.5)


def test_where_test_frames_rank_there_is_none_and_it_is_marked(folds):
    sweep = read_sweep(folds)
    assert optimisms(sweep) == []
    (line,) = choice_notes(sweep)
    assert line.startswith("test.mAP of the winner is optimistic: the best recipe was chosen")
    for run in folds.glob("*/metrics.json"):
        run.write_text(run.read_text().replace("{", '{"chosen_by": "test.mAP", '))
    (line,) = choice_notes(read_sweep(folds))
    assert "the best recipe was and the snapshots were chosen on these frames" in line


def test_a_single_run_whose_last_snapshot_counts_has_no_mark(tmp_path):
    write_run(tmp_path / "0", metrics={"test.mAP": 80.0})
    assert choice_notes(read_sweep(tmp_path)) == []


def write_equal_recipes(folder: Path, luck: float) -> Path:
    """Ten recipes over five folds: scores are noise, and `luck` that val and test frames share."""
    rng = np.random.default_rng(3)
    for number in range(50):
        changes = {"optimizer.lr": number // 5, "split.fold": number % 5}
        val, test = rng.normal(20, 1, 2) + luck * rng.normal()
        metrics = {"val.rmse": val, "test.rmse": test}
        write_run(folder / str(number), changes, metrics=metrics)
    return write_sweep(folder, [("val.rmse", "minimize")])


def test_of_recipes_that_are_equal_the_outer_gain_is_nothing_and_the_inner_one_is_not(tmp_path):
    found = only(read_sweep(write_equal_recipes(tmp_path, luck=0.0)))
    assert found.outer_gain.low < 0 < found.outer_gain.high
    assert found.recipe_gain.low < 0 < found.recipe_gain.high
    # The best of ten standard normal draws is 1.54 better than their mean.
    assert found.inner_gain.value == pytest.approx(1.54, abs=0.5)
    assert found.inner_gain.low > 0


def test_a_lucky_training_gains_on_all_frames_and_its_recipe_gains_nothing(tmp_path):
    found = only(read_sweep(write_equal_recipes(tmp_path, luck=4.0)))
    assert found.outer_gain.low > 0
    assert found.recipe_gain.low < 0 < found.recipe_gain.high
