"""Predictions that do not fit the animal: its other labels are too near or too far."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Robust standard deviations, of the logarithm of a distance, and the least that one is.
_FARTHEST, _LEAST_DEVIATION = 4.0, 0.1
# The median absolute deviation of a normal distribution, as a fraction of its standard deviation.
_MAD = 0.6745


def fits_labels(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which predictions are at usual distances from the other labels of their animals.

    Of a network that fails, such as one that sees a bodypart far from the animal, the prediction
    does not fit these; of a faulty label, it does. What is usual are the distances between the same
    two bodyparts in all labels; half of the animal's labels decide. An animal with a single label
    fits.

    Args:
        rows: records of labels with predictions, see `pose_records`; indexed from 0.
    """
    keys = rows[["frame", "individual", "bodypart"]].assign(row=rows.index)
    pairs = keys.merge(keys, on=["frame", "individual"], suffixes=("", "_other"))
    pairs = pairs[pairs.row != pairs.row_other]
    labels, points = (rows[[*names]].to_numpy(float) for names in (("label_x", "label_y"), "xy"))
    row, others = pairs.row.to_numpy(), labels[pairs.row_other.to_numpy()]
    kinds = [pairs.bodypart, pairs.bodypart_other]
    usual = _log_distance(labels[row], others, pairs.index)
    median = usual.groupby(kinds).transform("median")
    deviation = (usual - median).abs().groupby(kinds).transform("median") / _MAD
    off = (_log_distance(points[row], others, pairs.index) - median).abs()
    unusual = (off / deviation.clip(lower=_LEAST_DEVIATION)).groupby(row).median()
    fits = np.ones(len(rows), dtype=bool)
    fits[unusual.index] = unusual <= _FARTHEST
    return fits


def _log_distance(one: NDArray[np.float64], two: NDArray[np.float64], index: pd.Index) -> pd.Series:
    """Return logarithms of distances of at least one pixel."""
    return pd.Series(np.log(np.maximum(np.linalg.norm(one - two, axis=1), 1.0)), index)
