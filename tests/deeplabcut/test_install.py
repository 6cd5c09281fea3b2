"""A new shuffle beside others: what is in its files, and that nothing of the others changes."""

import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.io import loadmat

from dlcexp.data.draw_demo import demo_project
from dlcexp.deeplabcut.install import install
from dlcexp.deeplabcut.shuffles import find_trained_shuffle, read_shuffle
from dlcexp.errors import ConfigError, ProjectError, UserError
from dlcexp.project import load_labels, open_project

CONFIG = (
    "net_type: resnet_50\nmetadata:\n  project_path: elsewhere\n  pose_config_path: elsewhere\n"
)
SHARED = {"config.yaml", "metadata.yaml"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A demo project of one's own."""
    folder = tmp_path / "project"
    shutil.copytree(demo_project(), folder, ignore=shutil.ignore_patterns("videos"))
    return folder


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    path = tmp_path / "snapshot-best-012.pt"
    path.write_bytes(b"weights")
    return path


def installed(root: Path, snapshot: Path, train=range(0, 60), test=range(60, 80), number=None):
    project = open_project(root)
    labels = load_labels(project)
    shuffle = install(project, labels, list(train), list(test), CONFIG, [snapshot], number)
    return project, labels, shuffle


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def single_animal(root: Path) -> None:
    """Make the project one of its first animal."""
    config = yaml.safe_load((root / "config.yaml").read_text())
    config |= {"multianimalproject": False, "bodyparts": config["multianimalbodyparts"]}
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    for path in root.glob("labeled-data/*/*.h5"):
        table = pd.read_hdf(path)
        animal = table.columns.get_level_values("individuals")[0]
        table.xs(animal, level="individuals", axis=1).to_csv(path.with_suffix(".csv"))
        path.unlink()


def test_the_frames_of_the_shuffle_are_those_that_were_meant(root, snapshot):
    project, labels, shuffle = installed(root, snapshot)
    frames = read_shuffle(project, shuffle.number)
    assert frames.train == tuple(labels.names[:60])
    assert frames.test == tuple(labels.names[60:80])
    assert (shuffle.number, shuffle.fraction) == (1, 0.75)
    fractions = yaml.safe_load((root / "config.yaml").read_text())["TrainingFraction"]
    assert fractions[shuffle.fraction_index] == 0.75


def test_the_model_has_its_weights_and_the_paths_of_the_project(root, snapshot):
    project, _, shuffle = installed(root, snapshot)
    train = find_trained_shuffle(project, shuffle.number)
    assert train == shuffle.folder / "train"
    assert (train / snapshot.name).read_bytes() == b"weights"
    config = yaml.safe_load((train / "pytorch_config.yaml").read_text())
    assert config["metadata"] == {
        "project_path": str(root),
        "pose_config_path": str(train / "pytorch_config.yaml"),
    }
    assert (shuffle.folder / "test" / "pose_cfg.yaml").is_file()


def test_the_merged_labels_are_those_of_the_project(root, snapshot):
    _, labels, _ = installed(root, snapshot)
    (path,) = root.glob("training-datasets/*/*/CollectedData_*.h5")
    merged = pd.read_hdf(path)
    assert list(merged.index) == sorted(merged.index)
    rows = [merged.index.get_loc(tuple(name.rsplit("/", 2))) for name in labels.names]
    np.testing.assert_array_equal(
        merged.to_numpy()[rows], labels.keypoints.reshape(len(labels), -1)
    )


def test_nothing_of_an_earlier_shuffle_changes(root, snapshot):
    _, _, first = installed(root, snapshot)
    before = contents(root)
    metadata = next(path for path in before if path.name == "metadata.yaml")
    _, _, second = installed(root, snapshot, train=range(40), test=range(40, 80))
    after = contents(root)
    changed = {path.name for path in before if before[path] != after[path]}
    assert changed <= SHARED
    assert second.number == 2
    shuffles = yaml.safe_load(metadata.read_text())["shuffles"]
    assert list(shuffles) == [first.folder.name, second.folder.name]
    assert (
        shuffles[first.folder.name]
        == yaml.safe_load(before[metadata])["shuffles"][first.folder.name]
    )
    assert {entry["split"] for entry in shuffles.values()} == {1, 2}
    assert {entry["engine"] for entry in shuffles.values()} == {"pytorch"}


def test_frames_labelled_since_go_to_the_end_of_the_merged_labels(root, snapshot):
    installed(root, snapshot)
    project = open_project(root)
    before = read_shuffle(project, 1)
    folder = next(iter(sorted((root / "labeled-data").iterdir())))
    csv = next(folder.glob("*.csv"))
    lines = csv.read_text().splitlines()
    shutil.copyfile(next(folder.glob("*.png")), folder / "aaa.png")
    new = re.sub(r"[^,]*\.png", "aaa.png", lines[-1])
    csv.write_text("\n".join([*lines, new]) + "\n")
    next(folder.glob("*.h5")).unlink()
    _, _, shuffle = installed(root, snapshot, train=range(70), test=range(70, 85))
    assert read_shuffle(project, 1) == before
    assert f"labeled-data/{folder.name}/aaa.png" in read_shuffle(project, shuffle.number).train


def test_of_a_single_animal_deeplabcut_gets_a_mat_file(root, snapshot):
    single_animal(root)
    _, labels, _ = installed(root, snapshot, train=[3], test=[0, 1])
    (path,) = root.glob("training-datasets/*/*/*.mat")
    image, size, joints = loadmat(path)["dataset"][0, 0]
    assert "/".join(part.strip() for part in image[0]) == labels.names[3]
    assert size[0].tolist() == [3, 160, 160]
    known = np.isfinite(labels.keypoints[3, 0]).all(axis=1)
    np.testing.assert_array_equal(joints[0, 0][:, 1:], np.rint(labels.keypoints[3, 0][known]))
    assert joints[0, 0][:, 0].tolist() == np.flatnonzero(known).tolist()


def test_of_several_animals_it_gets_a_pickle(root, snapshot):
    _, labels, _ = installed(root, snapshot, train=[3], test=[0, 1])
    (path,) = root.glob("training-datasets/*/*/demo_dlcexp*.pickle")
    with path.open("rb") as file:
        (frame,) = pickle.load(file)
    assert "/".join(frame["image"]) == labels.names[3]
    for animal, points in frame["joints"].items():
        expected = labels.keypoints[3, animal][points[:, 0].astype(int)]
        np.testing.assert_allclose(points[:, 1:], expected, rtol=1e-6)


def test_shuffles_that_were_never_registered_are_registered(root, snapshot):
    installed(root, snapshot)
    (metadata,) = root.glob("training-datasets/*/*/metadata.yaml")
    metadata.unlink()
    _, _, shuffle = installed(root, snapshot)
    entries = yaml.safe_load(metadata.read_text())["shuffles"].values()
    assert [(e["index"], e["engine"]) for e in entries] == [(1, "pytorch"), (2, "pytorch")]
    assert shuffle.number == 2


@pytest.mark.parametrize("number", [1, 0])
def test_a_number_that_is_taken_is_refused_and_nothing_is_written(root, snapshot, number):
    installed(root, snapshot)
    before = contents(root)
    with pytest.raises(ConfigError, match=f"shuffle: {number} .* 2"):
        installed(root, snapshot, number=number)
    assert contents(root) == before


def test_a_failure_leaves_the_project_as_it_was(root, snapshot, tmp_path):
    installed(root, snapshot)
    before = contents(root)
    with pytest.raises(UserError, match=r"missing\.pt"):
        installed(root, tmp_path / "missing.pt")
    assert contents(root) == before


@pytest.mark.parametrize(
    ("text", "expected", "index"),
    [
        (":\n- 0.95\nb: 0\n", ":\n- 0.95\n- 0.75\nb: 0\n", 1),
        (":\n  - 0.95 # most\nb: 1\n", ":\n  - 0.95 # most\n  - 0.75\nb: 1\n", 1),
        (": [0.95, 0.8]\n", ": [0.95, 0.8, 0.75]\n", 2),
        (": []\n", ": [0.75]\n", 0),
        (":\r\n- 0.5\r\nb: 1\r\n", ":\r\n- 0.5\r\n- 0.75\r\nb: 1\r\n", 1),
        (":\n- 0.75\n", ":\n- 0.75\n", 0),
    ],
)
def test_a_fraction_is_added_and_nothing_else_of_config_yaml_changes(
    root, snapshot, text, expected, index
):
    path = root / "config.yaml"
    rest = re.sub(r"TrainingFraction:\n(?:- .*\n)+", "", path.read_text())
    path.write_bytes(f"TrainingFraction{text}{rest}".encode())
    _, _, shuffle = installed(root, snapshot)
    assert path.read_bytes() == f"TrainingFraction{expected}{rest}".encode()
    assert shuffle.fraction_index == index


def test_a_config_without_fractions_is_told(root, snapshot):
    path = root / "config.yaml"
    path.write_text(re.sub(r"TrainingFraction:\n(?:- .*\n)+", "", path.read_text()))
    before = contents(root)
    with pytest.raises(ProjectError, match=r"0\.75.*TrainingFraction"):
        installed(root, snapshot)
    assert contents(root) == before


_KILLED_AT = """
import os, sys
from pathlib import Path
from dlcexp.deeplabcut.install import install
from dlcexp.project import load_labels, open_project
root, snapshot, config, step = sys.argv[1:]
calls = 0
def hook(event, arguments):
    global calls
    names = map(str, arguments)
    if event in ("open", "os.rename", "os.remove") and any(name.startswith(root) for name in names):
        written = event != "open" or arguments[1] not in ("r", "rb", None)
        calls += written
        if written and calls == int(step):
            os._exit(9)
project = open_project(root)
labels = load_labels(project)
sys.addaudithook(hook)
install(project, labels, list(range(60)), list(range(60, 80)), config, [Path(snapshot)])
print(calls)
"""


def killed(root: Path, snapshot: Path, step: int) -> int:
    """Install in a process that dies as it is about to write for the `step`-th time."""
    command = [sys.executable, "-c", _KILLED_AT, str(root), str(snapshot), CONFIG, str(step)]
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode


@pytest.mark.parametrize("step", [10, 13, 19, 25])
def test_of_a_killed_installation_nothing_is_left_after_the_next(root, snapshot, tmp_path, step):
    untouched = tmp_path / "untouched"
    shutil.copytree(root, untouched)
    installed(untouched, snapshot)
    expected = {path.relative_to(untouched) for path in contents(untouched)}
    assert killed(root, snapshot, step) == 9
    _, _, shuffle = installed(root, snapshot)
    assert shuffle.number == 1
    assert {path.relative_to(root) for path in contents(root)} == expected
    (metadata,) = root.glob("training-datasets/*/*/metadata.yaml")
    assert list(yaml.safe_load(metadata.read_text())["shuffles"]) == [shuffle.folder.name]
