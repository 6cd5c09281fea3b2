"""Calibration of a model that was scored, by the frames that did not train it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dlcexp.config.build import allowing
from dlcexp.errors import StorageError, UserError
from dlcexp.evaluation.calibration_file import (
    StoredCalibration,
    calibration_beside,
    read_calibration,
)
from dlcexp.evaluation.reliability import (
    LEAST_KEYPOINTS,
    SIZE_FRACTION,
    measure_reliability,
    usual_distance,
)
from dlcexp.evaluation.summary import Numbers
from dlcexp.runs.run import Run
from dlcexp.training.conditions import condition_source
from dlcexp.training.model_identity import model_identity
from dlcexp.training.scoring import Scored
from dlcexp.vocabulary import TREE_FILE

logger = logging.getLogger(__name__)

_OUT_OF_FOLD = "out of fold"


@dataclass(frozen=True)
class Calibrated:
    """A calibration that was made, or why there is none.

    Attributes:
        numbers: `calibration` of `evaluation.json`; None without a calibration.
        stored: content of its file; None without one.
        snapshots: those of our runs, next to which it is kept.
        missing: why there is none, as a sentence; empty where there is one, or no pose model.
    """

    numbers: Numbers | None = None
    stored: StoredCalibration | None = None
    snapshots: Sequence[Path] = ()
    missing: str = ""

    def write(self, path: Path) -> list[Path]:
        """Write the file, and copies next to the snapshots.

        A calibration of the same model for the same distance, from more keypoints, is kept. A run
        folder that cannot be written to is a warning.

        Returns:
            What was written.

        Raises:
            StorageError: the file cannot be written.
        """
        if self.stored is None:
            return []
        self.stored.write(path)
        written = [path]
        for copy in map(calibration_beside, self.snapshots):
            if _is_better(copy, self.stored):
                continue
            try:
                self.stored.write(copy)
                written.append(copy)
            except StorageError as error:
                logger.warning("%s Use predict.calibrate=%s.", error, path)
        return written


def calibrate(scored: Scored) -> Calibrated:
    """Calibrate by the validation frames, or by the test frames where there are none.

    Frames that trained the model do not count, whichever split it was scored on. Of a sweep that
    was scored out of fold, all labelled frames count.
    """
    if scored.trained is None:
        return Calibrated(missing="It is not known which frames trained this snapshot.")
    part = "val" if scored.data.split.val and not scored.out_of_fold else "test"
    column = scored.evaluation.column(part)
    if column is None:
        return Calibrated()
    if column != part:
        return Calibrated(missing="Keypoints in crops by the labels are not those of predictions.")
    records = scored.evaluation.records
    px, px_from = scored.run.cfg.evaluation.get("calibration_px"), "evaluation.calibration_px"
    if px is None:
        px, px_from = usual_distance(records), f"{SIZE_FRACTION:g} of the median animal's size"
    if px is None:
        return Calibrated(
            missing="No animal has two labels, and so a size: set evaluation.calibration_px, the "
            "distance in px up to which a keypoint is right."
        )
    rows = records[(records.split == column) & ~records.frame.isin(scored.trained)]
    found = measure_reliability(rows, float(px))
    if found is None:
        return Calibrated(
            missing=f"{rows.error.notna().sum()} keypoints were found in {rows.frame.nunique()} "
            f"frames that did not train; {LEAST_KEYPOINTS} in two frames are needed."
        )
    source = _OUT_OF_FOLD if scored.out_of_fold else f"{part} frames"
    numbers = {"px_from": px_from, "source": source, **found.numbers}
    kept = ("px_from", "source", "frames", "keypoints", "ece", "ece_calibrated")
    stored = StoredCalibration(
        found.calibration, float(px), {key: numbers[key] for key in kept}, _models(scored)
    )
    return Calibrated(numbers, stored, _snapshots(scored))


def _models(scored: Scored) -> list[dict[str, object]]:
    """Return the models that made the predictions, as the file names them."""
    if not scored.folds:
        assert scored.snapshot is not None
        return [_model(scored.run, scored.snapshot, scored.detector)]
    return [_model(run, run.best_snapshot, run.best_detector_snapshot) for run in scored.folds]


def _model(run: Run, snapshot: Path, detector: Path | None) -> dict[str, object]:
    with allowing(run.cfg.allow_targets):
        identity = model_identity(run.cfg, snapshot, detector, condition_source(run.cfg))
    return {"run": run.folder.as_posix(), "snapshot": snapshot.name, "identity": identity}


def _snapshots(scored: Scored) -> list[Path]:
    """Return the snapshots in run folders of ours; those of DeepLabCut stay as they are."""
    if scored.folds:
        return [run.best_snapshot for run in scored.folds]
    ours = (scored.run.folder / TREE_FILE).is_file()
    return [scored.snapshot] if ours and scored.snapshot else []


def _is_better(path: Path, new: StoredCalibration) -> bool:
    """Return True if a file is for the same as a new calibration, and from more keypoints."""
    if not path.is_file():
        return False
    try:
        old = read_calibration(path)
        for model in new.models:
            old.check(model["identity"], path)
    except UserError:
        return False
    return (
        old.within_px == new.within_px and old.fitted_to["keypoints"] > new.fitted_to["keypoints"]
    )
