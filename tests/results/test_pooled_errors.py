"""Errors that runs keep, pooled over the folds of a recipe."""

import math

import pytest
from sweep_support import write_errors, write_run, write_sweep

from dlcexp.results.choice_text import expected_error, out_of_fold_note
from dlcexp.results.leaderboard import leaderboard
from dlcexp.results.pooled_errors import out_of_fold
from dlcexp.results.read_sweep import read_sweep

FRAMES = [f"labeled-data/v/{number}.png" for number in range(4)]
# The error of the nose and the tail of each frame, by recipe.
ERRORS = {0.1: [1, 2, 3, 4, 5, 6, 7, 8], 0.2: [2, 3, 4, 5, 6, 7, 8, math.nan]}


@pytest.fixture
def sweep(tmp_path):
    """Two recipes over two folds, of two frames each."""
    for recipe, (rate, errors) in enumerate(ERRORS.items()):
        for fold in range(2):
            changes = {"optimizer.lr": rate, "split.fold": fold, "split.k": 2}
            metrics = {"test.rmse": rate, "chosen_by": "val.rmse"}
            run = write_run(tmp_path / str(2 * recipe + fold), changes, metrics=metrics)
            frames = [frame for frame in FRAMES[2 * fold : 2 * fold + 2] for _ in range(2)]
            four = errors[4 * fold : 4 * fold + 4]
            rows = [
                ("test", frame, part, error)
                for frame, part, error in zip(frames, ["nose", "tail"] * 2, four, strict=True)
            ]
            write_errors(run, [*rows, ("val", FRAMES[3 - fold], "nose", 99.0)])
    return write_sweep(tmp_path, [("test.rmse", "minimize")])


def test_the_test_frames_of_all_folds_are_pooled(sweep):
    best, other = read_sweep(sweep).recipes
    errors = out_of_fold(best)
    assert (errors.error, errors.found, errors.frames) == (4.5, 100.0, 4)
    assert errors.chosen_by == {"val.rmse"}
    assert (errors.interval.unit, errors.interval.units) == ("frame", 4)
    assert errors.interval.low < 4.5 < errors.interval.high
    assert out_of_fold(other).error == pytest.approx(5.0)  # of seven that were found
    assert out_of_fold(other).found == 87.5


def test_it_is_a_column_and_a_sentence(sweep):
    read = read_sweep(sweep)
    text = leaderboard(read, width=140)
    assert "out of fold (px)" in text
    assert "4.50 (" in text
    assert "over 4 frames, each by a run that did not train on it" in expected_error(read.best)
    assert "87.5 % of the labels were found" in expected_error(read.recipes[1])
    (line,) = out_of_fold_note(read)
    assert line.startswith("Out of fold: 4.50 (")


def test_snapshots_that_the_same_frames_chose_are_marked(sweep):
    for file in sweep.glob("*/metrics.json"):
        file.write_text(file.read_text().replace('"val.rmse"', '"test.rmse"'))
    assert "chosen on these frames" in expected_error(read_sweep(sweep).best)


def test_without_a_fold_or_a_file_there_is_none(sweep):
    (sweep / "3" / "status.json").write_text('{"status": "failed"}')
    (sweep / "1" / "keypoint_errors.csv").unlink()  # as a run of an earlier version
    read = read_sweep(sweep)
    assert [out_of_fold(recipe) for recipe in read.recipes] == [None, None]
    assert "out of fold" not in leaderboard(read, width=140)


@pytest.mark.parametrize("content", ["", "split,frame\ntest,a\n", "\x00", 'a,"b\n'])
def test_a_file_that_is_damaged_counts_as_none(sweep, content):
    (sweep / "0" / "keypoint_errors.csv").write_text(content)
    assert out_of_fold(read_sweep(sweep).best) is None
