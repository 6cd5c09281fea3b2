"""Boxes of animals: hand-worked cases, and the distribution of shaken ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kstest, truncnorm

from dlcexp.data.boxes import RandomBBoxTransform, ground_truth_boxes
from dlcexp.project import Labels

SHAPE = (96, 128, 3)
NONE = (np.nan, np.nan)
NO_BOX = (np.nan,) * 4


def one_frame(*animals: Any, boxes: Any = None) -> Labels:
    return Labels(
        names=("a",),
        images=(Path("a"),),
        folders=("v",),
        keypoints=np.array([animals], dtype=float),
        unique=np.zeros((1, 0, 2)),
        boxes=None if boxes is None else np.array([boxes], dtype=float),
    )


AROUND_KEYPOINTS = {
    "the outermost points": ([(10, 20), (50, 60)], 0, (10, 20, 40, 40)),
    "a margin on each side": ([(30, 40), (50, 60)], 5, (25, 35, 30, 30)),
    "ends at the top left border": ([(10, 20), (50, 60)], 20, (0, 0, 70, 80)),
    "ends at the bottom right border": ([(100, 70), (120, 90)], 20, (80, 50, 48, 46)),
    "a point outside of the image": ([(-40, 20), (30, 60)], 0, (0, 20, 30, 40)),
    "unlabelled points do not count": ([(10, 20), NONE], 5, (5, 15, 10, 10)),
    "one point without margin": ([(10, 20), NONE], 0, (9.5, 19.5, 1, 1)),
    "one point in the first corner": ([(0, 0), NONE], 0, (0, 0, 1, 1)),
    "one point in the last corner": ([(127.9, 95.9), NONE], 0, (127, 95, 1, 1)),
    "points in a line": ([(10, 20), (10, 60)], 0, (9.5, 20, 1, 40)),
    "no labels": ([NONE, NONE], 20, NO_BOX),
    "outside of the image": ([(200, 20), (210, 30)], 20, NO_BOX),
    "its margin reaches the image": ([(140, 20), (150, 30)], 20, (120, 0, 8, 50)),
}


@pytest.mark.parametrize(
    ("points", "margin", "expected"), AROUND_KEYPOINTS.values(), ids=AROUND_KEYPOINTS.keys()
)
def test_around_keypoints(points: Any, margin: int, expected: tuple[float, ...]) -> None:
    [box] = ground_truth_boxes(one_frame(points), 0, SHAPE, margin)
    np.testing.assert_allclose(box, expected)


GIVEN = {
    "as it is, without margin": ((10, 20, 30, 40), (10, 20, 30, 40)),
    "cut at the border": ((-20, 70, 60, 50), (0, 70, 40, 26)),
    "without width": ((10, 20, 0, 40), (9.5, 20, 1, 40)),
    "outside of the image": ((-50, 20, 40, 40), NO_BOX),
    "left out: around the keypoints": (NO_BOX, (20, 30, 30, 30)),
    "without any extent: around the keypoints": ((0, 0, 0, 0), (20, 30, 30, 30)),
}


@pytest.mark.parametrize(("given", "expected"), GIVEN.values(), ids=GIVEN.keys())
def test_given_by_the_project(given: Any, expected: tuple[float, ...]) -> None:
    labels = one_frame([(25, 35), (45, 55)], [NONE, NONE], boxes=[given, (1, 2, 3, 4)])
    boxes = ground_truth_boxes(labels, 0, SHAPE, 5)
    np.testing.assert_allclose(boxes[0], expected)
    np.testing.assert_allclose(boxes[1], (1, 2, 3, 4))  # a box needs no keypoints


def test_labels_are_left_alone() -> None:
    labels = one_frame([(-25, 35), (45, 55)], boxes=[(-20, 0, 500, 0)])
    before = labels.keypoints.copy(), labels.boxes.copy()
    ground_truth_boxes(labels, 0, SHAPE, 5)
    ground_truth_boxes(replace(labels, boxes=None), 0, SHAPE, 5)
    np.testing.assert_array_equal(labels.keypoints, before[0])
    np.testing.assert_array_equal(labels.boxes, before[1])


BOX = np.array([100.0, 50.0, 40.0, 20.0])
RTMPOSE = {
    "shift_factor": 0.16,
    "shift_prob": 0.3,
    "scale_factor": [0.75, 1.25],
    "scale_prob": 0.8,
    "p": 0.9,
}


def shaken(number: int, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
    """Shifts (number, 2) in sides of the box, and scales (number, 2), of as many boxes."""
    transform = RandomBBoxTransform(**settings)
    boxes = np.array([transform(BOX, np.random.default_rng(seed)) for seed in range(number)])
    shifts = (boxes[:, :2] + boxes[:, 2:] / 2 - BOX[:2] - BOX[2:] / 2) / BOX[2:]
    return shifts, boxes[:, 2:] / BOX[2:]


def test_shaken_boxes_have_the_distribution_of_mmpose() -> None:
    number = 4000
    shifts, scales = shaken(number, **RTMPOSE)
    np.testing.assert_allclose(scales[:, 0], scales[:, 1])  # the aspect ratio stays
    shifted, scaled = np.abs(shifts).max(axis=1) > 1e-9, np.abs(scales[:, 0] - 1) > 1e-9
    assert abs(shifted.mean() - 0.9 * 0.3) < 0.03
    assert abs(scaled.mean() - 0.9 * 0.8) < 0.03
    assert abs((shifted & scaled).mean() - 0.9 * 0.3 * 0.8) < 0.03
    expected = truncnorm(-1, 1)
    assert kstest(shifts[shifted, 0] / 0.16, expected.cdf).pvalue > 0.01
    assert kstest(shifts[shifted, 1] / 0.16, expected.cdf).pvalue > 0.01
    assert kstest((scales[scaled, 0] - 1) / 0.25, expected.cdf).pvalue > 0.01
    assert abs(np.corrcoef(shifts[shifted].T)[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("off", "unshifted", "unscaled"),
    [("p", True, True), ("shift_prob", True, False), ("scale_prob", False, True)],
)
def test_what_is_switched_off_does_not_happen(off: str, unshifted: bool, unscaled: bool) -> None:
    shifts, scales = shaken(40, **{**RTMPOSE, "shift_prob": 1.0, off: 0.0})
    assert (np.abs(shifts).max() < 1e-9) == unshifted
    assert (np.abs(scales - 1).max() < 1e-9) == unscaled


def test_a_shaken_box_depends_on_the_generator_only() -> None:
    transform = RandomBBoxTransform(**RTMPOSE)
    first, again = (transform(BOX, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - transform(BOX, np.random.default_rng(6))).max() > 0
    np.testing.assert_array_equal(BOX, [100, 50, 40, 20])
