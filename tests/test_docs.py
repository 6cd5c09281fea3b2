"""Pages whose commands build on each other run as a whole, shortened; the site builds.

Commands of all other pages run in test_readme.py.
"""

import argparse
import csv
import importlib
import json
import os
import re
import shlex
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from click import Context
from process_support import run_process

from dlcexp.cli import main

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
DOCUMENT = (DOCS / "adding_a_model.md").read_text(encoding="utf-8")
TUTORIAL = (DOCS / "tutorial.md").read_text(encoding="utf-8")
LOGGERS = (DOCS / "how-to" / "loggers.md").read_text(encoding="utf-8")
CALLBACKS = (DOCS / "how-to" / "callbacks.md").read_text(encoding="utf-8")
# A line with nothing but a file's name, then its content.
FILE = re.compile(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = dict(FILE.findall(DOCUMENT))
# The blocks of Python that are for the real DeepLabCut, and its environment.
FOR_DEEPLABCUT = re.compile(r"^```python\n(import deeplabcut\n.*?)^```$", re.MULTILINE | re.DOTALL)
DEEPLABCUT = ROOT / ".venv-dlc" / "bin" / "python"
COMMAND = re.compile(r"^ {4}(dlcexp .*)$", re.MULTILINE)
COMMANDS = COMMAND.findall(DOCUMENT)
SHORT = [
    "device=cpu",
    "epochs=1",
    "save_epochs=1",
    "batch_size=4",
    "evaluation.examples=1",
    "data.resize={width: 64, height: 64}",
    "data.train.crop_sampling=null",
]
FEW_FRAMES = "split.train_fraction=0.2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The files of the document, where it says."""
    folder = tmp_path_factory.mktemp("docs")
    write_files(DOCUMENT, folder)
    return folder


def write_files(document: str, folder: Path) -> None:
    """Write the files that a document shows."""
    for name, content in FILE.findall(document):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")


def dlcexp(command: str, folder: Path, *more: str) -> str:
    """Run a command of the document in a process of its own; what it prints."""
    line = [sys.executable, "-m", "dlcexp.cli", *shlex.split(command)[1:], *more]
    paths = [".", *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = run_process(line, cwd=folder, env=environment)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_document_shows_its_files_and_commands():
    assert list(FILES) == [
        "mylab/backbones.py",
        "options/model/backbone/plain.yaml",
        "mylab/integral.py",
        "options/model/integral.yaml",
        "mylab/augment.py",
        "options/optimizer/lion.yaml",
    ]
    assert len(COMMANDS) == 9


@pytest.mark.slow
def test_the_example_composes_trains_evaluates_and_sweeps(folder):
    compose, train, evaluate, sweep = COMMANDS[:4]
    node = yaml.safe_load(dlcexp(compose, folder))["model"]["backbone"]
    assert node["_target_"] == "mylab.backbones.Plain"

    dlcexp(train, folder, *SHORT, FEW_FRAMES)
    run = folder / "runs" / "plain"
    assert json.loads((run / "status.json").read_text())["status"] == "completed"
    assert list(run.glob("snapshots/snapshot-*.pt"))
    scored = json.loads((run / "metrics.json").read_text())
    assert "RMSE (px)" in dlcexp(evaluate, folder, "output=again")
    again = json.loads((folder / "again" / "evaluation.json").read_text())
    assert again["metrics"]["test.rmse_mean_pose"] == scored["test.rmse_mean_pose"]

    # Another option of the same class stands in for HRNet, which takes its time.
    options = folder / "options" / "model" / "backbone"
    narrow = (options / "plain.yaml").read_text().replace("width: 16", "width: 8")
    (options / "narrow.yaml").write_text(narrow.replace("channels: 64", "channels: 32"))
    shorter = sweep.replace("hrnet_w18", "narrow")
    dlcexp(shorter, folder, *SHORT, FEW_FRAMES, "hydra.sweep.dir=multirun")
    states = [json.loads(path.read_text()) for path in folder.glob("multirun/*/status.json")]
    assert [state["status"] for state in states] == ["completed"] * 2


@pytest.fixture
def at(folder, monkeypatch) -> Path:
    """The folder of the files, as the working folder of this process."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.mark.slow
def test_the_head_the_augmentation_and_the_optimizer_train(at, capsys):
    draw, head, other_loss, augment, optimizer = (
        shlex.split(command)[1:] for command in COMMANDS[4:]
    )
    crops = [*SHORT[:5], FEW_FRAMES, "data.top_down_crop={width: 64, height: 64}"]
    lion = ["optimizer=lion", "allow_targets=[mylab.,timm.optim.]", "train.stages=[pose]"]
    assert main([*head, *crops, *lion, augment[-1], "hydra.run.dir=head"]) == 0
    with Path("head", "metrics.csv").open(newline="") as file:
        assert float(next(csv.DictReader(file))["train.bodypart_position"]) > 0
    capsys.readouterr()
    assert main([*optimizer, "--cfg", "job"]) == main(other_loss) == 0
    shown = capsys.readouterr().out
    assert "_target_: timm.optim.Lion" in shown
    assert "_target_: dlcexp.models.criterions.WeightedHuberCriterion" in shown

    sides = [f"data.train.crop_sampling.{side}=64" for side in ("width", "height")]
    for command, small in ((draw, crops), (augment, ["batch_size=2", *sides])):
        assert main([*command, *small, "browse.file=batches.png"]) == 0
        assert cv2.imread("batches.png") is not None
    white = np.full((33, 65, 3), 255, np.uint8)
    vignette = importlib.import_module("mylab.augment").Vignette(strength=0.9, p=1)
    shaded = vignette(image=white)["image"]
    assert (shaded[16, 32].min(), shaded[0, 0].max()) == (255, 25)


@pytest.mark.slow
def test_the_callbacks_of_the_page_train(tmp_path):
    write_files(CALLBACKS, tmp_path)
    commands = [
        command.replace("~/mouse", "demo").replace("seed=1,2", "seed=1")
        for command in COMMAND.findall(CALLBACKS)
    ]
    (sweep,) = [command for command in commands if " -m " in command]
    names = []
    for number, command in enumerate(each for each in commands if each != sweep):
        dlcexp(command, tmp_path, *SHORT, FEW_FRAMES, f"hydra.run.dir=runs/{number}")
        config = yaml.safe_load((tmp_path / "runs" / str(number) / "config.yaml").read_text())
        names.append(list(config["callbacks"]))
    assert names == [["ema", "timer"], ["ema", "accumulate"], ["ema", "clip"]]
    with (tmp_path / "runs" / "2" / "metrics.csv").open(newline="") as file:
        assert all(float(row["gradient_norm"]) > 0 for row in csv.DictReader(file))
    dlcexp(sweep, tmp_path, *SHORT, FEW_FRAMES, "hydra.sweep.dir=multirun")
    states = [json.loads(path.read_text()) for path in tmp_path.glob("multirun/*/status.json")]
    assert [state["status"] for state in states] == ["completed"] * 2


def test_a_misspelt_argument_of_the_class_is_named(at, capsys):
    assert main([*shlex.split(COMMANDS[1])[1:], "+model.backbone.widht=8"]) == 2
    assert "'width'" in capsys.readouterr().err


def words_of(command: str) -> list[str]:
    """The words of a command of the tutorial, made short."""
    shorter = {"epochs=40": "epochs=1", "split.k=3": "split.k=2", "range(3)": "0"}
    for said, word in shorter.items():
        command = command.replace(said, word)
    words = shlex.split(command)[1:]
    trains = "hydra.run.dir" in command or "hydra.sweep.dir" in command
    in_this_process = ["hydra/launcher=basic"] if "-m" in words else []
    return [*words, *(SHORT[2:] if trains or words[0] == "browse" else []), *in_this_process]


def keep_few_frames(project: Path) -> None:
    """Four labelled frames of each video, and a video of no more."""
    frames = [cv2.imread(str(path)) for path in sorted(project.glob("labeled-data/moss/*.png"))[:4]]
    size = frames[0].shape[1::-1]
    video = cv2.VideoWriter(
        str(project / "videos" / "moss.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, size
    )
    for frame in frames:
        video.write(frame)
    video.release()
    for path in project.glob("labeled-data/*/CollectedData_*.h5"):
        pd.read_hdf(path)[:4].to_csv(path.with_suffix(".csv"))
        path.unlink()


@pytest.mark.slow
def test_the_tutorial_ends_with_an_installed_winner_and_poses(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command in COMMAND.findall(TUTORIAL):
        assert main(words_of(command)) == 0, command
        assert capsys.readouterr().out, command
        if " demo " in command:
            keep_few_frames(tmp_path / "arena")
    assert len(list(tmp_path.glob("multirun/arena/models/*/metrics.json"))) == 2
    assert (tmp_path / "multirun" / "arena" / "models" / "report.html").is_file()
    (config,) = tmp_path.glob("arena/dlc-models-pytorch/**/train/pytorch_config.yaml")
    assert "shuffle1" in config.parent.parent.name
    assert list(tmp_path.glob("arena/videos/moss*.h5"))
    assert list(tmp_path.glob("arena/videos/moss*_labeled.mp4"))
    goes_on_in_deeplabcut(tmp_path)


def goes_on_in_deeplabcut(folder: Path) -> None:
    """What the tutorial says of DeepLabCut runs there, if it is here, and leaves its files."""
    (block,) = FOR_DEEPLABCUT.findall(TUTORIAL)
    if not DEEPLABCUT.exists():
        return
    # A model of one epoch finds nothing that could be followed from frame to frame.
    assert block.count("shuffle=1, ") == 1
    short = block.replace("shuffle=1, ", "shuffle=1, auto_track=False, ")
    line = [str(DEEPLABCUT), "-W", "ignore", "-c", short]
    done = run_process(line, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert list(folder.glob("arena/evaluation-results-pytorch/*/*shuffle1/*-results.csv"))
    assert list(folder.glob("arena/videos/moss*shuffle1_*_full.pickle"))


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    sphinx = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(DOCS), str(tmp_path)]
    done = run_process(sphinx)
    assert done.returncode == 0, done.stderr
    commands = (tmp_path / "commands.html").read_text(encoding="utf-8")
    assert "resumes where it was" in commands
    assert "logger.mlflow.tracking_uri" in (tmp_path / "reference.html").read_text("utf-8")


@pytest.mark.slow
def test_commands_of_the_loggers_tools_have_the_form_that_these_take():
    """They need a server, or are one: their own parsers read the words."""
    from mlflow.cli import cli as mlflow
    from tensorboard.plugins.core.core_plugin import CorePluginLoader
    from wandb.cli.cli import cli as wandb

    shown = re.findall(r"^(wandb .*)$", LOGGERS, re.MULTILINE)
    shown += re.findall(r"`((?:wandb|mlflow) [a-z]+)`", LOGGERS)
    assert len(shown) == 4
    for tool, name, *words in map(str.split, shown):
        group = {"wandb": wandb, "mlflow": mlflow}[tool]
        group.get_command(Context(group), name).make_context(name, words)
    parser = argparse.ArgumentParser()
    CorePluginLoader().define_flags(parser)
    (words,) = re.findall(r"`tensorboard (.*?)`", LOGGERS)
    assert parser.parse_args(words.split()).logdir == "runs"
