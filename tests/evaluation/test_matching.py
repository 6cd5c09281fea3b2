"""The two rules of matching, each on a case where a simpler rule answers differently."""

import numpy as np
import pytest

from dlcexp.evaluation.matching import match_detections, match_individuals
from dlcexp.evaluation.pairs import pair_poses


def pairs_of(confidences, animals):
    """Poses whose only meaning is their confidence, highest wins."""
    poses = np.zeros((len(confidences), 2, 3))
    poses[..., 2] = np.array(confidences)[:, None]
    truth = np.ones((animals, 2, 2))
    return pair_poses({"f": truth}, {"f": poses}, 2)


@pytest.mark.parametrize(
    ("similarity", "confidences", "expected"),
    [
        pytest.param([[0.9, 0.1], [0.2, 0.8]], [0.5, 0.6], [0, 1], id="each its own"),
        pytest.param([[0.3, 0.9]], [0.7, 0.6], [0], id="confidence before similarity"),
        pytest.param([[0.9, 0.8], [0.0, 0.7]], [0.9, 0.5], [0, -1], id="no second choice"),
        pytest.param([[1e-7]], [0.9], [-1], id="too unlike"),
        pytest.param([[1e-5]], [0.9], [0], id="hardly alike"),
    ],
)
def test_individuals(similarity, confidences, expected):
    match = match_individuals(pairs_of(confidences, len(similarity)), np.array([similarity]))
    assert match[0].tolist() == expected


def on_a_line(labels, points, confidences=None):
    """Match labels and points at these x."""
    x = [np.array([[[value, 0.0] for value in row]]) for row in (labels, points)]
    return match_detections(*x, np.array([confidences or [1.0] * len(points)]))[0].tolist()


@pytest.mark.parametrize(
    ("labels", "points", "expected"),
    [
        pytest.param([0, 100], [101, 2], [1, 0], id="nearest"),
        pytest.param([0, 10], [9], [-1, 0], id="the closest label chooses first"),
        pytest.param([np.nan, 10], [9], [-1, 0], id="unlabelled"),
        pytest.param([10], [np.nan, 12], [1], id="absent"),
        pytest.param([0, 1, 2, 3], [0, 1, 2, 900], [0, 1, 2, -1], id="among the nearest three"),
        pytest.param([5], [], [-1], id="nothing found"),
    ],
)
def test_detections(labels, points, expected):
    points = np.array(points, dtype=float)
    if points.size == 0:
        match = match_detections(np.array([[[5.0, 0.0]]]), np.zeros((1, 0, 2)), np.zeros((1, 0)))
        assert match[0].tolist() == expected
    else:
        assert on_a_line(labels, points) == expected


def test_of_equally_close_points_the_more_confident_is_taken():
    assert on_a_line([0], [2, -2], [0.2, 0.9]) == [1]
    assert on_a_line([0], [2, -2.5], [0.2, 0.9]) == [0]
