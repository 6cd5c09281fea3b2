"""A project of two animals in small grey frames, its poses, and their evaluation."""

from types import SimpleNamespace

import numpy as np
import pytest

from dlcexp.data.splits import Split
from dlcexp.evaluation.evaluate import Evaluation, score_split

BODYPARTS = ("nose", "ear", "tail")


@pytest.fixture
def settings():
    return SimpleNamespace(
        pcutoff=0.6,
        comparison_bodyparts="all",
        force_multi_animal=False,
        oks_sigma=0.1,
        oks_bbox_margin=0,
        pck_thresholds=[0.1],
        examples=2,
    )


@pytest.fixture
def data():
    """What `PoseData` offers, with 7 training and 5 test frames of 320x240."""
    rng = np.random.default_rng(0)
    centres = np.array([[80, 120], [240, 120]]) + rng.normal(0, 10, (12, 2, 2))
    keypoints = centres[:, :, None] + rng.normal(0, 25, (12, 2, 3, 2))
    keypoints[1, 1] = np.nan
    labels = SimpleNamespace(
        names=tuple(f"labeled-data/video/img{i}.png" for i in range(12)),
        images=tuple(range(12)),
        keypoints=keypoints,
        unique=np.full((12, 1, 2), 10.0),
    )
    return SimpleNamespace(
        labels=labels,
        project=SimpleNamespace(
            bodyparts=BODYPARTS,
            unique_bodyparts=("lamp",),
            individuals=("one", "two"),
            multianimal=True,
            skeleton=(("nose", "ear"), ("ear", "tail"), ("ear", "a bodypart of another project")),
        ),
        split=Split(train=(0, 1, 2, 3, 4, 5, 6), test=(7, 8, 9, 10, 11)),
        cache=lambda path: np.full((240, 320, 3), 90, np.uint8),
        frames=lambda split: split,
        top_down=False,
    )


@pytest.fixture
def heads(data):
    """Predictions of each split: frame i is wrong by i px, and the last finds only one animal."""
    found = {}
    for split in ("train", "test"):
        rows = list(getattr(data.split, split))
        poses = np.full((len(rows), 2, 3, 3), 0.9, np.float32)
        shift = np.array(rows, dtype=float)[:, None, None, None] * [1.0, 0.0]
        poses[..., :2] = np.nan_to_num(data.labels.keypoints[rows], nan=160.0) + shift
        if split == "test":
            poses[-1, 1] = np.nan
        unique = np.full((len(rows), 1, 1, 3), 13.0, np.float32)
        found[split] = {"bodypart": poses, "unique_bodypart": unique}
    return found


@pytest.fixture
def evaluation(data, heads, settings):
    poses = {split: found["bodypart"] for split, found in heads.items()}
    return Evaluation(
        metrics={s: score_split(data, settings, s, poses[s], heads[s]) for s in poses},
        poses=poses,
        unique={split: found["unique_bodypart"] for split, found in heads.items()},
        names={s: tuple(data.labels.names[row] for row in getattr(data.split, s)) for s in poses},
    )
