"""The leaderboard in the terminal."""

import pytest
from sweep_support import write_run

from dlcexp.results.leaderboard import leaderboard
from dlcexp.results.read_sweep import read_sweep


def test_the_best_recipe_stands_first_with_mean_spread_and_number(folds):
    text = leaderboard(read_sweep(folds), width=100)
    rows = [line.split() for line in text.splitlines() if "±" in line]
    assert rows[0] == ["1", "0.01", "76.00", "±", "5.70", "5", "completed", "10", "s", "5-9"]
    assert rows[1][:5] == ["2", "0.001", "74.70", "±", "4.92"]
    assert "p=0.18, n=5" in text


@pytest.mark.parametrize("width", [44, 60, 80, 160])
def test_it_fits_the_terminal(folds, width):
    text = leaderboard(read_sweep(folds), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "76.00 ± 5.70" in text


def test_a_failure_is_one_row_and_its_error_is_told_once(folds):
    for number in (10, 11):
        status = {"status": "failed", "kind": "diverged", "error": "the loss became inf. Try less."}
        write_run(folds / str(number), {"optimizer.lr": number}, status=status)
    text = leaderboard(read_sweep(folds), width=100)
    assert "12 jobs: 10 completed, 2 failed" in text
    assert "10-11: diverged: the loss became inf. Try less.\n" in text
    assert text.count("diverged") == 3


def test_a_metric_equal_in_all_runs_is_told(tmp_path):
    for number in range(2):
        write_run(tmp_path / str(number), {"optimizer.lr": number}, metrics={"test.mAP": 0.0})
    assert "test.mAP is 0" in leaderboard(read_sweep(tmp_path), width=80)
