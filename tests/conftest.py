"""Fixtures shared by all tests: where the real projects and the parity records are."""

import os
from pathlib import Path

import pytest

# The networks of the tests are too small for more threads to help.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

SHARED = Path(__file__).resolve().parents[2].joinpath("shared").resolve()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real DeepLabCut projects and parity records, kept beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(
            "the folder `shared` with real projects and parity records is not beside this checkout"
        )
    return SHARED


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
def openfield(shared: Path) -> Path:
    """A real single-animal project: one mouse, 116 labelled frames of 640x480, 4 bodyparts."""
    return shared / "data" / "openfield"


@pytest.fixture(scope="session")
def flies13(shared: Path) -> Path:
    """A real multi-animal project: two flies, 120 labelled frames of 1024x1024, 13 bodyparts."""
    return shared / "data" / "flies13"
