"""The distances of right labels from their predictions, by bodypart and confidence."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Predictions of like confidence: this fraction of all, and no fewer than so many.
_NEIGHBOURS, _LEAST_NEIGHBOURS = 0.2, 150
# The shape is taken between the median and this quantile, beyond which faulty labels are.
_QUANTILE = 0.8
# Of the exponent of the smallest fraction of right labels, which does not become 0.
_LARGEST = 6.0
# No one labels more exactly than this, px.
_EXACT = 0.5


class UsualDistances:
    """The distribution of the distance between a right label and its prediction.

    Relative to the median of the bodypart, distances have a Weibull distribution. Its shape is 2
    where errors are normal (Rayleigh's distribution), and smaller where large ones are frequent. It
    is found from two quantiles of the predictions that are about as confident, which do not depend
    much on some faulty labels, however far off these are.

    Args:
        rows: records of labels with predictions, see `pose_records`; indexed from 0.
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        self._error = rows.error.to_numpy(float)
        medians = rows.groupby("bodypart").error.transform("median")
        self._scale = np.maximum(medians.to_numpy(float), _EXACT)
        ordered = np.argsort(rows.confidence.to_numpy(float), kind="stable")
        median, quantile = _running_quantiles(self._relative(ordered, self._error[ordered]))
        self._median, self._shape = np.empty((2, len(rows)))
        self._median[ordered] = median
        self._shape[ordered] = _weibull_shape(quantile - median)

    def p_values(self) -> Floats:
        """Return for each label the fraction of right labels that are as far from a prediction."""
        return self.tail(np.arange(len(self._error)), self._error)

    def tail(self, labels: NDArray[np.int64], distances: Floats) -> Floats:
        """Return the fractions of right labels that far, px, from the predictions of `labels`."""
        above = self._relative(labels, distances) - self._median[labels]
        exponent = np.minimum(self._shape[labels] * above, _LARGEST)
        return np.asarray(0.5 ** np.exp(exponent))

    def _relative(self, labels: NDArray[np.int64], distances: Floats) -> Floats:
        return np.log(np.maximum(distances, _EXACT) / self._scale[labels])


def _running_quantiles(ordered: Floats) -> tuple[Floats, Floats]:
    """Return the median and the quantile `_QUANTILE` of each value and its neighbours."""
    count = len(ordered)
    width = min(count, max(_LEAST_NEIGHBOURS, round(_NEIGHBOURS * count)))
    last = np.clip(np.arange(count) + width // 2, width - 1, count - 1)
    rolling = pd.Series(ordered).rolling(width)
    return rolling.median().to_numpy()[last], rolling.quantile(_QUANTILE).to_numpy()[last]


def _weibull_shape(spread: Floats) -> Floats:
    """Return the shape by the difference of the logarithms of median and quantile."""
    difference = np.log(-np.log1p(-_QUANTILE)) - np.log(np.log(2))
    return difference / np.maximum(spread, np.finfo(float).eps)
