"""The distribution of distances between labels and predictions, against known ones."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rayleigh, weibull_min

from dlcexp.evaluation.usual_distances import UsualDistances


def table(error, confidence, bodypart="nose"):
    return pd.DataFrame({"error": error, "confidence": confidence, "bodypart": bodypart})


def quantiles(count, shape, scale):
    """Distances of exactly this distribution in any order, and the fraction of these above each."""
    above = np.random.default_rng(0).permutation((np.arange(count) + 0.5) / count)
    return weibull_min.isf(above, shape, scale=scale), above


@pytest.mark.parametrize("shape", [1.0, 2.0, 3.0])
def test_the_p_value_is_the_fraction_of_labels_that_are_as_far(shape):
    error, above = quantiles(150, shape, scale=4.0)
    p_values = UsualDistances(table(error, np.full(150, 0.9))).p_values()
    far = error > 0.5  # px, below which labels are not exact
    assert p_values[far] == pytest.approx(above[far], abs=0.01)


def test_of_normal_errors_in_x_and_y_the_distances_are_as_rayleigh_has_them():
    rng = np.random.default_rng(0)
    error = np.hypot(*rng.normal(0, 3, (2, 5000)))
    usual = UsualDistances(table(error, rng.uniform(0, 1, 5000)))
    distances = np.array([4.0, 6.0, 8.0, 10.0])
    p_values = [usual.tail(np.arange(5000), np.full(5000, d)).mean() for d in distances]
    assert p_values == pytest.approx(rayleigh.sf(distances, scale=3), rel=0.25)


def test_bodyparts_have_distances_of_their_own():
    error, above = quantiles(80, 2.0, scale=2.0)
    rows = table([*error, *(5 * error)], np.full(160, 0.9), ["nose"] * 80 + ["tail"] * 80)
    usual = UsualDistances(rows)
    assert usual.p_values() == pytest.approx([*above, *above], abs=0.1)
    nose, tail = usual.tail(np.array([0, 80]), np.array([8.0, 8.0]))
    assert nose < 0.001
    assert tail > 0.5


def test_the_more_confident_the_prediction_the_less_usual_a_distance_is():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0, 1, 2000)
    error = (1 + 20 * (1 - confidence)) * rng.weibull(2, 2000)
    usual = UsualDistances(table(error, confidence))
    p_values = usual.tail(np.argsort(confidence)[[1, 500, 1000, 1500, -1]], np.full(5, 15.0))
    assert (np.diff(p_values) < 0).all()
    assert p_values[2] == pytest.approx(weibull_min.sf(15, 2, scale=11), abs=0.06)


def test_faulty_labels_make_others_less_suspicious_and_not_more():
    error, above = quantiles(570, 2.0, scale=4.0)
    confidence = np.random.default_rng(1).permutation(np.linspace(0.5, 1, 600))
    p_values = UsualDistances(table([*error, *[1000.0] * 30], confidence)).p_values()
    far = (above < 0.05) & (above > 0.02)
    assert 1 <= np.median(p_values[:570][far] / above[far]) <= 2.5
    assert (p_values[570:] < 1e-20).all()
