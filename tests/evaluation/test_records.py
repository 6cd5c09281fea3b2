"""The table of keypoints: what the metrics are made of, row by row."""

import numpy as np
import pytest

from dlcexp.evaluation.evaluate import Evaluation, score_split
from dlcexp.evaluation.records import COLUMNS, animal_counts, pose_records
from dlcexp.vocabulary import UNIQUE


@pytest.fixture
def records(evaluation, data, settings):
    return pose_records(evaluation, data, settings)


def test_means_of_the_records_are_the_metrics(records, evaluation):
    for split, scores in evaluation.metrics.items():
        rows = records[records.split == split]
        assert rows.error.mean() == pytest.approx(scores["rmse"])
        assert rows[rows.confidence >= 0.6].error.mean() == pytest.approx(scores["rmse_pcutoff"])
        animals = rows[rows.individual != UNIQUE]
        assert animals.error.median() == pytest.approx(scores["median_error"])
        assert 100 * animals.error.notna().mean() == pytest.approx(scores["found"])
        sized = rows[rows["size"].notna()]
        assert (sized.normalized_error <= 0.1).mean() == pytest.approx(scores["pck_0.1"])
        for bodypart in ("nose", "ear", "tail", "lamp"):
            mean = rows[rows.bodypart == bodypart].error.mean()
            assert mean == pytest.approx(scores[f"rmse_{bodypart}"])


def test_every_label_is_a_row_and_nothing_else(records, data):
    animals = records[records.individual != UNIQUE]
    assert tuple(records.columns) == COLUMNS
    assert len(animals) == np.isfinite(data.labels.keypoints[..., 0]).sum()
    row = animals[(animals.frame == "labeled-data/video/img8.png") & (animals.bodypart == "ear")]
    assert list(row.individual) == ["one", "two"]
    assert (row[["label_x", "label_y"]].to_numpy() == data.labels.keypoints[8, :, 1]).all()
    assert row.error.to_numpy() == pytest.approx([8, 8], rel=1e-5)


def test_an_animal_without_a_prediction_has_rows_without_one(records):
    gone = records[records.predicted_as.isna() & (records.individual == "two")]
    assert set(gone.frame) == {"labeled-data/video/img11.png"}
    assert gone[["x", "y", "confidence", "error", "normalized_error"]].isna().all(axis=None)
    assert gone.nearest.isna().all()
    assert gone["size"].notna().all()


def test_animals_missed_and_extra_are_counted(evaluation, data, heads, settings):
    counts = animal_counts(evaluation, data, settings)
    assert counts["test"] == {"labelled": 10, "found": 9, "missed": 1, "extra": 0}
    # One animal of the second training frame is not labelled, and something is predicted there.
    assert counts["train"] == {"labelled": 13, "found": 13, "missed": 0, "extra": 1}


def test_whose_place_and_whose_label_is_near_are_told_by_name(data, heads, settings):
    labels = np.array([[[0, 0], [10, 0], [0, 10]], [[100, 0], [110, 0], [100, 10]]], float)
    data.labels.keypoints[7] = labels
    poses = np.full((5, 2, 3, 3), np.nan, np.float32)
    poses[0, 0, :, :2], poses[0, 1, :, :2] = labels[1], labels[0]
    poses[0, 1, 2, :2] = [99, 11]  # the tail of one, at the tail of two
    poses[0, :, :, 2] = 0.9
    found = {"test": poses}
    scores = {"test": score_split(data, settings, "test", poses, {})}
    table = pose_records(Evaluation(scores, found, {}), data, settings)
    first = table[table.frame == "labeled-data/video/img7.png"]
    assert list(first.predicted_as) == ["two"] * 3 + ["one"] * 3
    assert list(first.nearest) == ["one", "one", "two"] + ["two"] * 3


def test_bodyparts_that_are_not_compared_have_no_rows(evaluation, data, settings):
    settings.comparison_bodyparts = ["nose", "lamp"]
    assert set(pose_records(evaluation, data, settings).bodypart) == {"nose", "lamp"}


def test_without_frames_there_is_an_empty_table(data, settings):
    table = pose_records(Evaluation({}, {}, {}), data, settings)
    assert tuple(table.columns) == COLUMNS
    assert table.empty
