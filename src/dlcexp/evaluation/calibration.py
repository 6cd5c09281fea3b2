"""Calibrated confidence: the probability that a predicted keypoint is within some px of its label.

The confidence of a network ranks its keypoints, but is not a probability (Guo et al., "On
Calibration of Modern Neural Networks", ICML 2017). A curve for each bodypart maps it to one. It
never decreases, and is fitted to keypoints of frames that did not train the network.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Keypoints from which a curve has no given form: isotonic regression needs as many to be better
# than a sigmoid (Niculescu-Mizil and Caruana, "Predicting Good Probabilities", ICML 2005).
ISOTONIC_FROM = 1000
# Confidence is taken from this to 1 minus it, so that its logarithms are finite.
_LEAST = 1e-4
# Standard deviations around the parameters of a curve that changes nothing, for all bodyparts
# together, and around those of all bodyparts, for each one: a bodypart of few keypoints has
# nearly the curve of all.
_WIDE, _BETWEEN_BODYPARTS = 10.0, 1.0

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BetaCurve:
    """Beta calibration: logit(probability) = a ln(confidence) - b ln(1 - confidence) + c.

    Kull, Silva Filho and Flach, "Beyond sigmoids", Electronic Journal of Statistics 11 (2017).
    `high` is the largest probability that the number of keypoints supports.
    """

    a: float
    b: float
    c: float
    high: float

    method = "beta"

    def __call__(self, confidence: Array) -> Array:
        """Return the probability of each confidence."""
        probability = _logistic(_features(confidence) @ [self.a, self.b, self.c])
        return np.minimum(probability, self.high)


@dataclass(frozen=True)
class IsotonicCurve:
    """Isotonic regression, linear between these points and constant outside of them."""

    confidence: tuple[float, ...]
    probability: tuple[float, ...]

    method = "isotonic"

    def __call__(self, confidence: Array) -> Array:
        """Return the probability of each confidence."""
        return np.interp(confidence, self.confidence, self.probability)


Curve = BetaCurve | IsotonicCurve


@dataclass(frozen=True)
class Calibration:
    """The curves of a model.

    Attributes:
        bodyparts: those of the bodyparts that it was fitted to.
        together: that of all of these, for any other.
    """

    bodyparts: Mapping[str, Curve]
    together: Curve

    def curve(self, bodypart: str) -> Curve:
        """Return the curve of a bodypart."""
        return self.bodyparts.get(bodypart, self.together)

    def probability(self, rows: pd.DataFrame) -> Array:
        """Return the probability of each record; NaN where there is no prediction."""
        found = np.full(len(rows), np.nan)
        names, confidence = rows.bodypart.to_numpy(), rows.confidence.to_numpy(float)
        for name in rows.bodypart.unique():
            place = names == name
            found[place] = self.curve(name)(confidence[place])
        return found

    def plain(self) -> dict[str, Any]:
        """Return plain values, from which `read_curves` makes the same calibration."""
        return {
            "bodyparts": {name: _plain(curve) for name, curve in self.bodyparts.items()},
            "together": _plain(self.together),
        }


def fit_calibration(rows: pd.DataFrame, px: float) -> Calibration:
    """Fit a curve to the keypoints of each bodypart, and one to all of them.

    Args:
        rows: records (see `pose_records`) of frames that did not train; those without a prediction
            have no confidence and do not count.
        px: distance from its label up to which a prediction is right.
    """
    found = rows[rows.error.notna()]
    confidence, right = found.confidence.to_numpy(float), found.error.to_numpy(float) <= px
    low, high = _outcomes(right)
    outcome = np.where(right, high, low)
    together = _fit_beta(confidence, outcome, np.array([1.0, 1.0, 0.0]), _WIDE)
    names, curves = found.bodypart.to_numpy(), dict[str, Curve]()
    for name in found.bodypart.unique():
        own = names == name
        if own.sum() >= ISOTONIC_FROM:
            curves[str(name)] = _fit_isotonic(confidence[own], right[own])
        else:
            parameters = _fit_beta(confidence[own], outcome[own], together, _BETWEEN_BODYPARTS)
            curves[str(name)] = _beta(parameters, high)
    if len(found) >= ISOTONIC_FROM:
        return Calibration(curves, _fit_isotonic(confidence, right))
    return Calibration(curves, _beta(together, high))


def read_curves(content: Mapping[str, Any]) -> Calibration:
    """Return the calibration of which `plain` made these values.

    Raises:
        LookupError, TypeError: they are of something else.
    """
    curves = {name: _read(curve) for name, curve in content["bodyparts"].items()}
    return Calibration(curves, _read(content["together"]))


def _beta(parameters: Array, high: float) -> BetaCurve:
    a, b, c = parameters.tolist()
    return BetaCurve(a, b, c, high)


def _fit_beta(confidence: Array, outcome: Array, centre: Array, spread: float) -> Array:
    """Return a, b and c of the most likely curve, with a normal prior around `centre`."""
    from scipy.optimize import minimize

    features = _features(confidence)

    def loss(parameters: Array) -> tuple[float, Array]:
        logit, off = features @ parameters, (parameters - centre) / spread
        value = np.logaddexp(0, logit) - outcome * logit
        slope = features.T @ (_logistic(logit) - outcome) + off / spread
        return float(value.sum() + 0.5 * off @ off), slope

    limits = [(0, None), (0, None), (None, None)]  # never decreases
    return np.asarray(minimize(loss, centre, jac=True, bounds=limits, method="L-BFGS-B").x)


def _outcomes(right: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the outcomes to fit in place of 0 and 1: 1 / (n0 + 2) and (n1 + 1) / (n1 + 2).

    Few keypoints that are all right do not make a probability of 1 (Platt, "Probabilistic Outputs
    for Support Vector Machines", 1999).
    """
    ones = int(right.sum())
    return 1 / (len(right) - ones + 2), (ones + 1) / (ones + 2)


def _fit_isotonic(confidence: Array, right: NDArray[np.bool_]) -> IsotonicCurve:
    """Fit steps, smooth them, and join their centres.

    A step of k right ones among n becomes (k + 1) / (n + 2), so that none is 0 or 1; steps that no
    longer increase after that are merged.
    """
    from scipy.optimize import isotonic_regression

    values, place = np.unique(confidence, return_inverse=True)
    count = np.bincount(place)
    share = np.bincount(place, right) / count
    step = np.unique(isotonic_regression(share, weights=count).x, return_inverse=True)[1]
    size, ones = np.bincount(step, count), np.bincount(step, share * count)
    smooth = isotonic_regression((ones + 1) / (size + 2), weights=size + 2).x
    centre = np.bincount(step, values * count) / size
    return IsotonicCurve(tuple(map(float, centre)), tuple(map(float, smooth)))


def _features(confidence: Array) -> Array:
    """Return ln c, -ln(1 - c) and 1 of each confidence c, (n, 3)."""
    clipped = np.clip(np.asarray(confidence, float), _LEAST, 1 - _LEAST)
    return np.stack([np.log(clipped), -np.log1p(-clipped), np.ones_like(clipped)], axis=-1)


def _logistic(values: Array) -> Array:
    from scipy.special import expit

    return np.asarray(expit(values))


def _plain(curve: Curve) -> dict[str, Any]:
    values = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(curve).items()}
    return {"method": curve.method, **values}


def _read(values: Mapping[str, Any]) -> Curve:
    if values["method"] == BetaCurve.method:
        numbers = {key: float(values[key]) for key in ("a", "b", "c", "high")}
        return BetaCurve(**numbers)
    if values["method"] != IsotonicCurve.method:
        raise LookupError(values["method"])
    return IsotonicCurve(
        tuple(map(float, values["confidence"])), tuple(map(float, values["probability"]))
    )
