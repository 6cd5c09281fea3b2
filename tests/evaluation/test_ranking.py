"""The worst frame is the one a person would call the worst."""

import numpy as np
import pytest

from dlcexp.evaluation.ranking import assign, rank_frames

LABELS = np.array([[[0, 0], [10, 0]], [[100, 0], [110, 0]]], dtype=float)


def found(*shifts):
    poses = np.full((2, 2, 3), np.nan)
    for animal, shift in enumerate(shifts):
        poses[animal, :, :2] = LABELS[animal] + [shift, 0]
        poses[animal, :, 2] = 0.9
    return poses


def test_frames_with_missed_animals_come_first_then_the_larger_error():
    poses = np.stack([found(1, 1), found(0), found(3, 30), found(np.nan)])
    ranking = rank_frames(np.stack([LABELS] * 4), poses)
    assert [error.frame for error in ranking] == [3, 1, 2, 0]
    assert [error.missed for error in ranking] == [2, 1, 0, 0]
    assert ranking[2].pixels == pytest.approx((3 + 30) / 2)
    assert np.isnan(ranking[0].pixels)


def test_frames_without_labels_are_not_ranked():
    assert rank_frames(LABELS[None] * np.nan, found(0, 0)[None]) == []


def test_animals_get_the_predictions_that_fit_best():
    animals, predictions = assign(LABELS, found(2, 2)[::-1])
    assert dict(zip(animals.tolist(), predictions.tolist(), strict=True)) == {0: 1, 1: 0}
