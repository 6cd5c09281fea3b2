"""A model's poses, scored split by split as the tree says."""

from types import SimpleNamespace

import numpy as np
import pytest

from dlcexp.data.splits import Split
from dlcexp.evaluation import evaluate as module
from dlcexp.evaluation.evaluate import Evaluation, evaluate_model, flatten, score_split


def tree(settings, *heads):
    model = SimpleNamespace(heads=["bodypart", *heads])
    return SimpleNamespace(method="bu", evaluation=settings, model=model)


@pytest.fixture
def predicted(monkeypatch, heads):
    """`evaluate_model` with the poses of `heads` in place of a network's."""
    monkeypatch.setattr(module, "predict_heads", lambda model, split, device, **_: heads[split])


@pytest.mark.usefixtures("predicted")
def test_every_split_is_scored_with_names_and_poses(data, heads, settings):
    evaluation = evaluate_model(None, data, tree(settings), "cpu")
    assert set(evaluation.metrics) == {"train", "test"}
    assert evaluation.names["test"][0] == "labeled-data/video/img7.png"
    assert evaluation.poses["test"] is heads["test"]["bodypart"]
    assert 0 < evaluation.metrics["train"]["rmse_nose"] < evaluation.metrics["test"]["rmse_nose"]
    assert evaluation.metrics["test"]["rmse_lamp"] == pytest.approx(18**0.5)


@pytest.mark.usefixtures("predicted")
def test_with_identity_places_count(data, heads, settings):
    heads["test"]["bodypart"][0] = heads["test"]["bodypart"][0, ::-1]
    evaluation = evaluate_model(None, data, tree(settings, "identity"), "cpu")
    # Five frames of two animals; one is not found, and in one frame they have changed places.
    assert evaluation.metrics["test"]["identity_accuracy"] == pytest.approx(100 * 7 / 9)
    assert evaluation.metrics["train"]["identity_accuracy"] == 100
    assert evaluation.unique["test"] is heads["test"]["unique_bodypart"]


@pytest.mark.usefixtures("predicted")
def test_one_split_alone(data, settings):
    evaluation = evaluate_model(None, data, tree(settings), "cpu", splits=["test"])
    assert set(evaluation.metrics) == {"test"}


def test_no_test_frames_give_no_number_and_no_error(data, settings, monkeypatch):
    monkeypatch.setattr(module, "predict_heads", lambda *_, **__: {})
    data.split = Split((), ())
    evaluation = evaluate_model(None, data, tree(settings), "cpu")
    assert evaluation.poses["test"].shape == (0, 2, 3, 3)
    assert np.isnan(list(evaluation.metrics["test"].values())).all()


def test_comparison_bodyparts_restrict_labels_and_predictions(data, heads, settings):
    settings.comparison_bodyparts = ["nose", "tail"]
    heads["test"]["bodypart"][:, :, 1, :2] += 1000
    poses = heads["test"]["bodypart"]
    scores = score_split(data, settings, "test", poses, heads["test"])
    assert "rmse_ear" not in scores
    assert "rmse_lamp" not in scores
    assert scores["rmse"] < 12


def test_the_mean_pose_of_the_training_frames_is_the_reference(data, heads, settings):
    scores = score_split(data, settings, "test", heads["test"]["bodypart"], heads["test"])
    mean = np.nanmean(data.labels.keypoints[:7], axis=(0, 1))
    expected = np.linalg.norm(data.labels.keypoints[7:] - mean, axis=-1).mean()
    assert scores["rmse_mean_pose"] == pytest.approx(expected)
    assert scores["rmse"] < expected


@pytest.mark.parametrize(("force", "detections"), [(False, False), (True, True)])
def test_force_multi_animal_matches_a_single_animal_like_several(
    data, heads, settings, force, detections
):
    data.project.multianimal = False
    data.labels.keypoints = data.labels.keypoints[:, :1]
    settings.force_multi_animal = force
    scores = score_split(data, settings, "test", heads["test"]["bodypart"][:, :1], {})
    assert ("rmse_detections" in scores) == detections


def test_scores_of_pose_model_and_detector_have_names_of_their_own():
    evaluation = Evaluation(
        {"test": {"rmse": 1.5}, "test_gt_boxes": {"rmse": 1.0}},
        {},
        {},
        detector={"test": {"mAP@50:95": 80.0}},
    )
    assert flatten(evaluation) == {
        "test.rmse": 1.5,
        "test_gt_boxes.rmse": 1.0,
        "detector.test.mAP@50:95": 80.0,
    }
