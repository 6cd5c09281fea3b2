"""Calibration error, cross-fitting and cutoffs, against hand-worked cases and simulations."""

import numpy as np
import pandas as pd
import pytest
from calibration_support import RIGHT, WRONG, simulated

from dlcexp.evaluation.reliability import (
    Reliability,
    cutoff_for,
    error_by_chance,
    expected_error,
    measure_reliability,
    reliability_bins,
    usual_distance,
)

PX = 5.0


def measured(rows: pd.DataFrame) -> Reliability:
    found = measure_reliability(rows, PX)
    assert found is not None
    return found


def test_the_expected_calibration_error_by_hand():
    """Two bins of 20: 0.6 where 12 of 20 are right, 0.9 where 14 are."""
    probability = np.repeat([0.6, 0.9], 20)
    right = np.concatenate([np.arange(20) < 12, np.arange(20) < 14])
    assert expected_error(probability, right) == pytest.approx((0 + 0.2) / 2)
    low, high = reliability_bins(probability, right)
    assert (low["n"], low["probability"], low["within"]) == (20, pytest.approx(0.6), 0.6)
    # Wilson's limits of 14 of 20, from his formula.
    z, p, n = 1.959964, 0.7, 20
    centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert (high["low"], high["high"]) == pytest.approx(
        ((centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)), abs=1e-5
    )


def test_the_error_by_chance_is_that_of_exact_probabilities():
    random = np.random.default_rng(1)
    errors = []
    for _ in range(40):
        probability = random.beta(5, 2, 300)
        errors.append(expected_error(probability, random.random(300) < probability))
    assert error_by_chance(random.beta(5, 2, 300)) == pytest.approx(np.mean(errors), rel=0.1)


def test_of_a_known_miscalibration_little_is_left():
    """As measured by cross-fitting, and on new keypoints with known probabilities."""
    rows = simulated(frames=400, bodyparts=3, seed=0)
    found = measured(rows)
    numbers = found.numbers
    expected = (rows.probability - rows.confidence).abs().mean()
    assert numbers["ece"] == pytest.approx(expected, abs=0.02)
    assert numbers["ece_calibrated"] < numbers["ece_by_chance"] + 0.02 < 0.06
    new = simulated(frames=2000, bodyparts=3, seed=1)
    probability = found.calibration.probability(new)
    assert np.abs(probability - new.probability).mean() < 0.03
    assert expected_error(probability, (new.error <= PX).to_numpy()) < 0.03


def test_the_cutoff_of_a_precision_by_hand():
    confidence = np.linspace(1, 0.05, 20)
    probability = np.repeat([1.0, 0.5], 10)
    # Of the 12 highest, (10 + 2 * 0.5) / 12 are right.
    assert cutoff_for(confidence, probability, 11 / 12) == pytest.approx(confidence[11])
    assert cutoff_for(confidence, probability, 0.75) == pytest.approx(confidence[19])
    assert cutoff_for(confidence[::-1], probability[::-1], 11 / 12) == pytest.approx(confidence[11])
    assert cutoff_for(confidence, 0.9 * probability, 0.95) is None
    # Equals are kept together, and at least ten are.
    assert cutoff_for(np.full(20, 0.7), probability, 0.8) is None
    assert cutoff_for(confidence[:9], probability[:9], 0.9) is None


def test_cutoffs_give_the_precision_in_new_frames():
    """On average over eight projects of 120 frames, in each bodypart."""
    new = simulated(frames=5000, bodyparts=2, seed=99)
    right: dict[str, list[float]] = {"0.9": [], "0.95": []}
    held = []
    for seed in range(8):
        bodyparts = measured(simulated(frames=120, bodyparts=2, seed=seed)).numbers["bodyparts"]
        for name, rows in new.groupby("bodypart"):
            for precision, shares in right.items():
                cutoff = bodyparts[name]["cutoffs"][precision]
                kept = rows[rows.confidence >= cutoff["cutoff"]]
                shares.append((kept.error <= PX).mean())
                held.append(cutoff["left_out"]["low"] <= shares[-1] <= cutoff["left_out"]["high"])
    for precision, shares in right.items():
        assert np.mean(shares) == pytest.approx(float(precision), abs=0.02)
    assert np.mean(held) > 0.8


def test_a_precision_that_is_not_reached_has_no_cutoff():
    rows = simulated(frames=60, bodyparts=2, seed=0, shift=-4.0)
    every = measured(rows).numbers["bodyparts"]["all"]
    assert every["within"] < 0.3
    assert every["cutoffs"] == {"0.9": None, "0.95": None, "0.99": None}


@pytest.mark.parametrize(("videos", "unit", "groups"), [(1, "frame", 10), (4, "video", 4)])
def test_frames_are_measured_without_what_was_fitted_to_them(videos, unit, groups):
    """The last frames, or those of a video, are the only sure ones, and all wrong."""
    rows = simulated(frames=80, bodyparts=2, seed=0, videos=videos)
    own = rows.frame.str.contains("v3/") if videos > 1 else rows.frame >= sorted(rows.frame)[-16]
    rows = rows.assign(
        confidence=np.where(own, 0.999, rows.confidence), error=np.where(own, WRONG, rows.error)
    )
    found = measured(rows)
    assert found.numbers["left_out"] == {"unit": unit, "groups": groups}
    last = found.numbers["bins_calibrated"][-1]
    assert last["probability"] > 0.9 > 0.3 > last["within"]
    assert found.calibration.together(np.array([0.999])) < 0.9


def test_what_was_not_found_is_not_kept():
    rows = simulated(frames=60, bodyparts=1, seed=0, shift=100)
    lost = rows.assign(error=np.nan, confidence=np.nan)
    every = measured(pd.concat([rows, lost])).numbers["bodyparts"]["all"]
    assert (every["labels"], every["keypoints"], every["within"]) == (120, 60, 1.0)
    assert every["cutoffs"]["0.9"]["kept"] == 0.5


def test_few_keypoints_have_no_calibration():
    rows = simulated(frames=29, bodyparts=1, seed=0)
    assert measure_reliability(rows, PX) is None
    assert measure_reliability(pd.concat([rows, rows]).assign(frame="a.png"), PX) is None
    assert measure_reliability(rows.iloc[:0], PX) is None


def test_the_usual_distance_is_of_the_median_animal():
    rows = pd.DataFrame(
        {"frame": list("aabc"), "individual": "one", "size": [90.0, 90.0, 112.3, 300.0]}
    )
    assert usual_distance(rows) == 11.0  # 0.1 of 112.3, in two digits
    assert usual_distance(rows.assign(size=np.nan)) is None
    assert RIGHT < PX < WRONG
