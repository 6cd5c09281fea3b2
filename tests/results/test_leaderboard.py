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


WEIGHTS = "model.backbone.weights"
STARTS = ["hf://timm/resnet50_gn.a1h_in1k", None, "hf://timm/mobilenetv2_100.ra_in1k", None]


def with_starts(folder, starts):
    """Runs of as many learning rates with these starts."""
    for number, start in enumerate(starts):
        words = [f"optimizer.lr={number}"]
        changes = {"optimizer.lr": number, WEIGHTS: start}
        write_run(folder / str(number), changes, words, metrics={"test.mAP": 90.0 - number})
    return read_sweep(folder)


@pytest.mark.parametrize("width", [60, 80, 160])
def test_different_starts_are_a_column_and_random_ones_a_warning_above_it(tmp_path, width):
    lines = leaderboard(with_starts(tmp_path, STARTS), width=width).splitlines()
    assert max(map(len, lines)) <= width
    heading = next(i for i, line in enumerate(lines) if " start " in line)
    above = " ".join(" ".join(lines[:heading]).split())
    assert "jobs 1,3 started from random weights, the others from pretrained ones" in above
    column = "".join(line[lines[heading].index("start") :] for line in lines[heading:])
    assert "resnet50_gn.a1h_in1k" in column.replace(" ", "") or width < 80
    assert column.count("random") == 2


def test_a_random_detector_beside_a_pretrained_one_is_a_warning(tmp_path):
    for number, start in enumerate([None, "coco"]):
        changes = {"optimizer.lr": number, WEIGHTS: STARTS[0], "method": "td"}
        changes |= {"train.stages": ["detector", "pose"], "detector.model.weights": start}
        write_run(tmp_path / str(number), changes, metrics={"test.mAP": 90.0 - number})
    text = " ".join(leaderboard(read_sweep(tmp_path), width=160).split())
    assert "the detector of job 0 started from random weights, the others from pretrained" in text
    assert text.count("random weights") == 1


def test_one_start_is_a_line_and_no_column(tmp_path):
    text = leaderboard(with_starts(tmp_path, STARTS[:1] * 3), width=80)
    assert "\nstart: ImageNet, resnet50_gn.a1h_in1k\n" in text
    assert text.count("start") == 1


def test_different_pretrained_starts_are_no_warning(tmp_path):
    sweep = with_starts(tmp_path, STARTS[::2])
    write_run(tmp_path / "9", {WEIGHTS: None}, status={"status": "failed", "error": "no memory"})
    assert "mobilenetv2_100" in leaderboard(sweep, width=120)
    assert "random weights" not in leaderboard(read_sweep(sweep.folder), width=120)


def test_a_recipe_whose_repeats_differ_in_their_start_is_two(tmp_path):
    for seed, start in enumerate(STARTS[:2]):
        changes = {"seed": seed, WEIGHTS: start}
        write_run(tmp_path / str(seed), changes, [f"seed={seed}"], metrics={"test.mAP": 50.0})
    sweep = read_sweep(tmp_path)
    assert [len(recipe.jobs) for recipe in sweep.recipes] == [1, 1]
    assert "job 1 started from random weights" in leaderboard(sweep, width=120)


def test_a_recipe_has_the_number_of_its_starts_where_they_differ_by_fold(tmp_path):
    for fold in range(2):
        changes = {"split.fold": fold, "weights.path": f"fold{fold}/snapshot-best-002.pt"}
        write_run(tmp_path / str(fold), changes, [f"split.fold={fold}"], metrics={"test.mAP": 50.0})
    assert "2 starts" in leaderboard(read_sweep(tmp_path), width=120)
