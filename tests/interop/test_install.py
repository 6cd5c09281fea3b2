"""A run installed as a shuffle: the real DeepLabCut evaluates it, and finds our numbers."""

import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import dlcexp
from dlcexp.cli import main
from dlcexp.data.demo import demo_project

FRAMES = 3  # of each video
FILES = ("_full.pickle", "_assemblies.pickle", "_meta.pickle")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The demo project with three frames of each video."""
    root = tmp_path / "lizards"
    shutil.copytree(demo_project(), root)
    for path in root.glob("labeled-data/*/CollectedData_*.h5"):
        table = pd.read_hdf(path)[:FRAMES]
        for _, _, name in pd.read_hdf(path).index[FRAMES:]:
            (path.parent / name).unlink()
        table.to_csv(path.with_suffix(".csv"))
        path.unlink()
    return root


@pytest.mark.slow
def test_deeplabcut_evaluates_an_installed_run_and_analyses_videos(
    project, tmp_path, deeplabcut, capsys
):
    cfg = dlcexp.compose(
        f"project={project.as_posix()}",
        "model=dekr",
        "model/backbone=resnet_50",
        "device=cpu",
        "epochs=1",
        "batch_size=6",
        "data.resize={width: 96, height: 96}",
        "data.train.crop_sampling=null",
        "data.train.auto_padding=${data.auto_padding}",
        "trainer.num_workers=0",
        "trainer.progress_bar=false",
        "evaluation.examples=0",
        "evaluation.pcutoff=0.0",
    )
    run = dlcexp.train(cfg, tmp_path / "run")
    assert main(["install", f"run={run.folder}", "shuffle=7"]) == 0
    index = int(re.search(r"trainingsetindex=(\d+)", capsys.readouterr().out)[1])
    video = next((project / "videos").glob("*.mp4"))
    analyzed = tmp_path / "analyzed"
    assert (
        main(["predict", f"run={run.folder}", f"source={video}", f"output={analyzed}", "shuffle=7"])
        == 0
    )
    told = deeplabcut("evaluate_shuffle", project, 7, index, video, analyzed)
    for split in ("train", "test"):
        for metric in ("rmse", "mAP", "mAR"):
            ours = run.metrics[f"{split}.{metric}"]
            assert told["scores"][f"{split} {metric}"] == pytest.approx(ours, abs=0.01)
    assert {f"{video.stem}{told['scorer']}{kind}" for kind in FILES} == set(told["files"])
    assert set(told["files"]) < {path.name for path in analyzed.iterdir()}
    compare_assemblies(
        *(folder / f"{video.stem}{told['scorer']}{FILES[1]}" for folder in (video.parent, analyzed))
    )
    assert told["tracklets"] == told["tracklets of ours"]


def compare_assemblies(theirs: Path, ours: Path) -> None:
    """Every animal that DeepLabCut finds in a frame is found here, to 0.01 px."""
    expected, found = (pickle.loads(path.read_bytes()) for path in (theirs, ours))
    assert expected.keys() == found.keys()
    for frame in expected.keys() - {"single"}:
        np.testing.assert_allclose(found[frame], expected[frame], atol=0.01)
