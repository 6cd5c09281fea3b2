"""A folder of DeepLabCut's is opened as a run: the same numbers, and nothing in it changes."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

import dlcexp
from dlcexp.cli import main
from dlcexp.deeplabcut.install import install
from dlcexp.errors import ProjectError, UserError
from dlcexp.project import load_labels, open_project
from dlcexp.training import Run


@pytest.fixture(scope="module")
def run(small_tree: dict[str, Any], small_project: Path, tmp_path_factory: Any) -> Iterator[Run]:
    """A run on a copy of the project, in which it is shuffle 3."""
    folder = tmp_path_factory.mktemp("shuffle")
    project = shutil.copytree(small_project, folder / "project")
    with (project / "config.yaml").open("a", encoding="utf-8") as config:
        config.write("TrainingFraction: [0.75]\n")
    cfg = OmegaConf.create({**small_tree, "project": str(project), "epochs": 2})
    cfg.split = {"_target_": "dlcexp.data.splits.KFoldSplit", "k": 4, "fold": 1, "seed": 0}
    cfg.trainer.key_metric = "test.mAP"  # as DeepLabCut, whose shuffle it becomes
    done = dlcexp.train(cfg, folder / "run")
    frames = dlcexp.evaluate(done).names
    opened = open_project(project)
    labels = load_labels(opened)
    rows = {s: [labels.names.index(name) for name in names] for s, names in frames.items()}
    snapshots = [done.best_snapshot, done.snapshots[-1]]
    install(opened, labels, rows["train"], rows["test"], dlcexp.export(cfg), snapshots, 3)
    yield done
    shutil.rmtree(folder)


@pytest.fixture
def shuffle(run: Run) -> Path:
    (found,) = (run.folder.parent / "project").glob("dlc-models-pytorch/*/*shuffle3")
    return found


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_shuffle_has_the_numbers_and_the_split_of_the_run_that_it_is(run, shuffle):
    for folder in (shuffle, shuffle / "train"):
        opened = Run.open(folder)
        assert opened.best_snapshot.name == run.best_snapshot.name
    evaluation = dlcexp.evaluate(opened)
    assert evaluation.metrics["test"]["rmse"] == pytest.approx(run.metrics["test.rmse"], rel=1e-5)
    assert len(evaluation.names["test"]) == 3
    assert evaluation.names == dlcexp.evaluate(run).names


def test_the_command_leaves_the_project_alone(run, shuffle, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = contents(run.folder.parent / "project")
    words = [f"run={shuffle / 'train'}", f"snapshot={run.snapshots[-1].name}"]
    assert main(["evaluate", *words, "evaluation.examples=0"]) == 0
    assert contents(run.folder.parent / "project") == before
    (folder,) = (tmp_path / "evaluation").iterdir()
    assert folder.name == f"{shuffle.name}_{run.snapshots[-1].stem}"
    told = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    assert told["about"]["split"] == (
        "DLCShuffleSplit(shuffle=3, iteration=0, trainset_fraction=0.75)"
    )
    assert (told["about"]["train_frames"], told["about"]["epoch"]) == (9, 2)
    assert str(folder.relative_to(tmp_path)) in capsys.readouterr().out


def test_elsewhere_than_in_a_shuffle_every_frame_tests(run, shuffle, tmp_path):
    copied = shutil.copytree(shuffle / "train", tmp_path / "copied")
    file = tmp_path / "copied" / "pytorch_config.yaml"
    file.write_text(file.read_text().replace(str(run.folder.parent), "/gone"))
    with pytest.raises(ProjectError, match="project="):
        dlcexp.evaluate(Run.open(copied))
    opened = Run.open(copied, [f"project={run.folder.parent / 'project'}"])
    evaluation = dlcexp.evaluate(opened)
    assert (len(evaluation.names["test"]), len(evaluation.names["train"])) == (12, 0)
    errors = evaluation.records.groupby("split").error.mean()
    both = dlcexp.evaluate(run)
    assert errors["test"] == pytest.approx(float(np.nanmean(both.records.error)), rel=1e-5)
    with pytest.raises(UserError, match=r"^split: "):
        dlcexp.train(opened.cfg, tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_a_project_of_other_bodyparts_is_refused(run):
    with pytest.raises(UserError, match=r"^project: .*nose, tail"):
        dlcexp.evaluate(run, overrides=["project=demo"])


def test_of_a_project_its_shuffles_are_told(run, shuffle):
    with pytest.raises(UserError, match=r"project.*shuffle3/train"):
        Run.open(run.folder.parent / "project")
