"""OKS and its average precision equal pycocotools; its margin and edge cases by hand."""

import contextlib
import io

import numpy as np
import pytest

from dlcexp.evaluation.oks import average_precision_and_recall, object_keypoint_similarity
from dlcexp.evaluation.pairs import pair_poses

SQUARE = np.array([[[0, 0, 2], [100, 0, 2], [100, 100, 2], [0, 100, 2.0]]])


def scene(seed, frames=12, bodyparts=5):
    """Close, crossing animals, found with errors of very different size, and duplicates."""
    rng = np.random.default_rng(seed)
    truth, poses = {}, {}
    for frame in range(frames):
        animals, extra = rng.integers(1, 5), rng.integers(0, 3)
        labels = rng.uniform(0, 150, (animals, 1, 2)) + rng.normal(0, 25, (animals, bodyparts, 2))
        visible = rng.random((animals, bodyparts)) < 0.8
        visible[:, :2] = True
        source = labels[rng.integers(0, animals, animals + extra)]
        noise = rng.choice([1, 6, 15], (len(source), 1, 1)) * rng.normal(0, 1, source.shape)
        confidence = rng.random((len(source), bodyparts, 1)).round(1)
        truth[str(frame)] = np.concatenate(
            [labels * visible[..., None], 2.0 * visible[..., None]], -1
        )
        poses[str(frame)] = np.concatenate([source + noise, confidence], -1)
    return truth, poses


def by_pycocotools(truth, poses, sigmas, margin):
    coco_module = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    annotations, results = [], []
    for name, frame in truth.items():
        for animal in frame:
            low, high = (edge(animal[animal[:, 2] > 0, :2], axis=0) for edge in (np.min, np.max))
            width, height = high - low + 2 * margin
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": int(name),
                    "category_id": 1,
                    "keypoints": animal.ravel().tolist(),
                    "num_keypoints": int((animal[:, 2] > 0).sum()),
                    "area": float(width * height),
                    "bbox": [*(low - margin).tolist(), float(width), float(height)],
                    "iscrowd": 0,
                }
            )
        for pose in poses[name]:
            keypoints = np.concatenate([pose[:, :2], np.ones((len(pose), 1))], -1)
            results.append(
                {
                    "image_id": int(name),
                    "category_id": 1,
                    "keypoints": keypoints.ravel().tolist(),
                    "score": float(pose[:, 2].mean()),
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = coco_module.COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": int(name)} for name in truth],
            "categories": [{"id": 1, "name": "animal"}],
            "annotations": annotations,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.asarray(sigmas, dtype=float)
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    return 100 * precision[..., 0, 0, 0].mean(), 100 * recall[..., 0, 0, 0].mean()


@pytest.mark.parametrize("margin", [0, 20])
@pytest.mark.parametrize("sigmas", [[0.1] * 5, [0.02, 0.05, 0.08, 0.11, 0.2]])
@pytest.mark.parametrize("seed", range(5))
def test_precision_and_recall_equal_pycocotools(seed, sigmas, margin):
    truth, poses = scene(seed)
    found = average_precision_and_recall(pair_poses(truth, poses, 5), np.array(sigmas), margin)
    assert found == pytest.approx(by_pycocotools(truth, poses, sigmas, margin), abs=1e-6)


def similarity(truth, poses, **settings):
    pairs = pair_poses({"f": truth}, {"f": poses}, truth.shape[1])
    return object_keypoint_similarity(pairs, **settings)[0]


def test_similarity_by_hand():
    poses = SQUARE + np.array([30, 40, 0])
    one = np.exp(-(50**2) / (2 * 100**2 * 0.2**2))
    assert similarity(SQUARE, poses) == pytest.approx(np.array([[one]]))


def test_margin_enlarges_the_box_on_each_side():
    poses = SQUARE + np.array([30, 40, 0])
    one = np.exp(-(50**2) / (2 * 140**2 * 0.2**2))
    assert similarity(SQUARE, poses, margin=20) == pytest.approx(np.array([[one]]))


def test_a_missing_point_counts_as_nothing_alike():
    poses = SQUARE.copy()
    poses[0, 0] = np.nan
    assert similarity(SQUARE, poses) == pytest.approx(np.array([[0.75]]))


def test_one_labelled_keypoint_has_no_similarity():
    truth = SQUARE.copy()
    truth[0, 1:] = 0
    assert similarity(truth, SQUARE) == 0


def test_labels_in_a_row_are_met_exactly_or_not_at_all():
    flat = SQUARE * [1, 0, 1]
    assert similarity(flat, flat) == pytest.approx(1)
    assert similarity(flat, flat + np.array([0, 1, 0])) == 0


def test_a_false_positive_that_scores_lower_costs_nothing():
    poses = np.concatenate([SQUARE, SQUARE + np.array([500, 0, -1])])
    pairs = pair_poses({"f": SQUARE}, {"f": poses}, 4)
    assert average_precision_and_recall(pairs) == pytest.approx((100, 100))


def test_a_false_positive_that_scores_higher_halves_the_precision():
    poses = np.concatenate([SQUARE, SQUARE + np.array([500, 0, 1])])
    pairs = pair_poses({"f": SQUARE}, {"f": poses}, 4)
    assert average_precision_and_recall(pairs) == pytest.approx((50, 100))
