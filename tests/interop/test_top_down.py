"""The two snapshots and the export of a top-down run, in DeepLabCut, find the same animals."""

import numpy as np
import pytest

import dlcexp
from dlcexp.data.loading import PoseData

PIXELS = 0.1


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> dlcexp.Run:
    """A short real training of both stages, of networks that DeepLabCut knows."""
    cfg = dlcexp.compose(
        "net_type=top_down_resnet_50",
        "data.top_down_crop={width: 96, height: 64}",
        "detector.model={weights: null, freeze_bn_stats: false}",
        "optimizer.lr=1e-3",
        "detector.optimizer.lr=1e-3",
        "split.train_fraction=0.9",
        "epochs=1",
        "detector={epochs: 1, batch_size: 8}",
        "evaluation.examples=0",
        "device=cpu",
    )
    return dlcexp.train(cfg, tmp_path_factory.mktemp("top-down") / "run")


@pytest.mark.slow
def test_the_same_boxes_and_poses_in_the_same_frames(deeplabcut, run, tmp_path):
    ours = dlcexp.evaluate(run)
    data = PoseData(run.cfg)
    rows = data.split.test
    individuals = len(data.project.individuals)
    said = deeplabcut(
        "find_animals",
        run.folder / "pytorch_config.yaml",
        run.best_detector_snapshot,
        run.best_snapshot,
        individuals,
        tmp_path / "theirs.npz",
        *(data.labels.images[row] for row in rows),
    )
    assert said == {"images": len(rows)}
    theirs = np.load(tmp_path / "theirs.npz")
    for place, row in enumerate(rows):
        boxes = ours.boxes["test"][row]
        assert len(boxes) == len(theirs[f"{place}/boxes"]) > 0
        np.testing.assert_allclose(boxes[:, :4], theirs[f"{place}/boxes"], atol=PIXELS)
        np.testing.assert_allclose(boxes[:, 4], theirs[f"{place}/scores"], atol=1e-4)
        poses = ours.poses["test"][place][: len(boxes)]
        np.testing.assert_allclose(poses, theirs[f"{place}/poses"][: len(boxes)], atol=PIXELS)
