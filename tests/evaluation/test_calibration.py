"""Curves of calibration, against simulations with known probabilities and against scikit-learn."""

import json

import numpy as np
import pandas as pd
import pytest
from calibration_support import simulated

from dlcexp.evaluation.calibration import (
    ISOTONIC_FROM,
    BetaCurve,
    IsotonicCurve,
    fit_calibration,
    read_curves,
)

PX = 5.0
GRID = np.linspace(0, 1, 201)


def test_the_parameters_of_a_beta_curve_are_found():
    """Of 4 x 900 keypoints whose probability is a beta curve of their confidence."""
    random = np.random.default_rng(0)
    true = BetaCurve(2.0, 0.5, 1.5, 1.0)
    tables = []
    for number in range(4):
        confidence = random.uniform(0.02, 0.98, 900)
        right = random.random(900) < true(confidence)
        error = np.where(right, PX, PX + 0.01)
        tables.append(
            pd.DataFrame({"bodypart": f"b{number}", "confidence": confidence, "error": error})
        )
    for curve in fit_calibration(pd.concat(tables), PX).bodyparts.values():
        assert isinstance(curve, BetaCurve)
        assert np.abs(curve(GRID) - true(GRID)).max() < 0.06


def test_it_agrees_with_logistic_regression_of_scikit_learn():
    """The parameters for all together, whose prior is too wide to matter."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    rows = simulated(frames=200, bodyparts=4, seed=0)
    together = fit_calibration(rows, PX).together
    confidence, right = rows.confidence.to_numpy(), (rows.error <= PX).to_numpy()
    ones, zeros = right.sum(), (~right).sum()
    features = np.stack([np.log(confidence), -np.log1p(-confidence)], axis=1)
    # Platt's outcomes as weights of both classes.
    high, low = (ones + 1) / (ones + 2), 1 / (zeros + 2)
    weights = np.concatenate([np.where(right, high, low), 1 - np.where(right, high, low)])
    model = linear_model.LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    model.fit(np.tile(features, (2, 1)), np.repeat([1, 0], len(right)), sample_weight=weights)
    expected = model.predict_proba(features)[:, 1]
    assert isinstance(together, BetaCurve)
    assert (together.a, together.b) == pytest.approx(tuple(model.coef_[0]), rel=0.1, abs=0.05)
    np.testing.assert_allclose(together(confidence), np.minimum(expected, high), atol=0.005)


def test_many_keypoints_get_the_isotonic_regression_of_scikit_learn():
    isotonic = pytest.importorskip("sklearn.isotonic")
    rows = simulated(frames=4000, bodyparts=1, seed=0)
    curve = fit_calibration(rows, PX).bodyparts["b0"]
    assert isinstance(curve, IsotonicCurve)
    theirs = isotonic.IsotonicRegression(out_of_bounds="clip")
    theirs.fit(rows.confidence, rows.error <= PX)
    middle = np.quantile(rows.confidence, np.linspace(0.05, 0.95, 50))
    assert np.abs(curve(middle) - theirs.predict(middle)).mean() < 0.02
    assert np.abs(curve(rows.confidence) - rows.probability).mean() < 0.02


@pytest.mark.parametrize("frames", [5, 60, ISOTONIC_FROM])
@pytest.mark.parametrize("shift", [-4.0, 0.0, 100.0], ids=["mostly wrong", "mixed", "all right"])
def test_a_curve_never_decreases_and_is_never_certain(frames, shift):
    rows = simulated(frames=frames, bodyparts=2, seed=1, shift=shift)
    calibration = fit_calibration(rows, PX)
    for curve in (*calibration.bodyparts.values(), calibration.together):
        probability = curve(np.append(GRID, 1.3))
        assert (np.diff(probability) >= 0).all()
        assert probability.min() > 0
        assert probability.max() <= (2 * frames + 1) / (2 * frames + 2)


def test_few_keypoints_of_a_bodypart_are_calibrated_as_all_together():
    rows = simulated(frames=300, bodyparts=3, seed=0)
    few = simulated(frames=3, bodyparts=1, seed=5).assign(bodypart="few")
    calibration = fit_calibration(pd.concat([rows, few]), PX)
    confidence = np.linspace(0.2, 0.9, 20)
    together = calibration.together(confidence)
    assert np.abs(calibration.curve("few")(confidence) - together).max() < 0.08
    np.testing.assert_array_equal(calibration.curve("another")(confidence), together)


def test_what_was_not_found_has_no_probability_and_does_not_count():
    rows = simulated(frames=50, bodyparts=2, seed=0)
    lost = rows.assign(error=np.nan, confidence=np.nan)
    both = fit_calibration(pd.concat([rows, lost]), PX)
    assert both == fit_calibration(rows, PX)
    assert np.isnan(both.probability(lost)).all()
    assert np.isfinite(both.probability(rows)).all()


def test_it_is_written_and_read():
    for frames in (50, ISOTONIC_FROM):
        calibration = fit_calibration(simulated(frames=frames, bodyparts=2, seed=0), PX)
        assert read_curves(json.loads(json.dumps(calibration.plain()))) == calibration
    with pytest.raises(LookupError):
        read_curves({"bodyparts": {}, "together": {"method": "unknown"}})
