"""`dlcexp train`, `evaluate` and `export` as a user types them; one in a process of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml
from process_support import holder, run_process

from dlcexp.cli import main
from dlcexp.locks import RUN_LOCK


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def dlcexp(monkeypatch, capfd) -> Callable[..., Done]:
    """Run a command in a folder, in this process, which has imported torch."""

    def run(cwd: Path, *words: str) -> Done:
        monkeypatch.chdir(cwd)
        monkeypatch.setenv("COLUMNS", "100")
        capfd.readouterr()
        code = main(list(words))
        return Done(code, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder in which one experiment was run, and what that printed."""
    folder = tmp_path_factory.mktemp("train")
    command = [sys.executable, "-m", "dlcexp.cli", *tiny]
    env = {**os.environ, "COLUMNS": "100"}
    return folder, run_process(command, cwd=folder, env=env)


@pytest.mark.slow
def test_one_command_trains_evaluates_and_says_where_everything_is(trained):
    folder, done = trained
    assert done.returncode == 0, done.stderr
    assert [p.name for p in folder.iterdir()] == ["runs"]
    (run,) = (folder / "runs" / "demo").iterdir()
    assert json.loads((run / "status.json").read_text())["status"] == "completed"
    assert "mAP" in done.stdout
    assert str(Path("runs", "demo", run.name)) in done.stdout
    assert "Warning" not in done.stderr + done.stdout


@pytest.mark.slow
def test_evaluate_prints_the_table_again_and_writes_page_numbers_and_records(trained, dlcexp):
    folder, _ = trained
    (run,) = (folder / "runs" / "demo").iterdir()
    words = ["evaluate", f"run={run / 'snapshots' / 'snapshot-001.pt'}", "evaluation.pcutoff=0.1"]
    done = dlcexp(folder, *words, "evaluation.examples=1", "output=scores")
    assert done.returncode == 0, done.stderr
    assert "RMSE" in done.stdout
    written = sorted((folder / "scores").iterdir())
    assert [path.name for path in written] == [
        "calibration.json",
        *(f"evaluation.{kind}" for kind in ("csv", "html", "json")),
        "labels_to_check.csv",
    ]
    _, records, page, numbers, _ = written
    again = json.loads(numbers.read_text())
    first = json.loads((run / "metrics.json").read_text())
    assert again["metrics"]["test.rmse"] == pytest.approx(first["test.rmse"])
    assert again["about"]["snapshot"] == "snapshot-001.pt"
    assert again["settings"]["pcutoff"] == 0.1
    table = pd.read_csv(records)
    assert table[table.split == "test"].error.mean() == pytest.approx(first["test.rmse"])
    assert "<title>Evaluation: " in page.read_text(encoding="utf-8")
    shutil.rmtree(folder / "scores")


@pytest.mark.slow
def test_export_of_a_run_is_the_file_in_its_folder(trained, dlcexp):
    folder, _ = trained
    (run,) = (folder / "runs" / "demo").iterdir()
    done = dlcexp(folder, "export", f"run={run}")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout) == yaml.safe_load((run / "pytorch_config.yaml").read_text())


@pytest.mark.slow
def test_a_sweep_leaves_one_run_folder_for_each_job(small_words, tmp_path, dlcexp):
    words = [*small_words, "epochs=1", "evaluation.examples=0", "optimizer=adamw,sgd"]
    done = dlcexp(tmp_path, "-m", *words, "hydra.sweep.dir=sweep")
    assert done.returncode == 0, done.stderr
    for job, name in enumerate(("AdamW", "SGD")):
        config = yaml.safe_load((tmp_path / "sweep" / str(job) / "config.yaml").read_text())
        assert config["optimizer"]["_target_"] == f"torch.optim.{name}"
        status = json.loads((tmp_path / "sweep" / str(job) / "status.json").read_text())
        assert status["status"] == "completed"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run=nowhere"], r"\brun: .*'nowhere'"),
        (["run=nowhere", "pcutoff"], r"'pcutoff'"),
        (["run=.", "output=a.json"], r"config\.yaml.*pytorch_config\.yaml"),
    ],
)
def test_evaluate_without_a_run_is_one_message(words, message, tmp_path, dlcexp):
    done = dlcexp(tmp_path, "evaluate", *words)
    assert done.returncode == 2
    assert re.search(message, done.stderr)


def test_export_writes_a_file_and_the_flat_form(tmp_path, dlcexp):
    done = dlcexp(tmp_path, "export", "export.file=out/flat.yaml", "export.schema=flat")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load((tmp_path / "out" / "flat.yaml").read_text())["method"] == "bu"


def test_demo_draws_a_project_where_told(tmp_path, dlcexp):
    done = dlcexp(tmp_path, "demo", "lizards", "seed=3")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "lizards" / "config.yaml").is_file()
    assert dlcexp(tmp_path, "demo", "lizards", "seed=x").returncode == 2


def test_a_run_folder_in_use_is_left_alone(dlcexp, tiny, tmp_path):
    folder = tmp_path / "runs" / "a"
    with holder(folder / RUN_LOCK) as process:
        done = dlcexp(tmp_path, *tiny, f"hydra.run.dir={folder.as_posix()}")
        assert done.returncode == 2
        assert f"{folder} is in use by process {process.pid} on " in done.stderr
        assert {path.name for path in folder.iterdir()} == {".lock", ".lock.txt"}
    done = dlcexp(tmp_path, *tiny, f"hydra.run.dir={folder.as_posix()}", "resume=absent")
    assert done.returncode == 2
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_says_what_resumes_it(dlcexp, tiny, tmp_path, monkeypatch):
    from dlcexp.training.pose_module import PoseModule

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PoseModule, "training_step", interrupted)
    done = dlcexp(tmp_path, *tiny)
    assert done.returncode == 130
    (run,) = (tmp_path / "runs" / "demo").iterdir()
    shown = done.stderr.partition("to resume:")[2]
    assert "epochs=1" in shown
    assert f"hydra.run.dir={Path('runs', 'demo', run.name)}" in shown
