"""Names of metrics, keys and runs in the tools that show them."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dlcexp.vocabulary import SWEEP_FILE

# How the names of a detector's metrics begin; those of a pose model have nothing before them.
DETECTOR = "detector."


def of_detector(names: Iterable[str]) -> bool:
    """Return whether a row is one of a detector: all its names begin with `detector.`."""
    return all(name.startswith(DETECTOR) for name in names)


def with_slashes(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the first dot of names by a slash (`test/mAP`), by which tools group their charts.

    What is None or NaN is left out.
    """
    return {
        name.replace(".", "/", 1): value
        for name, value in metrics.items()
        if value is not None and not (isinstance(value, float) and math.isnan(value))
    }


def sweep_of(folder: Path) -> str | None:
    """Name of the sweep that a run folder is a job of."""
    sweep = folder.resolve().parent
    return sweep.name if (sweep / SWEEP_FILE).is_file() else None


def name_of(folder: Path) -> str:
    """Return the name of the run folder; in a sweep its name and the number of the job."""
    name, sweep = folder.resolve().name, sweep_of(folder)
    return f"{sweep}-{name}" if sweep else name
