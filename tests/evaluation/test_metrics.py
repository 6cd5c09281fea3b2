"""Scores equal those on record from DeepLabCut 3.0.2, and hand-worked cases."""

import json
import time

import numpy as np
import pytest
from parity_support import RECORDS

from dlcexp.evaluation.metrics import evaluate_poses, mean_pose_error

SQUARE = np.array([[[0, 0, 2], [100, 0, 2], [100, 100, 2], [0, 100, 2.0]]])
NAMES = ["a", "b", "c", "d"]
CASES = ["single_close", "single_far", "pair_close", "pair_far", "crowd"]


def moved(truth, x=0.0, y=0.0, confidence=0.9):
    poses = truth.copy()
    poses[..., :2] += (x, y)
    poses[..., 2] = confidence
    return poses


@pytest.mark.parametrize("margin", [0, 20])
@pytest.mark.parametrize("case", CASES)
def test_scores_equal_the_record(case, margin):
    folder = RECORDS / "metrics"
    record = json.loads((folder / "evaluation.json").read_text())
    expected = record["scores"][f"{case}/oks_bbox_margin={margin}"]
    arrays = np.load(folder / "evaluation.npz")
    frames = {"gt": {}, "pred": {}}
    for key in arrays.files:
        name, kind, image = key.split("/")
        if name == case:
            frames[kind][image] = arrays[key]
    bodyparts = [f"keypoint_{k}" for k in range(arrays[f"{case}/gt/img000"].shape[1])]

    scores = evaluate_poses(
        frames["gt"],
        frames["pred"],
        bodyparts=bodyparts,
        pcutoff=record["pcutoff"],
        oks_sigma=record["oks_sigma"],
        oks_bbox_margin=margin,
    )

    assert {key: scores[key] for key in expected} == pytest.approx(expected, abs=1e-9)
    assert ("rmse_detections" in scores) == ("rmse_detections" in expected)


@pytest.mark.parametrize("animals", [1, 3])
def test_perfect_predictions_have_perfect_scores(animals):
    rng = np.random.default_rng(0)
    truth = {str(f): rng.uniform(0, 200, (animals, 4, 2)) for f in range(5)}
    poses = {f: np.concatenate([t, np.ones((animals, 4, 1))], -1) for f, t in truth.items()}

    scores = evaluate_poses(truth, poses, bodyparts=NAMES)

    for key, value in scores.items():
        expected = (
            0.0 if key.startswith(("rmse", "median")) else 1.0 if key.startswith("pck") else 100.0
        )
        assert value == pytest.approx(expected), key


def test_rmse_is_a_mean_distance_and_not_a_root_of_a_mean_square():
    poses = moved(SQUARE)
    poses[0, 0, :2] += (3, 4)

    scores = evaluate_poses({"f": SQUARE}, {"f": poses}, bodyparts=NAMES)

    assert scores["rmse"] == pytest.approx(5 / 4)
    assert scores["rmse_a"] == pytest.approx(5)


def test_confidence_at_pcutoff_is_above_it():
    poses = moved(SQUARE, x=1)
    poses[0, :, 2] = [0.6, 0.59, 0.1, 0.7]
    poses[0, 3, 0] += 2

    scores = evaluate_poses({"f": SQUARE}, {"f": poses}, bodyparts=NAMES, pcutoff=0.6)

    assert scores["rmse_pcutoff"] == pytest.approx((1 + 3) / 2)


@pytest.mark.parametrize(("shift", "expected"), [(9.9, 1.0), (10.0, 1.0), (10.1, 0.0)])
def test_pck_counts_points_within_a_fraction_of_the_longer_side(shift, expected):
    flat = SQUARE * [1, 0.5, 1]
    scores = evaluate_poses(
        {"f": flat}, {"f": moved(flat, y=shift)}, bodyparts=NAMES, pck_thresholds=[0.1]
    )
    assert scores["pck_0.1"] == expected


def test_pck_counts_a_missed_animal_as_wrong():
    truth = np.concatenate([SQUARE, SQUARE + np.array([500, 0, 0])])
    scores = evaluate_poses({"f": truth}, {"f": moved(SQUARE)}, bodyparts=NAMES)
    assert scores["pck_0.2"] == 0.5
    assert scores["rmse"] == 0


def test_a_prediction_far_from_every_animal_is_not_matched():
    scores = evaluate_poses(
        {"f": SQUARE}, {"f": moved(SQUARE, x=120)}, bodyparts=NAMES, single_animal=False
    )
    assert np.isnan(scores["rmse"])
    assert scores["rmse_detections"] == pytest.approx(120)


def test_a_single_animal_is_matched_at_any_distance():
    scores = evaluate_poses({"f": SQUARE}, {"f": moved(SQUARE, x=5000)}, bodyparts=NAMES)
    assert scores["rmse"] == pytest.approx(5000)


def test_the_more_confident_of_two_predictions_is_matched():
    poses = np.concatenate([moved(SQUARE, x=3), moved(SQUARE, x=20, confidence=0.95)])
    scores = evaluate_poses({"f": SQUARE}, {"f": poses}, bodyparts=NAMES)
    assert scores["rmse"] == pytest.approx(20)
    assert scores["rmse_detections"] == pytest.approx(3)


def test_detections_are_matched_across_animals():
    truth = np.concatenate([SQUARE, SQUARE + np.array([500, 0, 0])])
    poses = moved(truth, x=2)
    poses[:, 0] = poses[::-1, 0]
    scores = evaluate_poses({"f": truth}, {"f": poses}, bodyparts=NAMES)
    assert scores["rmse_detections"] == pytest.approx(2)
    assert scores["rmse_a"] > 400


def one_visible(count=1):
    frame = SQUARE.copy()
    frame[0, count:] = 0
    return frame


# Answers of deeplabcut.core.metrics.compute_metrics 3.0.2; where it raises, NaN.
DEGENERATE = {
    "no frames": ({}, {}, {}),
    "nothing labelled": ({"f": SQUARE * 0}, {"f": moved(SQUARE)}, {}),
    "no prediction": ({"f": SQUARE}, {"f": np.zeros((0, 4, 3))}, {"mAP": 0, "mAR": 0}),
    "one of two frames predicted": (
        {"f": SQUARE, "g": SQUARE},
        {"f": moved(SQUARE, 3, 3), "g": np.zeros((0, 4, 3))},
        {"rmse": 18**0.5, "rmse_detections": 18**0.5, "mAP": 50.49504950495049, "mAR": 50},
    ),
    "only an empty slot": ({"f": SQUARE}, {"f": SQUARE * np.nan}, {"mAP": 0, "mAR": 0}),
    "an empty slot beside a pose": (
        {"f": SQUARE},
        {"f": np.concatenate([SQUARE * np.nan, moved(SQUARE, 3, 3)])},
        {"rmse": 18**0.5, "rmse_detections": 18**0.5, "mAP": 100, "mAR": 100},
    ),
    "one visible keypoint": (
        {"f": one_visible()},
        {"f": moved(SQUARE, 3, 3)},
        {"rmse_detections": 18**0.5},
    ),
    "one visible keypoint in one of two frames": (
        {"f": one_visible(), "g": SQUARE},
        {"f": moved(SQUARE, 13, 3), "g": moved(SQUARE, 3, 3)},
        {"rmse": 18**0.5, "rmse_detections": 6.062445362520694, "mAP": 50, "mAR": 100},
    ),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_frames_give_the_answer_of_deeplabcut_or_nan(case):
    truth, poses, expected = DEGENERATE[case]
    scores = evaluate_poses(truth, poses, bodyparts=NAMES, single_animal=False)
    for key in ("rmse", "rmse_detections", "mAP", "mAR"):
        assert scores[key] == pytest.approx(expected.get(key, np.nan), nan_ok=True), key


def test_an_absent_keypoint_is_not_averaged_but_lowers_the_similarity():
    poses = moved(SQUARE, 3, 3)
    poses[0, 0] = np.nan
    scores = evaluate_poses({"f": SQUARE}, {"f": poses}, bodyparts=NAMES)
    assert np.isnan(scores["rmse_a"])
    assert scores["rmse"] == pytest.approx(18**0.5)
    assert scores["mAP"] == pytest.approx(50)  # on record from DeepLabCut


def test_unlabelled_is_nan_or_visibility_zero():
    hidden, absent = SQUARE.copy(), SQUARE.copy()
    hidden[0, 1, 2] = 0
    absent[0, 1] = np.nan
    poses = {"f": moved(SQUARE, 2, 1)}
    one = evaluate_poses({"f": hidden}, poses, bodyparts=NAMES)
    other = evaluate_poses({"f": absent[..., :2]}, poses, bodyparts=NAMES)
    assert one == pytest.approx(other, nan_ok=True)
    assert np.isnan(one["rmse_b"])


def test_unique_bodyparts_enter_the_rmse_only():
    scores = evaluate_poses(
        {"f": SQUARE},
        {"f": moved(SQUARE, 3, 3)},
        bodyparts=NAMES,
        unique_bodyparts=["lamp"],
        unique_ground_truth={"f": np.array([[[5, 5, 2.0]]])},
        unique_predictions={"f": np.array([[[8, 9, 0.9]]])},
    )
    assert scores["rmse"] == pytest.approx(4.394112549695428)  # on record from DeepLabCut
    assert scores["rmse_lamp"] == pytest.approx(5)
    assert scores["mAP"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("poses", "words"),
    [({}, r"\b1\b.*'f'"), ({"f": SQUARE[:, :3]}, "bodyparts")],
)
def test_frames_that_do_not_fit_are_refused(poses, words):
    with pytest.raises(ValueError, match=words):
        evaluate_poses({"f": SQUARE}, poses, bodyparts=NAMES)


def test_two_predictions_for_a_single_animal_are_refused():
    with pytest.raises(ValueError, match="single_animal"):
        evaluate_poses(
            {"f": SQUARE},
            {"f": np.concatenate([SQUARE, SQUARE])},
            bodyparts=NAMES,
            single_animal=True,
        )


def test_mean_pose_error_uses_the_training_frames_only():
    training = np.array([[[[0.0, 0.0]]], [[[10.0, 0.0]]], [[[np.nan, np.nan]]]])
    frames = np.array([[[[5.0, 7.0]]], [[[8.0, 4.0]]]])
    assert mean_pose_error(training, frames) == pytest.approx((7 + 5) / 2)


def test_a_thousand_frames_with_four_animals_take_less_than_two_seconds_of_cpu_time():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 500, (1000, 4, 1, 2)) + rng.normal(0, 30, (1000, 4, 20, 2))
    poses = np.concatenate(
        [truth + rng.normal(0, 4, truth.shape), rng.random((1000, 4, 20, 1))], -1
    )
    frames = {str(f): frame for f, frame in enumerate(truth)}
    found = {str(f): frame for f, frame in enumerate(poses)}
    start = time.process_time()
    evaluate_poses(frames, found, bodyparts=[str(k) for k in range(20)])
    assert time.process_time() - start < 2  # 0.12 s on a quiet core


def test_what_the_rmse_is_of_is_told():
    truth = {"0": np.concatenate([SQUARE, SQUARE + np.array([500, 0, 0])])}
    poses = {"0": moved(SQUARE, x=3)}

    scores = evaluate_poses(truth, poses, bodyparts=NAMES)

    assert (scores["rmse"], scores["found"]) == (3.0, 50.0)
