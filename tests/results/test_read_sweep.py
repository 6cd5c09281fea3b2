"""Sweep folders as they are read: whole, unfinished, damaged, and folders that are no sweep."""

import json
import math
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_support import write_run, write_sweep

from dlcexp.errors import UserError
from dlcexp.files import this_process
from dlcexp.results.leaderboard import leaderboard
from dlcexp.results.ledger import Ledger
from dlcexp.results.read_sweep import read_sweep
from dlcexp.sweeps.plan import save_tree


def test_repeats_of_a_recipe_stand_together_the_best_first(folds):
    sweep = read_sweep(folds)
    assert [factor.key for factor in sweep.recipe_factors] == ["optimizer.lr"]
    assert [factor.key for factor in sweep.repeat_factors] == ["split.fold"]
    best, other = sweep.recipes
    assert best.values == {"optimizer.lr": 0.01}
    assert best.scores("test.mAP") == [80.0, 71.0, 78.0, 69.0, 82.0]
    assert best.mean("test.mAP") == pytest.approx(np.mean([80, 71, 78, 69, 82]))
    assert best.deviation("test.mAP") == pytest.approx(np.std([80, 71, 78, 69, 82], ddof=1))
    assert sweep.best_job.number == 9
    assert sweep.best_job.snapshot == folds / "9" / "snapshots" / "snapshot-best-002.pt"
    assert other.jobs[0].history["train.total_loss"] == {1: 1.0, 2: 0.5}
    assert (other.jobs[0].epochs, other.jobs[0].planned) == (2, 2)


def test_jobs_that_have_not_begun_belong_to_their_recipes(folds):
    ledger = Ledger(folds)
    for job in ledger.jobs():
        save_tree(ledger, job, yaml.safe_load((ledger.path(job) / "config.yaml").read_text()))
        if job.number in (0, 9):
            shutil.rmtree(ledger.path(job))
    sweep = read_sweep(folds)
    assert [factor.key for factor in sweep.recipe_factors] == ["optimizer.lr"]
    assert [[job.number for job in recipe.jobs] for recipe in sweep.recipes] == [
        [5, 6, 7, 8, 9],
        [0, 1, 2, 3, 4],
    ]


def test_a_folder_of_runs_without_a_ledger_is_read_too(folds):
    expected = [(job.number, job.values) for job in read_sweep(folds).jobs]
    (folds / "sweep.yaml").unlink()
    (folds / "jobs.jsonl").unlink()
    assert [(job.number, job.values) for job in read_sweep(folds).jobs] == expected
    assert read_sweep(folds).objective.metric == "test.mAP"


def test_a_run_folder_is_a_sweep_of_one(folds):
    sweep = read_sweep(folds / "3")
    assert [job.name for job in sweep.jobs] == ["3"]
    assert sweep.factors == ()


def test_the_last_line_of_a_job_counts_and_a_torn_one_does_not(folds):
    with (folds / "jobs.jsonl").open("a") as file:
        file.write('{"number": 10, "folder": "10", "overrides": ["optimizer.lr=7"]}\n{"numb')
    sweep = read_sweep(folds)
    assert [job.number for job in sweep.jobs] == list(range(11))
    assert sweep.jobs[10].status == "queued"
    assert sweep.jobs[10].values["optimizer.lr"] == "7"


def test_a_pruned_job_has_what_it_logged_last_and_ranks_behind(folds):
    rows = [{"epoch": 1, "test.mAP": 99.0}, {"epoch": 2, "test.mAP": ""}]
    write_run(folds / "10", {"optimizer.lr": 0.5}, status={"status": "pruned"}, rows=rows)
    sweep = read_sweep(folds)
    assert sweep.jobs[10].metric("test.mAP") == 99.0
    assert sweep.recipes[-1].jobs == (sweep.jobs[10],)
    assert math.isnan(sweep.recipes[-1].mean("test.mAP"))


def test_equal_objectives_are_ranked_by_pixels(tmp_path):
    for number, pixels in enumerate((30.0, 10.0, None)):
        metrics = {"test.mAP": 0.0, "test.rmse": pixels}
        write_run(tmp_path / str(number), {"optimizer.lr": number}, metrics=metrics)
    assert [job.number for job in read_sweep(tmp_path).ranked] == [1, 0, 2]


@pytest.mark.parametrize(
    ("metric", "direction", "best"),
    [("test.rmse", None, 1), ("test.rmse", "maximize", 0), ("test.mAP", None, 0)],
)
def test_any_metric_can_decide(tmp_path, metric, direction, best):
    for number, (score, pixels) in enumerate(((80.0, 9.0), (70.0, 5.0))):
        metrics = {"test.mAP": score, "test.rmse": pixels}
        write_run(tmp_path / str(number), {"optimizer.lr": number}, metrics=metrics)
    assert read_sweep(tmp_path, metric, direction).best_job.number == best


def test_without_the_metric_of_the_sweep_a_usual_one_decides(tmp_path):
    write_run(tmp_path / "0", metrics={"train.rmse": 3.0})
    objective = read_sweep(tmp_path).objective
    assert (objective.metric, objective.direction) == ("train.rmse", "minimize")


def test_the_front_of_several_objectives(tmp_path):
    for number, (score, speed) in enumerate(((80, 10), (70, 20), (70, 9), (60, 30))):
        metrics = {"test.mAP": score, "speed.images_per_second": speed}
        write_run(tmp_path / str(number), {"optimizer.lr": number}, metrics=metrics)
    wanted = [("test.mAP", "maximize"), ("speed.images_per_second", "maximize")]
    assert read_sweep(write_sweep(tmp_path, wanted)).front() == {0, 1, 3}


@pytest.mark.parametrize("name", ["status.json", "metrics.json", "config.yaml"])
@pytest.mark.parametrize("content", ["{", "[1]", "", "\0", '{"a": 1}}', "a: b: c", "{'x': @}"])
def test_a_damaged_file_is_one_row_with_its_path(folds, name, content):
    (folds / "3" / name).write_text(content)
    sweep = read_sweep(folds)
    damaged = [job for job in sweep.jobs if job.status == "unreadable"]
    if damaged:
        assert [job.number for job in damaged] == [3]
        assert str(folds / "3" / name) in damaged[0].error
        assert name in leaderboard(sweep, width=200)
    else:  # YAML and JSON that say something, if nothing of use
        assert (name, content) == ("config.yaml", '{"a": 1}}')


@settings(max_examples=60)
@given(
    name=st.sampled_from(
        [
            "sweep.yaml",
            "jobs.jsonl",
            "3/status.json",
            "3/metrics.json",
            "3/metrics.csv",
            "3/config.yaml",
            "3/overrides.yaml",
        ]
    ),
    content=st.one_of(
        st.binary(max_size=40),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["status", "number", "folder", "metric", "objectives", "swept"])
                    | st.text(max_size=3),
                    inner,
                    max_size=3,
                )
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    ),
)
def test_no_content_of_any_file_is_an_error(folds, tmp_path_factory, name, content):
    copy = tmp_path_factory.mktemp("damaged") / "sweep"
    shutil.copytree(folds, copy)
    (copy / name).write_bytes(content)
    assert "job" in leaderboard(read_sweep(copy), width=80)


@pytest.mark.parametrize("name", ["nowhere", ""], ids=["no folder", "an empty folder"])
def test_a_folder_without_runs_is_one_message(tmp_path, name):
    with pytest.raises(UserError, match=re.escape(str(tmp_path / name))):
        read_sweep(tmp_path / name)


def test_a_metric_that_no_run_has_is_told(folds):
    with pytest.raises(UserError, match=r"metric: .*'test\.map'.*'test\.mAP'"):
        read_sweep(folds, "test.map")


def test_a_run_runs_only_where_a_process_does(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = this_process()
    gone = f"{here.partition('-')[0]}-{ended.pid}"
    for number, process in enumerate([here, gone, None]):
        status = {"status": "running", "process": process}
        write_run(tmp_path / str(number), {"seed": number}, status=status)
    assert [job.status for job in read_sweep(tmp_path).jobs] == ["running", "killed", "running"]


def test_recipes_of_different_folds_are_ranked_by_their_lead_in_each(tmp_path):
    """Fold 1 is ten times as hard: a mean over other folds is no better recipe."""
    scores = {("a", 0): 80.0, ("b", 0): 70.0, ("b", 1): 9.0, ("c", 1): 1.0, ("d", 1): 5.0}
    for number, ((rate, fold), score) in enumerate(scores.items()):
        changes = {"run": rate, "split.fold": fold}
        write_run(tmp_path / str(number), changes, metrics={"test.mAP": score})
    sweep = read_sweep(tmp_path)
    # Means of the folds are 75 and 5: leads of +5, -5 and +4, -4, and 0.
    assert [recipe.values["run"] for recipe in sweep.recipes] == ["a", "d", "b", "c"]
    assert not sweep.on_same_frames


def test_weights_of_which_each_fold_has_its_own_make_no_other_recipe(tmp_path):
    for number in range(4):
        changes = {"optimizer.lr": number // 2, "split.fold": number % 2}
        changes["weights.path"] = f"first/{number % 2}"
        write_run(tmp_path / str(number), changes, metrics={"test.mAP": 50.0})
    assert [len(recipe.jobs) for recipe in read_sweep(tmp_path).recipes] == [2, 2]
    write_run(tmp_path / "4", {"split.fold": 0, "weights.path": "other"})
    assert [len(recipe.jobs) for recipe in read_sweep(tmp_path).recipes] == [1] * 5
