"""Validation frames choose; test frames are scored once, at the end."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from training_support import equal, rows

import dlcexp
from dlcexp.cli import main
from dlcexp.config.resolvers import pose_metric
from dlcexp.data.loading import PoseData
from dlcexp.deeplabcut.export import cannot_say, export_config
from dlcexp.errors import ConfigError
from dlcexp.evaluation.metrics import evaluate_poses
from dlcexp.results.read_sweep import read_sweep
from dlcexp.training.scoring import score

VAL = ["split.val_fraction=0.3", "trainer.eval_interval=1", "optimizer.lr=0.01"]


@pytest.fixture(scope="module")
def words(tiny: list[str]) -> list[str]:
    return [*tiny, "project=demo", *VAL, "weights=random", "evaluation.examples=0", "batch_size=4"]


@pytest.fixture(scope="module")
def run(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> dlcexp.Run:
    """Four epochs whose best one is chosen by the error on validation frames."""
    folder = tmp_path_factory.mktemp("runs") / "val"
    more = ["epochs=4", "trainer.key_metric=val.rmse"]
    assert main([*words, *more, f"hydra.run.dir={folder}"]) == 0
    return dlcexp.Run.open(folder)


@pytest.mark.slow
def test_validation_frames_choose_the_snapshot(run: dlcexp.Run) -> None:
    table = rows(run)
    assert not [name for name in table[0] if name.startswith("test.")]
    errors = {int(row["epoch"]): float(row["val.rmse"]) for row in table}
    best = min(errors, key=errors.__getitem__)
    assert run.best_snapshot.name == f"snapshot-best-{best:03d}.pt"
    assert run.metrics["chosen_by"] == "val.rmse"
    assert run.metrics["val.rmse"] == pytest.approx(errors[best])
    assert {"train.rmse", "test.rmse"} <= run.metrics.keys()


@pytest.mark.slow
def test_no_frame_is_in_two_parts_and_each_part_is_scored_on_its_own(
    run: dlcexp.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", f"run={run.folder}"]) == 0
    shown = capsys.readouterr().out
    numbers = json.loads((run.folder / "evaluation.json").read_text())
    split = PoseData(run.cfg).split
    counts = {"train": len(split.train), "val": len(split.val), "test": len(split.test)}
    assert {name: part["frames"] for name, part in numbers["splits"].items()} == counts
    assert all(f"{part} ({count})" in shown for part, count in counts.items())
    assert numbers["about"]["chosen_by"] == "val.rmse"
    assert numbers["about"]["val_frames"] == counts["val"]
    assert "snapshot: best val.rmse" in shown
    assert "optimistic" not in shown
    trained = {PoseData(run.cfg).labels.names[row] for row in split.train}
    assert score(run).trained == trained
    assert score(run, overrides=["split=kfold", "split.fold=1"]).trained == trained
    records = dlcexp.evaluate(run).records
    frames = {part: set(records[records.split == part].frame) for part in counts}
    assert not frames["val"] & (frames["train"] | frames["test"])
    per_frame = records[records.split == "val"].error.mean()
    assert run.metrics["val.rmse"] == pytest.approx(per_frame, rel=1e-5)


@pytest.mark.slow
def test_a_run_that_was_cut_off_chooses_as_one_that_was_not(
    run: dlcexp.Run, words: list[str], tmp_path: Path
) -> None:
    cfg = dlcexp.compose(*words, "trainer.key_metric=val.rmse", "epochs=2")
    dlcexp.train(cfg, tmp_path / "run")
    again = dlcexp.compose(*words, "trainer.key_metric=val.rmse", "epochs=4")
    resumed = dlcexp.train(again, tmp_path / "run")
    assert equal(resumed, run)
    assert resumed.metrics["val.rmse"] == run.metrics["val.rmse"]
    assert resumed.best_snapshot.name == run.best_snapshot.name


@pytest.mark.slow
def test_numbers_of_frames_that_have_chosen_are_marked(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    more = ["trainer.key_metric=test.mAP", f"hydra.run.dir={folder}"]
    assert main([*words, *more]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "best test.mAP; chosen on test frames, so that their scores are optimistic" in shown
    (row,) = rows(dlcexp.Run.open(folder))
    assert {"test.rmse", "val.rmse"} <= row.keys()
    assert json.loads((folder / "metrics.json").read_text())["chosen_by"] == "test.mAP"


@pytest.mark.slow
def test_a_detector_is_chosen_by_validation_frames_too(tmp_path: Path, words: list[str]) -> None:
    crops = ["data.top_down_crop={width: 64, height: 64}", "data_detector.resize.width=64"]
    small = [each for each in words if not each.startswith(("data.", "model.backbone.feature"))]
    detector = ["detector.model.weights=null", "detector.epochs=1", "detector.batch_size=2"]
    more = [*crops, *detector, "data_detector.train.collate=null", "detector.eval_interval=1"]
    run = dlcexp.train(dlcexp.compose(*small, "method=td", *more), tmp_path / "run")
    assert run.metrics["detector.chosen_by"] == "val.mAP@50:95"
    assert {"detector.val.mAP@50:95", "val_gt_boxes.rmse", "val.rmse"} <= run.metrics.keys()


def test_metrics_that_choose_follow_the_split(mouse_project: Path) -> None:
    def chosen(*more: str) -> list[str]:
        cfg = dlcexp.compose(f"project={mouse_project}", "method=td", *more)
        return [cfg.trainer.key_metric, cfg.detector.key_metric, cfg.sweep.metric]

    assert chosen() == ["val.mAP", "val.mAP@50:95", "val.mAP"]
    assert chosen("split.val_fraction=null") == [None, None, "test.mAP"]
    assert chosen("split.val_fraction=0.1") == ["val.mAP", "val.mAP@50:95", "val.mAP"]
    assert chosen("split=kfold", "split.val_fraction=0.1")[0] == "val.mAP"
    videos = ["split=by_video", "split.test=a", "split.val=[b,c]"]
    assert chosen(*videos)[0] == "val.mAP"
    given = ["split.val_fraction=0.1", "trainer.key_metric=test.rmse"]
    assert chosen(*given) == ["test.rmse", "val.mAP@50:95", "test.rmse"]


def test_validation_metrics_without_validation_frames_are_refused(
    words: list[str], tmp_path: Path
) -> None:
    without = ["split.val_fraction=null", "trainer.key_metric=val.mAP"]
    with pytest.raises(ConfigError, match=r"trainer\.key_metric: 'val\.mAP' .*val_fraction="):
        dlcexp.train(dlcexp.compose(*words, *without), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def few(words: list[str]) -> list[str]:
    """A run whose 25 training frames are too few for validation frames."""
    given = [each for each in words if each not in VAL]
    return [*given, "split.train_fraction=0.3", "trainer.eval_interval=1", "epochs=2"]


@pytest.mark.slow
def test_of_few_frames_the_last_snapshot_counts(
    few: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert main([*few, f"hydra.run.dir={folder}"]) == 0
    run = dlcexp.Run.open(folder)
    assert run.best_snapshot.name == "snapshot-002.pt"
    assert run.metrics["chosen_by"] == "last"
    assert "snapshot: the last; no frame chose it" in capsys.readouterr().out
    log = (folder / "log.txt").read_text()
    assert "frames: 25 train, 59 test; the last snapshot counts, as fewer than 40" in log
    assert run.cfg.trainer.key_metric is None
    assert run.cfg.sweep.metric == "test.mAP"
    exported = yaml.safe_load((folder / "pytorch_config.yaml").read_text())
    assert exported["runner"]["key_metric"] == "test.mAP"
    # The same command goes on with it.
    again = dlcexp.train(dlcexp.compose(*few, "epochs=3"), folder)
    assert [int(row["epoch"]) for row in rows(again)] == [1, 2, 3]
    assert again.best_snapshot.name == "snapshot-003.pt"


def test_what_needs_a_choice_is_refused_where_nothing_chooses(few: list[str]) -> None:
    wanted = {
        "trainer.early_stopping.patience": ["trainer.early_stopping.patience=3"],
        "scheduler.mode": ["scheduler=reduce_lr_on_plateau", "scheduler.mode=max"],
    }
    for key, words in wanted.items():
        cfg = dlcexp.compose(*few, *words)
        with pytest.raises(ConfigError, match=re.escape(key)):
            dlcexp.train(cfg, "nowhere")


@pytest.mark.slow
def test_jobs_of_few_frames_are_ranked_by_test_frames(few: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    assert main(["-m", *few, "epochs=1", "seed=0,1", f"hydra.sweep.dir={folder}"]) == 0
    sweep = read_sweep(folder)
    assert sweep.objective.metric == "test.mAP"
    assert len(sweep.best.scores("test.mAP")) == 2


@pytest.mark.parametrize(
    ("bodyparts", "individuals", "metric"),
    [(4, 1, "mAP"), (4, 3, "mAP"), (1, 1, "rmse"), (1, 3, "rmse_detections")],
)
def test_the_metric_fits_the_project(bodyparts: int, individuals: int, metric: str) -> None:
    """It is one that `evaluate_poses` measures: of perfect poses it is not NaN."""
    assert pose_metric(bodyparts, individuals) == metric
    names = [f"part{number}" for number in range(bodyparts)]
    poses = np.random.default_rng(0).uniform(0, 99, (individuals, bodyparts, 3))
    poses[..., 2] = 0.9
    labels = {"frame": poses[..., :2]}
    scores = evaluate_poses(
        labels, {"frame": poses}, bodyparts=names, single_animal=individuals == 1
    )
    assert not math.isnan(scores[metric])


def test_deeplabcut_gets_a_metric_that_it_has(mouse_project: Path) -> None:
    cfg = dlcexp.compose(f"project={mouse_project}", "method=td", "split.val_fraction=0.1")
    exported = yaml.safe_load(export_config(cfg))
    assert exported["runner"]["key_metric"] == "test.mAP"
    assert exported["detector"]["runner"]["key_metric"] == "test.mAP@50:95"
    assert "no validation frames" in str(cannot_say(cfg))
