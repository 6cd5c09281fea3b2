"""The distribution of distances between labels and predictions, against known ones."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from dlcexp.evaluation.usual_distances import UsualDistances


def table(error, confidence, bodypart="nose"):
    return pd.DataFrame({"error": error, "confidence": confidence, "bodypart": bodypart})


def quantiles(count, median, spread):
    """Distances whose logarithm is exactly normal, and the fraction of these above each."""
    above = 1 - (np.arange(count) + 0.5) / count
    return median * np.exp(spread * norm.isf(above)), above


def test_of_exactly_lognormal_distances_the_p_value_is_the_fraction_above():
    error, above = quantiles(60, median=4.0, spread=0.6)
    rows = table(error, np.full(60, 0.9))
    assert UsualDistances(rows).p_values() == pytest.approx(above, abs=0.01)


def test_bodyparts_have_distances_of_their_own():
    nose, above = quantiles(40, median=2.0, spread=0.5)
    tail, _ = quantiles(40, median=10.0, spread=0.5)
    rows = table([*nose, *tail], np.full(80, 0.9), ["nose"] * 40 + ["tail"] * 40)
    usual = UsualDistances(rows)
    assert usual.p_values() == pytest.approx([*above, *above], abs=0.03)
    near_nose, near_tail = usual.tail(np.array([0, 40]), np.array([8.0, 8.0]))
    assert near_nose < 0.01
    assert near_tail > 0.5


def test_the_more_confident_the_prediction_the_less_usual_a_distance_is():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0, 1, 2000)
    error = (1 + 20 * (1 - confidence)) * np.exp(rng.normal(0, 0.5, 2000))
    usual = UsualDistances(table(error, confidence))
    p_values = usual.tail(np.argsort(confidence)[[1, 500, 1000, 1500, -1]], np.full(5, 15.0))
    assert (np.diff(p_values) < 0).all()
    expected = norm.sf(np.log(15 / 11) / 0.5)  # at a confidence of 0.5
    assert p_values[2] == pytest.approx(expected, abs=0.08)


def test_faulty_labels_do_not_change_what_is_usual():
    error, above = quantiles(540, median=4.0, spread=0.6)
    confidence = np.random.default_rng(0).permutation(np.linspace(0.5, 1, 600))
    p_values = UsualDistances(table([*error, *[1000.0] * 60], confidence)).p_values()
    far = (above < 0.05) & (above > 0.02)
    assert np.median(p_values[:540][far]) == pytest.approx(np.median(above[far]), abs=0.03)
    assert (p_values[540:] < 1e-6).all()
