"""Probabilities in place of likelihoods: a copy of a table of poses, in the folder `calibrated`.

Not next to the table, so that DeepLabCut's tools, which search a folder by the names of video and
scorer, find one table there.
"""

import logging
from pathlib import Path

import numpy as np

from dlcexp.config.overrides import command_line
from dlcexp.errors import UserError
from dlcexp.evaluation.calibration_file import (
    StoredCalibration,
    calibration_beside,
    read_calibration,
)
from dlcexp.files import replacing
from dlcexp.inference.finder import PoseFinder
from dlcexp.project.dlc_tables import read_table
from dlcexp.text import listed
from dlcexp.vocabulary import LABEL_TABLE

logger = logging.getLogger(__name__)

FOLDER = "calibrated"
_KEY = "predict.calibrate"


def find_calibration(finder: PoseFinder, file: Path | None) -> StoredCalibration:
    """Return the calibration of the model that finds poses.

    Args:
        finder: the model.
        file: of the calibration; None: the one next to the snapshot.

    Raises:
        UserError: there is none, or it is that of a different model.
    """
    path = file or calibration_beside(finder.snapshot)
    again = command_line(["evaluate", f"run={finder.run.folder.as_posix()}"])
    if not path.is_file():
        raise UserError(
            f"{_KEY}: there is no {path}. '{again}' makes the calibration of this model; 'dlcexp "
            "evaluate DIR' of a cross-validation makes that of all folds. For a shuffle of "
            f"DeepLabCut, give the path that it prints: {_KEY}=PATH."
        )
    stored = read_calibration(path)
    try:
        stored.check(finder.identity, path)
    except UserError as error:
        raise UserError(f"{_KEY}: {error} '{again}' makes that of this model.") from error
    logger.info(
        "probabilities that a keypoint is within %s px of its label, by %s",
        *(f"{stored.within_px:g}", stored.about),
    )
    names = [*finder.cfg.metadata.bodyparts, *finder.cfg.metadata.unique_bodyparts]
    if unknown := [name for name in names if name not in stored.calibration.bodyparts]:
        logger.warning("%s: calibrated as all bodyparts together: %s", path, listed(unknown))
    return stored


def write_calibrated(table: Path, stored: StoredCalibration, *, csv: bool) -> list[Path]:
    """Write a copy of a table with probabilities as its likelihoods, and the calibration.

    Args:
        table: the `.h5` of an analysis.
        stored: calibration of its model.
        csv: write the copy as text, too.

    Returns:
        The files.
    """
    poses = read_table(table)
    for column in poses.columns:
        if column[-1] == "likelihood":
            values = stored.calibration.curve(column[-2])(poses[column].to_numpy(float))
            poses[column] = values.astype(np.float32)
    stem = table.parent / FOLDER / table.stem
    paths = [stem.with_name(f"{stem.name}{suffix}") for suffix in (".json", ".csv", ".h5")]
    stored.write(paths[0])
    if csv:
        with replacing(paths[1]) as temporary:
            poses.to_csv(temporary)
    with replacing(paths[2]) as temporary:
        poses.to_hdf(temporary, key=LABEL_TABLE, mode="w")
    return paths if csv else [paths[0], paths[2]]
