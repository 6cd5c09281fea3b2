"""How far right labels are from their predictions, by bodypart and confidence."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Predictions of like confidence: this fraction of all, and no fewer than so many.
_NEIGHBOURS, _LEAST_NEIGHBOURS = 0.1, 60
# The spread is taken between the median and this quantile, beyond which faulty labels are.
_QUANTILE, _NORMAL_QUANTILE = 0.8, 0.8416
# No one labels more exactly than this, px.
_EXACT = 0.5


class UsualDistances:
    """The distribution of the distance between a right label and its prediction.

    The logarithm of the distance, relative to the median of the bodypart, is taken as normal. Its
    median and the spread of its upper half are those of the predictions that are about as
    confident; neither depends on some faulty labels, however far off these are.

    Args:
        rows: records of labels with predictions, see `pose_records`; indexed from 0.
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        self._rows = rows
        self._scale = rows.groupby("bodypart").error.transform("median").to_numpy(float)
        ordered = np.argsort(rows.confidence.to_numpy(float), kind="stable")
        relative = self._relative(ordered, rows.error.to_numpy(float)[ordered])
        median, quantile = _running_quantiles(relative)
        self._median, self._spread = np.empty((2, len(rows)))
        self._median[ordered] = median
        self._spread[ordered] = (quantile - median) / _NORMAL_QUANTILE

    def p_values(self) -> Floats:
        """Return for each label the fraction of right labels that are as far from a prediction."""
        every = np.arange(len(self._rows))
        return self.tail(every, self._rows.error.to_numpy(float))

    def tail(self, labels: NDArray[np.int64], distances: Floats) -> Floats:
        """Return the fractions of right labels that far, px, from the predictions of `labels`."""
        from scipy.stats import norm

        return np.asarray(norm.sf(self._steps(labels, distances)))

    def _steps(self, labels: NDArray[np.int64], distances: Floats) -> Floats:
        """Return the distances in standard deviations from the median."""
        above = self._relative(labels, distances) - self._median[labels]
        return above / np.maximum(self._spread[labels], np.finfo(float).eps)

    def _relative(self, labels: NDArray[np.int64], distances: Floats) -> Floats:
        scale = np.maximum(self._scale[labels], _EXACT)
        return np.log(np.maximum(distances, _EXACT) / scale)


def _running_quantiles(ordered: Floats) -> tuple[Floats, Floats]:
    """Return the median and the quantile `_QUANTILE` of each value and its neighbours."""
    count = len(ordered)
    width = min(count, max(_LEAST_NEIGHBOURS, round(_NEIGHBOURS * count)))
    first = np.clip(np.arange(count) - width // 2, 0, count - width)
    near = np.lib.stride_tricks.sliding_window_view(ordered, width)
    median, quantile = np.quantile(near, [0.5, _QUANTILE], axis=1)
    return median[first], quantile[first]
