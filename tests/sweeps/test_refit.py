"""The winner of a sweep is trained once more: which frames, how long, and what is claimed of it."""

import json
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from dlcexp.cli import main
from dlcexp.data.loading import PoseData
from dlcexp.results.pooled_errors import out_of_fold
from dlcexp.results.read_sweep import read_sweep
from dlcexp.runs.run import Run
from dlcexp.sweeps.refit import plan_refit

FOLDS = [
    "split=kfold",
    "split.k=2",
    "split.fold=0,1",
    "split.val_fraction=0.3",
    "optimizer.lr=1e-3,1e-2",
    "epochs=3",
    "scheduler=one_cycle_lr",
    "trainer.key_metric=val.rmse",
    "sweep.metric=val.rmse",
    "hydra/launcher=basic",
]


@pytest.fixture(scope="module")
def folder(small_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two learning rates over two folds, with validation frames."""
    folder = tmp_path_factory.mktemp("sweep") / "sweep"
    short = ["save_epochs=1", "trainer.eval_interval=1", "evaluation.examples=0"]
    assert main(["-m", *small_words, *short, *FOLDS, f"hydra.sweep.dir={folder}"]) == 0
    return folder


def refit(folder: Path, output: Path, which: str, capsys: pytest.CaptureFixture[str]) -> Run:
    capsys.readouterr()
    assert main(["best", str(folder), which, f"output={output}"]) == 0
    return Run.open(output)


@pytest.mark.slow
def test_it_trains_for_the_epochs_that_were_best_and_its_schedule_ends_with_them(folder):
    sweep = read_sweep(folder)
    # What the runs say is changed here, so that the median is not the number that was typed.
    for job, epoch in zip(sweep.best.jobs, (1, 2), strict=True):
        job.metrics["epoch"] = epoch
    plan, tree = plan_refit(sweep, "train")
    assert (plan.best_epochs, plan.epochs, tree.epochs) == ((1, 2), 2, 2)
    assert tree.scheduler.total_steps == 2
    assert tree.trainer.key_metric is None
    winner = Run.open(sweep.best_job.folder)
    assert tree.optimizer.lr == winner.cfg.optimizer.lr
    assert tree.model == winner.cfg.model  # the weights that it starts from among it


@pytest.mark.slow
def test_validation_frames_train_and_nothing_chooses(folder, tmp_path, capsys):
    run = refit(folder, tmp_path / "run", "--refit", capsys)
    shown = capsys.readouterr().out
    sweep = read_sweep(folder)
    before, now = PoseData(Run.open(sweep.best_job.folder).cfg).split, PoseData(run.cfg).split
    assert now.test == before.test
    assert (set(now.train), now.val) == ({*before.train, *before.val}, ())
    assert run.metrics.get("chosen_by") in (None, "last")
    assert not list(run.folder.glob("snapshots/snapshot-best-*.pt"))
    assert run.metrics["epoch"] == run.cfg.epochs
    error = out_of_fold(sweep.best).error
    assert re.search(
        rf"expected     {error:.2f} \(.* over 12 frames, each by a run that did", shown
    )
    record = json.loads((run.folder / "refit.json").read_text())
    assert (record["frames"], record["winner"]) == ("train", sweep.best_job.folder.as_posix())
    assert record["expected"] in shown


@pytest.mark.slow
def test_all_frames_train_and_no_test_error_is_given(folder, tmp_path, capsys):
    run = refit(folder, tmp_path / "run", "--refit=all", capsys)
    data = PoseData(run.cfg)
    assert set(data.split.train) == set(range(12))
    parts = {name.partition(".")[0] for name in run.metrics if "rmse" in name}
    assert parts == {"train"}
    assert "chosen_by" not in run.metrics or run.metrics["chosen_by"] == "last"
    assert "expected     " in capsys.readouterr().out
    assert main(["evaluate", f"run={run.folder}"]) == 0
    assert set(json.loads((run.folder / "evaluation.json").read_text())["splits"]) == {"train"}
    exported = OmegaConf.load(run.folder / "pytorch_config.yaml")
    assert exported.runner.key_metric.startswith("test.")
    # The same command resumes it, and has nothing left to do.
    weights = run.best_snapshot.read_bytes()
    again = refit(folder, tmp_path / "run", "--refit=all", capsys)
    assert again.best_snapshot.read_bytes() == weights


@pytest.mark.slow
def test_options_that_were_edited_since_are_refused(folder, tmp_path, capsys):
    sweep = read_sweep(folder)
    config = sweep.best_job.folder / "config.yaml"
    text = config.read_text()
    config.write_text(re.sub(r"^batch_size: .*$", "batch_size: 3", text, flags=re.M))
    try:
        assert main(["best", str(folder), "--refit", f"output={tmp_path / 'run'}"]) == 2
    finally:
        config.write_text(text)
    assert "batch_size: 3 there, 4 here" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_mistakes_are_one_message(folds, capsys):
    assert main(["best", str(folds), "--refit", "--export"]) == 2
    assert "--refit and --export" in capsys.readouterr().err
    assert main(["best", str(folds), "output=there"]) == 2
    assert "only --refit" in capsys.readouterr().err
