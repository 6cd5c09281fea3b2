"""The example of docs/adding_a_model.md works as it stands there, on a shortened experiment."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dlcexp.cli import main

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = (ROOT / "docs" / "adding_a_model.md").read_text(encoding="utf-8")
# A line with nothing but a file's name, then its content.
FILES = dict(re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^ {4}(dlcexp .*)$", DOCUMENT, re.MULTILINE)
SHORT = [
    "device=cpu",
    "epochs=1",
    "save_epochs=1",
    "batch_size=4",
    "split.train_fraction=0.2",
    "evaluation.examples=1",
    "data.resize={width: 64, height: 64}",
    "data.train.crop_sampling=null",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The files of the document, where it says."""
    folder = tmp_path_factory.mktemp("docs")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def dlcexp(command: str, folder: Path, *more: str) -> str:
    """Run a command of the document in a process of its own; what it prints."""
    line = [sys.executable, "-m", "dlcexp.cli", *shlex.split(command)[1:], *more]
    environment = {**os.environ, "PYTHONPATH": "."}
    done = subprocess.run(
        line, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_document_shows_its_files_and_commands():
    assert list(FILES) == ["mylab/backbones.py", "options/model/backbone/plain.yaml"]
    assert len(COMMANDS) == 4


@pytest.mark.slow
def test_the_example_composes_trains_evaluates_and_sweeps(folder):
    compose, train, evaluate, sweep = COMMANDS
    node = yaml.safe_load(dlcexp(compose, folder))["model"]["backbone"]
    assert node["_target_"] == "mylab.backbones.Plain"

    dlcexp(train, folder, *SHORT)
    run = folder / "runs" / "plain"
    assert json.loads((run / "status.json").read_text())["status"] == "completed"
    assert list(run.glob("snapshots/snapshot-best-*.pt"))
    scored = json.loads((run / "metrics.json").read_text())
    assert "RMSE (px)" in dlcexp(evaluate, folder, "output=again")
    again = json.loads((folder / "again" / "evaluation.json").read_text())
    assert again["metrics"]["test.rmse_mean_pose"] == scored["test.rmse_mean_pose"]

    # Another option of the same class stands in for HRNet, which takes its time.
    options = folder / "options" / "model" / "backbone"
    narrow = (options / "plain.yaml").read_text().replace("width: 16", "width: 8")
    (options / "narrow.yaml").write_text(narrow.replace("channels: 64", "channels: 32"))
    shorter = sweep.replace("hrnet_w18", "narrow")
    dlcexp(shorter, folder, *SHORT, "hydra.sweep.dir=multirun")
    states = [json.loads(path.read_text()) for path in folder.glob("multirun/*/status.json")]
    assert [state["status"] for state in states] == ["completed"] * 2


def test_a_misspelt_argument_of_the_class_is_named(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    assert main([*shlex.split(COMMANDS[1])[1:], "+model.backbone.widht=8"]) == 2
    assert "Did you mean 'width'" in capsys.readouterr().err
