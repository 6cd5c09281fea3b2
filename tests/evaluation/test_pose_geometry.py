"""Predictions at unusual distances from the other labels of their animals."""

import numpy as np
import pandas as pd
import pytest

from dlcexp.evaluation.pose_geometry import fits_labels

BODYPARTS = ("nose", "leftear", "rightear", "tail")
POSE = np.array([[0, 0], [-15, -20], [15, -20], [0, -90.0]])
FRAMES = 30


@pytest.fixture
def rows():
    """Turned mice, labelled and predicted to within a pixel or two."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, FRAMES)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    labels = np.einsum("xyf,ky->fkx", turn, POSE) + rng.uniform(100, 500, (FRAMES, 1, 2))
    labels += rng.normal(0, 1, labels.shape)
    points = labels + rng.normal(0, 1, labels.shape)
    keys = [[f"img{n}.png" for n in range(FRAMES)], ["one"], BODYPARTS]
    index = pd.MultiIndex.from_product(keys, names=["frame", "individual", "bodypart"])
    values = np.concatenate([labels, points], axis=-1).reshape(-1, 4)
    return pd.DataFrame(values, index, ["label_x", "label_y", "x", "y"]).reset_index()


def test_predictions_at_their_labels_fit(rows):
    assert fits_labels(rows).all()


def test_a_prediction_away_from_the_animal_does_not_fit_and_the_others_do(rows):
    rows.loc[[0, 9], ["x", "y"]] += 200
    assert np.flatnonzero(~fits_labels(rows)).tolist() == [0, 9]


def test_a_label_away_from_the_animal_leaves_the_predictions_fitting(rows):
    rows.loc[[0, 9], ["label_x", "label_y"]] += 200
    assert fits_labels(rows).all()


def test_an_animal_with_one_label_fits(rows):
    alone = rows[rows.bodypart == "nose"].reset_index(drop=True)
    alone["x"] += 200
    assert fits_labels(alone).all()
