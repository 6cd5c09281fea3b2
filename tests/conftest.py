"""Fixtures shared by all tests: the parity records, the real projects, and a small one."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from parity_support import Parity

# Tests send these to processes that they start, which inherit that a signal is ignored: as it is in
# what a shell runs in the background (SIGINT) and in what outlives it (SIGHUP).
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Tests are imported one by one (--import-mode=importlib): their common helpers need a place.
sys.path.insert(0, str(Path(__file__).parent))

# The networks of the tests are too small for more threads to help.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("XDG_STATE_HOME", str(Path(tempfile.gettempdir(), "dlcexp-state")))
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

# How long an example takes says how busy the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def parity(tmp_path_factory: pytest.TempPathFactory) -> "Parity":
    """The records of DeepLabCut; a test skips where those of its project are not at hand."""
    from parity_support import Parity

    return Parity(tmp_path_factory.mktemp("projects"))


@pytest.fixture(scope="session")
def mouse_project(parity: "Parity") -> Path:
    """A project with the four bodyparts of openfield, to compose with: it has no images."""
    return parity.project("openfield")


@pytest.fixture(scope="session")
def pair_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two animals, to compose with: it has no images."""
    root = tmp_path_factory.mktemp("pair")
    config = {
        "Task": "pair",
        "scorer": "me",
        "date": "Nov24",
        "multianimalproject": True,
        "individuals": ["one", "two"],
        "multianimalbodyparts": ["nose", "neck", "tail"],
        "uniquebodyparts": [],
        "bodyparts": "MULTI!",
        "identity": False,
    }
    (root / "config.yaml").write_text(OmegaConf.to_yaml(config), encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def samples() -> Path:
    """Folder with the `pytorch_config.yaml` that versions of DeepLabCut wrote, one folder each."""
    return Path(__file__).parent / "parity" / "samples"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real DeepLabCut projects, kept next to the checkout."""
    data = (Path(__file__).resolve().parents[2] / "shared" / "data").resolve()
    if not data.is_dir():
        pytest.skip("the real projects are not next to this checkout")
    return data


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Overrides that make an experiment on the demo project take seconds."""
    return [
        "model/backbone=timm",
        "model.backbone.model_name=resnet10t",
        "model.backbone.feature_level=2",
        "data.resize.width=64",
        "data.resize.height=64",
        "data.train.crop_sampling=null",
        "data.train.auto_padding=${data.auto_padding}",
        "split.train_fraction=0.9",
        "epochs=1",
        "save_epochs=1",
        "device=cpu",
    ]


@pytest.fixture(scope="session")
def openfield(real_data: Path) -> Path:
    """A real single-animal project: one mouse, 116 labelled frames of 640x480, 4 bodyparts."""
    return real_data / "openfield"


@pytest.fixture(scope="session")
def flies13(real_data: Path) -> Path:
    """A real multi-animal project: two flies, 120 labelled frames of 1024x1024, 13 bodyparts."""
    return real_data / "flies13"


BODYPARTS = ("nose", "tail")
FRAMES, SIDE = 12, 48


@pytest.fixture(scope="session")
def small_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single-animal DeepLabCut project: twelve frames of a bright line on a dark ground."""
    import cv2
    import numpy as np
    import pandas as pd

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
def small_words(small_project: Path) -> list[str]:
    """Overrides for that project and a heatmap model with about ten thousand weights."""
    return [
        f"project={small_project.as_posix()}",
        "model=heatmap",
        "model/backbone=timm",
        "model.backbone.model_name=test_resnet.r160_in1k",
        "model.backbone.feature_level=1",
        "device=cpu",
        "batch_size=4",
        "trainer.progress_bar=false",
        "data.train.crop_sampling=null",
    ]


@pytest.fixture
def folds(tmp_path: Path) -> Path:
    """A sweep of `optimizer.lr=0.001,0.01` over five folds with a known metric."""
    from sweep_support import write_folds

    return write_folds(tmp_path)


@pytest.fixture(scope="session")
def small_tree(small_words: list[str]) -> dict[str, Any]:
    """The composed tree of a model so small that an epoch takes a moment."""
    from dlcexp.composition import compose

    cfg = compose(
        *small_words,
        "seed=0",
        "epochs=4",
        "save_epochs=2",
        "scheduler.milestones=[2,3]",
        "trainer.eval_interval=2",
        "evaluation.examples=1",
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
