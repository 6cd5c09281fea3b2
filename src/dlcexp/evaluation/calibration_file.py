"""`calibration.json`: a calibration with what it was fitted to, and the models that it is for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcexp.errors import ProjectError, UserError
from dlcexp.evaluation.calibration import Calibration, read_curves
from dlcexp.files import write_json
from dlcexp.text import listed
from dlcexp.vocabulary import CALIBRATION
from dlcexp.yaml_files import read_json


@dataclass(frozen=True)
class StoredCalibration:
    """The content of a file.

    Attributes:
        calibration: the curves.
        within_px: distance from its label up to which a keypoint is right.
        fitted_to: what they were fitted to: `frames`, `keypoints`, `source` and the like.
        models: of each, its `run`, `snapshot`, and `identity`, see `model_identity`.
    """

    calibration: Calibration
    within_px: float
    fitted_to: Mapping[str, Any]
    models: Sequence[Mapping[str, Any]]

    @property
    def about(self) -> str:
        """The keypoints and frames that it was fitted to, as text."""
        fitted = self.fitted_to
        return f"{fitted['keypoints']} keypoints of {fitted['frames']} frames, {fitted['source']}"

    def check(self, identity: Mapping[str, Any], path: Path) -> None:
        """Refuse a model that it is not for.

        Args:
            identity: of the model, see `model_identity`; may have further parts.
            path: of the file, for the message.

        Raises:
            UserError: names the part of the model that differs.
        """
        differences = [
            [part for part, value in model["identity"].items() if value != identity.get(part)]
            for model in self.models
        ]
        least = min(differences, key=len)
        if least:
            names = listed(f"{model['run']}, {model['snapshot']}" for model in self.models)
            raise UserError(
                f"{path} is the calibration of a different model ({names}); they differ in "
                f"{listed(least)}."
            )

    def write(self, path: Path) -> None:
        """Write a file from which `read_calibration` makes the same."""
        content = {
            "within_px": self.within_px,
            "fitted_to": self.fitted_to,
            "models": list(self.models),
            "curves": self.calibration.plain(),
        }
        write_json(path, content)


def calibration_beside(snapshot: Path) -> Path:
    """Return the path of the calibration of a snapshot, `snapshot-best-010.calibration.json`."""
    return snapshot.with_name(f"{snapshot.stem}.{CALIBRATION}")


def read_calibration(path: Path) -> StoredCalibration:
    """Read a calibration.

    Raises:
        ProjectError: there is none, or it is damaged.
    """
    content = read_json(path)
    try:
        models = [
            {"run": str(each["run"]), "snapshot": str(each["snapshot"])}
            | {"identity": dict(each["identity"])}
            for each in content["models"]
        ]
        fitted_to = {key: content["fitted_to"][key] for key in ("frames", "keypoints", "source")}
        stored = StoredCalibration(
            read_curves(content["curves"]),
            float(content["within_px"]),
            {**content["fitted_to"], **fitted_to},
            models,
        )
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ProjectError(f"{path} is not a calibration of dlcexp.") from error
    if not models:
        raise ProjectError(f"{path} is not a calibration of dlcexp: it names no model.")
    return stored
