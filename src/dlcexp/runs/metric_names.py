"""Names of metrics: what was measured (`rmse`), on which frames (`test`), and in which way."""

from collections.abc import Mapping

# The parts of the labelled frames, test frames first.
PARTS = ("test", "val", "train")

# What is added to the name of a split where crops were cut by the labels' own boxes, and where
# their conditions were drawn from the labels.
GT_BOXES, GT_CONDITIONS = "_gt_boxes", "_gt_conditions"
BY_LABELS = (GT_BOXES, GT_CONDITIONS)

# What chose a snapshot, a key of the final numbers: a metric, or `last` where no frame did.
CHOSEN_BY, LAST = "chosen_by", "last"

# Which values of a metric are better.
MAXIMIZE, MINIMIZE = "maximize", "minimize"


def split_of(column: str) -> str:
    """Return `test` of `test_gt_boxes`."""
    for suffix in BY_LABELS:
        column = column.removesuffix(suffix)
    return column


def part_of(metric: str) -> str:
    """Return `test` of `test_gt_boxes.rmse`."""
    return split_of(metric.partition(".")[0])


def by_split(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return scores of each split as `test.rmse` and the like."""
    return {
        f"{split}.{name}": float(value)
        for split, scores in metrics.items()
        for name, value in scores.items()
    }


def spelling(metric: str, known: Mapping[str, object]) -> str:
    """Return the name under which a metric is known.

    `test.rmse` is `test_gt_boxes.rmse` where there is no detector (yet) to find the boxes.
    """
    split, _, name = metric.partition(".")
    names = (metric, *(f"{split}{suffix}.{name}" for suffix in BY_LABELS))
    return next((each for each in names if each in known), metric)
