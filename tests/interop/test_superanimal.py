"""From a SuperAnimal on the hub to a file that DeepLabCut loads."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml
from hub_support import place_in_cache
from training_support import write_topviewmouse

from dlcexp.cli import main
from dlcexp.runs.run import Run

ZOO = "mwmathis/DeepLabCutModelZoo-SuperAnimal-TopViewMouse"
# Two bodyparts by the table of the project, one by its name, one that the SuperAnimal lacks.
TABLE = {"snout": "nose", "tailbase": "tail_base"}
RENAMED = {"leftear": "left_ear", "rightear": "whisker"}


def write_project(folder: Path, openfield: Path) -> None:
    """A copy of openfield with twelve frames, and bodyparts of other names."""
    config = yaml.safe_load((openfield / "config.yaml").read_text())
    config["bodyparts"] = [RENAMED.get(name, name) for name in config["bodyparts"]]
    config["SuperAnimalConversionTables"] = {"superanimal_topviewmouse": TABLE}
    (folder / "labeled-data").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    for video in (openfield / "labeled-data").iterdir():
        copy = folder / "labeled-data" / video.name
        copy.mkdir()
        lines = next(video.glob("CollectedData_*.csv")).read_text().splitlines()
        for old, new in RENAMED.items():
            lines[1] = lines[1].replace(old, new)
        (copy / "CollectedData_Pranav.csv").write_text("\n".join(lines[:15]) + "\n")
        for line in lines[3:15]:
            shutil.copy(openfield / line.partition(",")[0], copy)


@pytest.mark.slow
def test_a_superanimal_becomes_a_model_of_the_project_that_deeplabcut_loads(
    deeplabcut, openfield, mouse_project, tmp_path, monkeypatch
):
    file = place_in_cache(tmp_path / "hub", ZOO, "superanimal_topviewmouse_hrnet_w32.pt")
    write_topviewmouse(mouse_project, file)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    write_project(tmp_path / "mouse", openfield)
    folder = tmp_path / "run"
    words = [f"project={tmp_path / 'mouse'}", f"hydra.run.dir={folder}", "device=cpu"]
    start = ["net_type=top_down_hrnet_w32", "weights=superanimal_topviewmouse"]
    slow = ["weights.freeze=[backbone.model.stage2]", "weights.lr_scale={backbone: 0.1}"]
    small = ["data.top_down_crop={width: 64, height: 64}", "train.stages=[pose]", "batch_size=4"]
    short = ["epochs=1", "save_epochs=1", "trainer.num_workers=0", "evaluation.examples=0"]
    assert main([*words, *start, *slow, *small, *short]) == 0

    record = json.loads((folder / "weights.json").read_text())
    assert record["bodyparts"] == {
        "snout": "nose",
        "left_ear": "left_ear",
        "whisker": None,
        "tailbase": "tail_base",
    }
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["start"].startswith("superanimal_topviewmouse")

    run = Run.open(folder)
    snapshot = run.best_snapshot
    trained = torch.load(snapshot, weights_only=True)["model"]
    published = torch.load(file, weights_only=True)["model"]
    frozen = "backbone.model.stage2.0.branches.0.0.conv1.weight"
    assert torch.equal(trained[frozen], published[frozen])
    free = "backbone.model.conv1.weight"
    assert not torch.equal(trained[free], published[free])
    torch.testing.assert_close(trained[free], published[free], atol=0.01, rtol=0)

    assert main(["export", f"run={folder}", f"export.file={tmp_path / 'exported.yaml'}"]) == 0
    images = torch.rand(2, 3, 64, 64)
    np.save(tmp_path / "images.npy", images.numpy())
    paths = [snapshot, tmp_path / "images.npy", tmp_path / "theirs.npz"]
    deeplabcut("load_run", tmp_path / "exported.yaml", *paths)
    with torch.inference_mode():
        ours = run.model(snapshot)(images)["bodypart"]["heatmap"]
    theirs = np.load(tmp_path / "theirs.npz")["bodypart/heatmap"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
