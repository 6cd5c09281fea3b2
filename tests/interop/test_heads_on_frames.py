"""A real project made one with identity and unique bodyparts: trained here, same poses there."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import dlcexp
from dlcexp.cli import main
from dlcexp.project import load_labels, open_project

FRAMES = 10
UNIQUE = 2
PIXELS = 0.01


@pytest.fixture(scope="module")
def project(flies13: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first frames of flies13; the last bodyparts of its first fly are points of the arena."""
    root = tmp_path_factory.mktemp("flies")
    config = yaml.safe_load((flies13 / "config.yaml").read_text(encoding="utf-8"))
    bodyparts = config["multianimalbodyparts"]
    config["uniquebodyparts"] = unique = bodyparts[-UNIQUE:]
    config["multianimalbodyparts"] = bodyparts[:-UNIQUE]
    config["identity"] = True
    (root / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    table_path = next(flies13.glob("labeled-data/*/CollectedData_*.h5"))
    table = pd.read_hdf(table_path).iloc[:FRAMES]
    first = config["individuals"][0]
    table = table[[key for key in table.columns if key[1] == first or key[2] not in unique]]
    table.columns = pd.MultiIndex.from_tuples(
        [(s, "single" if b in unique else i, b, c) for s, i, b, c in table.columns],
        names=table.columns.names,
    )
    folder = root / "labeled-data" / table_path.parent.name
    folder.mkdir(parents=True)
    table.to_csv(folder / f"CollectedData_{config['scorer']}.csv")
    for row in table.index:
        name = row[-1] if isinstance(row, tuple) else Path(row).name
        shutil.copyfile(table_path.parent / name, folder / name)
    return root


@pytest.fixture(scope="module")
def run(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dlcexp.Run:
    """Trained through the command line."""
    folder = tmp_path_factory.mktemp("run") / "run"
    words = [
        f"project={project}",
        "net_type=dekr_w18",
        "data.resize={width: 128, height: 128}",
        "data.train.crop_sampling=null",
        "data.train.affine=null",
        "batch_size=4",
        "epochs=3",
        "save_epochs=3",
        "optimizer.lr=1e-3",
        "split.train_fraction=0.8",
        "evaluation.examples=1",
        "device=cpu",
        f"hydra.run.dir={folder}",
    ]
    assert main(words) == 0
    return dlcexp.Run.open(folder)


@pytest.mark.slow
def test_the_run_learns_and_scores_both_heads(run: dlcexp.Run) -> None:
    table = pd.read_csv(run.folder / "metrics.csv")
    for head in ("bodypart", "unique_bodypart", "identity"):
        losses = table[f"train.{head}_total_loss"]
        assert losses[1:].min() < losses[0], head
    assert table["train.total_loss"].is_monotonic_decreasing
    metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
    assert {"test.identity_accuracy", "train.identity_accuracy"} < set(metrics)
    for bodypart in run.cfg.metadata.unique_bodyparts:
        assert np.isfinite(metrics[f"train.rmse_{bodypart}"])
    assert (run.folder / "figures" / "worst-1.png").is_file()


@pytest.mark.slow
def test_the_same_poses_in_the_same_frames(
    deeplabcut: Any, run: dlcexp.Run, project: Path, tmp_path: Path
) -> None:
    images = load_labels(open_project(project)).images[:4]
    config = tmp_path / "pytorch_config.yaml"
    assert main(["export", f"run={run.folder}", f"export.file={config}"]) == 0
    deeplabcut("find_poses", config, run.best_snapshot, tmp_path / "theirs.npz", *images)
    poses = dlcexp.predict(run, images)
    unique = dlcexp.predict(run, images, head="unique_bodypart")
    with np.load(tmp_path / "theirs.npz") as theirs:
        for place, image in enumerate(map(str, images)):
            expected = theirs[f"{place}/bodyparts"][..., :3]
            there = expected[..., 2] > 0
            assert there.any()
            np.testing.assert_allclose(poses[image][there], expected[there], atol=PIXELS)
            assert np.isnan(poses[image][expected[..., 2] < 0]).all()
            expected = theirs[f"{place}/unique_bodyparts"]
            np.testing.assert_allclose(unique[image], expected, atol=PIXELS)
