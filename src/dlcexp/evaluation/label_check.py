"""Labels that are probably wrong: far from what a network predicts that never saw their frame.

As in confident learning (Northcutt et al., 2021), labels are compared with predictions out of
sample, and a prediction counts as much as its confidence is worth in this project: the distance of
a label is judged by those of the labels whose predictions are about as confident.
"""

from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlcexp.evaluation.evaluate import Evaluation
from dlcexp.evaluation.pose_geometry import fits_labels
from dlcexp.evaluation.usual_distances import Floats, UsualDistances

# Of the labels listed, the fraction that is expected to be right.
FALSE_DISCOVERIES = 0.1
# Fewer labels than this have no distribution.
LEAST_LABELS = 40
COLUMNS = (
    "frame",
    "individual",
    "bodypart",
    "kind",
    "label_x",
    "label_y",
    "x",
    "y",
    "error",
    "confidence",
    "p_value",
)
MISPLACED = "misplaced"

# A label is at a place if at least this fraction of right labels is as far from a prediction.
_USUAL = 0.05


@dataclass(frozen=True, eq=False)
class LabelCheck:
    """The labels of an evaluation that are probably wrong, and how many were judged.

    Attributes:
        listed: see `labels_to_check`.
        judged: labels that were compared with predictions; 0 of fewer than `LEAST_LABELS`.
        frames: number of frames that these are of.
        trained: number of frames that are not judged, because the network was trained on them;
            None: unknown, and nothing is judged.
    """

    listed: pd.DataFrame
    judged: int
    frames: int
    trained: int | None

    def numbers(self) -> dict[str, Any]:
        """Return it in plain containers, as `evaluation.json` has it."""
        return {**asdict(self), "listed": self.rows()}

    def rows(self) -> list[dict[str, Any]]:
        """Return the columns of each label listed by name."""
        return [
            {str(name): value for name, value in row.items()}
            for row in self.listed.to_dict("records")
        ]


def check_labels(evaluation: Evaluation, trained: AbstractSet[str] | None) -> LabelCheck:
    """Compare the labels of test and validation frames with their predictions.

    Args:
        evaluation: with its records.
        trained: names of frames that have no part in it, because the network was trained on them
            and fits their labels, faults included; None: unknown.
    """
    nothing = pd.DataFrame(columns=[*COLUMNS])
    if trained is None:
        return LabelCheck(nothing, 0, 0, None)
    columns = [evaluation.column(split) for split in ("test", "val")]
    records = evaluation.records
    if len(records):
        records = records[records.split.isin(columns) & records.error.notna()]
        records = records[~records.frame.isin(list(trained))]
    if len(records) < LEAST_LABELS:
        return LabelCheck(nothing, 0, 0, len(trained))
    listed = labels_to_check(records)
    return LabelCheck(listed, len(records), records.frame.nunique(), len(trained))


def labels_to_check(records: pd.DataFrame) -> pd.DataFrame:
    """Return the labels that are probably wrong, the most probable first.

    They are the discoveries of Benjamini and Hochberg (1995) among the p-values: about
    `FALSE_DISCOVERIES` of them are right labels. Predictions without a label are not listed, since
    hidden bodyparts are left unlabelled on purpose.

    Args:
        records: see `pose_records`; labels with predictions, of frames that the network which made
            these was not trained on.

    Returns:
        `frame`, `individual`, `bodypart`; `kind`, what is probably wrong: `swapped with X`,
        another bodypart of the animal; `on X`, whose own label is elsewhere; `belongs to Y`, a
        different individual; else `misplaced`. `label_x`, `label_y` and the predicted `x`, `y`, px;
        `error`, the distance between them, px; `confidence`; `p_value`, the fraction of right
        labels that would be as far from such a prediction.
    """
    rows = labels_with_p_values(records)
    listed = rows[discoveries(rows.p_value.to_numpy())].sort_values("p_value", kind="stable")
    return listed[[*COLUMNS]].reset_index(drop=True)


def labels_with_p_values(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with `kind` and `p_value` of every label, see `labels_to_check`."""
    rows = records.reset_index(drop=True)
    usual = UsualDistances(rows)
    places = _other_places(rows, usual)
    # Where the prediction does not fit the animal, the network is wrong, and not the label.
    p_values = np.where(fits_labels(rows), usual.p_values(), 1.0)
    p_values = _with_exchanges(p_values, places)
    rows = rows.assign(p_value=p_values, kind=MISPLACED)
    rows.loc[places.index, "kind"] = places.kind
    return rows


def discoveries(p_values: Floats, fraction: float = FALSE_DISCOVERIES) -> NDArray[np.bool_]:
    """Return which p-values are small, so that about a `fraction` of these are so by chance."""
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(p_values) <= fraction)


def _with_exchanges(p_values: Floats, places: pd.DataFrame) -> Floats:
    """Return the p-values; of labels that are exchanged that of both (Fisher), if it is smaller."""
    from scipy.stats import chi2

    exchanged = places[places.mutual]
    one, two = exchanged.index.to_numpy(), exchanged.other.to_numpy()
    changed = p_values.copy()
    with np.errstate(divide="ignore"):
        both = chi2.sf(-2 * (np.log(p_values[one]) + np.log(p_values[two])), 4)
    changed[one] = np.minimum(p_values[one], both)
    return changed


def _other_places(rows: pd.DataFrame, usual: UsualDistances) -> pd.DataFrame:
    """Return labels that lie where a different label should be.

    That is nearer to its prediction than to their own, and no farther than labels usually are.

    Returns:
        Indexed by the label: `kind`, see `labels_to_check`; `other`, whose place it is; `mutual`,
        whether that one lies at the place of this label, too.
    """
    pairs = _pairs(rows)
    one, two = pairs.one.to_numpy(), pairs.two.to_numpy()
    labels, points = (rows[[*names]].to_numpy(float) for names in (("label_x", "label_y"), "xy"))
    error = rows.error.to_numpy(float)
    there = np.linalg.norm(labels[one] - points[two], axis=1)
    back = np.linalg.norm(labels[two] - points[one], axis=1)
    on = (there < error[one]) & (usual.tail(two, there) >= _USUAL)
    mutual = on & (back < error[two]) & (usual.tail(one, back) >= _USUAL)
    pairs = pairs.assign(distance=there, mutual=mutual)[on]
    pairs = pairs.sort_values(["mutual", "distance"], ascending=[False, True])
    nearest = pairs.drop_duplicates("one").set_index("one")
    other = rows.loc[nearest.two]
    same_animal = rows.individual.to_numpy()[nearest.index] == other.individual.to_numpy()
    how = np.where(nearest.mutual, "swapped with ", "on ")
    kind = np.where(same_animal, how + other.bodypart, "belongs to " + other.individual)
    return pd.DataFrame(
        {"kind": kind, "other": nearest.two, "mutual": nearest.mutual}, index=nearest.index
    )


def _pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return pairs of labels `one`, `two` of a frame that may be exchanged.

    Each label with the other bodyparts of its animal, and with the bodypart of other animals.
    """
    keys = rows[["frame", "individual", "bodypart"]].assign(row=rows.index)
    tables = []
    for shared in (["frame", "individual"], ["frame", "bodypart"]):
        pairs = keys.merge(keys, on=shared, suffixes=("_one", "_two"))
        tables.append(pairs.loc[pairs.row_one != pairs.row_two, ["row_one", "row_two"]])
    return pd.concat(tables, ignore_index=True).set_axis(["one", "two"], axis=1)
