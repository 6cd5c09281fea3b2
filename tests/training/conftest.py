"""A project and a model so small that an epoch takes a moment, through the real code."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf

# Tests are imported one by one (--import-mode=importlib): their common helpers need a place.
sys.path.insert(0, str(Path(__file__).parent))

BODYPARTS = ("nose", "tail")
FRAMES, SIDE = 12, 48


@pytest.fixture(scope="session")
def small_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single-animal DeepLabCut project: twelve frames of a bright line on a dark ground."""
    root = tmp_path_factory.mktemp("project")
    folder = root / "labeled-data" / "video"
    folder.mkdir(parents=True)
    config = {
        "Task": "small",
        "scorer": "me",
        "date": "Nov24",
        "multianimalproject": False,
        "bodyparts": list(BODYPARTS),
        "skeleton": [list(BODYPARTS)],
    }
    (root / "config.yaml").write_text(OmegaConf.to_yaml(config), encoding="utf-8")
    points = np.random.default_rng(0).uniform(8, SIDE - 8, (FRAMES, 2, 2)).round()
    index = []
    for frame, (nose, tail) in enumerate(points.astype(int)):
        image = np.full((SIDE, SIDE, 3), 20, np.uint8)
        cv2.line(image, nose.tolist(), tail.tolist(), (200, 220, 240), 3)
        cv2.circle(image, nose.tolist(), 4, (40, 40, 250), -1)
        name = f"img{frame:03d}.png"
        cv2.imwrite(str(folder / name), image)
        index.append(("labeled-data", "video", name))
    columns = pd.MultiIndex.from_product(
        [["me"], BODYPARTS, ["x", "y"]], names=["scorer", "bodyparts", "coords"]
    )
    table = pd.DataFrame(
        points.reshape(FRAMES, -1), index=pd.MultiIndex.from_tuples(index), columns=columns
    )
    table.to_csv(folder / "CollectedData_me.csv")
    return root


@pytest.fixture(scope="session")
def small_tree(small_project: Path) -> dict[str, Any]:
    """The composed tree of a heatmap model with about ten thousand weights."""
    from dlcexp.config.composition import compose

    cfg = compose(
        f"project={small_project.as_posix()}",
        "model=heatmap",
        "model/backbone=timm",
        "model.backbone.model_name=test_resnet.r160_in1k",
        "model.backbone.feature_level=1",
        "device=cpu",
        "seed=0",
        "batch_size=4",
        "epochs=4",
        "save_epochs=2",
        "scheduler.milestones=[2,3]",
        "trainer.eval_interval=2",
        "trainer.progress_bar=false",
        "evaluation.examples=1",
        "data.train.crop_sampling=null",
    )
    return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]


@pytest.fixture
def tree(small_tree: dict[str, Any]) -> Callable[..., DictConfig]:
    """The small tree with dotted keys changed: `tree({"trainer.precision": "bf16-mixed"})`."""

    def changed(changes: dict[str, Any] | None = None) -> DictConfig:
        cfg = OmegaConf.create(small_tree)
        for key, value in (changes or {}).items():
            OmegaConf.update(cfg, key, value, merge=False, force_add=True)
        return cfg

    return changed
