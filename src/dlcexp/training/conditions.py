"""The key `conditions`: poses that a conditional top-down model starts from."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from dlcexp.composition import compose
from dlcexp.config.build import allowing
from dlcexp.config.checks import check_conditions
from dlcexp.config.overrides import Override
from dlcexp.data.conditional_crops import MIN_SCORE, Conditions, usable_conditions
from dlcexp.data.loading import FrameData, PoseData, unlabelled_frames
from dlcexp.deeplabcut.predictions import Predictions, read_predictions
from dlcexp.deeplabcut.shuffles import find_trained_shuffle
from dlcexp.deeplabcut.snapshots import best_snapshot
from dlcexp.errors import ConfigError, ProjectError, UserError, nearest
from dlcexp.evaluation.model_poses import predict_frames
from dlcexp.files import expanded
from dlcexp.project import open_project
from dlcexp.runs.run import Run, load_model
from dlcexp.text import listed
from dlcexp.vocabulary import POSE_CONFIG
from dlcexp.yaml_files import read_mapping

logger = logging.getLogger(__name__)

_SHOWN = 3
_USABLE = f"a pose with a keypoint of score {MIN_SCORE} or more"


class ConditionSource(ABC):
    """Poses of another model.

    Args:
        origin: where they come from, for messages.
        file: that which decides on them, a snapshot or the file of the poses.
        theirs: bodyparts of the other model, in its order; None: those of `ours`.
        ours: bodyparts of the experiment.

    Raises:
        ConfigError: a bodypart is missing among theirs.
    """

    def __init__(
        self, origin: str, file: Path, theirs: Sequence[str] | None, ours: Sequence[str]
    ) -> None:
        self.origin, self.file = origin, file
        theirs = list(ours if theirs is None else theirs)
        missing = [name for name in ours if name not in theirs]
        if missing:
            raise ConfigError(
                "conditions",
                f"{origin} has no bodypart {', '.join(missing)}; it has "
                f"{', '.join(theirs)}.{nearest(missing[0], theirs)}",
            )
        self.order = [theirs.index(name) for name in ours]

    @abstractmethod
    def poses(
        self, data: FrameData, rows: Sequence[int], device: torch.device
    ) -> list[NDArray[Any] | None]:
        """Return poses (n, their bodyparts, 3) of each frame, None for a frame without an entry."""

    def conditions(self, data: FrameData, rows: Sequence[int], device: torch.device) -> Conditions:
        """Return conditions of frames; log how many frames have none.

        Args:
            data: the frames.
            rows: which of them, as rows of the labels.
            device: where to compute.
        """
        most = data.labels.keypoints.shape[1]
        found: dict[int, NDArray[Any]] = {}
        for row, poses in zip(rows, self.poses(data, rows, device), strict=True):
            kept = np.zeros((0, len(self.order), 3)) if poses is None else poses[:, self.order]
            found[row] = usable_conditions(kept, most)
        empty = [data.labels.names[row] for row, poses in found.items() if not len(poses)]
        if empty:
            logger.warning(
                "conditions: %s has not %s in %d of %d frames, where no animal will be found: %s",
                *(self.origin, _USABLE, len(empty), len(rows), listed(empty, _SHOWN)),
            )
        return found


class ModelConditions(ConditionSource):
    """The poses that a bottom-up model finds.

    Args:
        origin: see `ConditionSource`.
        cfg: the tree of the other model.
        snapshot: its weights.
        ours: bodyparts of the experiment.
    """

    def __init__(self, origin: str, cfg: DictConfig, snapshot: Path, ours: Sequence[str]) -> None:
        super().__init__(origin, snapshot, cfg.metadata.bodyparts, ours)
        self.cfg, self.snapshot = cfg, snapshot

    def poses(
        self, data: FrameData, rows: Sequence[int], device: torch.device
    ) -> list[NDArray[Any] | None]:
        """Return poses of each frame; images are decoded once for both models."""
        with allowing(self.cfg.get("allow_targets") or []):
            images = [data.labels.images[row] for row in rows]
            frames = unlabelled_frames(self.cfg, images, data.cache)
            model = self._model.to(device)
            return list(predict_frames(model, frames.frames("test"), device)) if rows else []

    @cached_property
    def _model(self) -> torch.nn.Module:
        return load_model(self.cfg, "model", self.snapshot)


class FileConditions(ConditionSource):
    """The poses in a file."""

    def __init__(self, predictions: Predictions, ours: Sequence[str]) -> None:
        super().__init__(str(predictions.source), predictions.source, predictions.bodyparts, ours)
        self.predictions = predictions
        counts = {poses.shape[1] for poses in predictions.poses.values() if len(poses)}
        if predictions.bodyparts is None and counts - {len(ours)}:
            raise ConfigError(
                "conditions",
                f"{self.origin} has poses of {min(counts - {len(ours)})} bodyparts, and the "
                f"project has {len(ours)} ({', '.join(ours)}).",
            )

    def poses(
        self, data: FrameData, rows: Sequence[int], device: torch.device
    ) -> list[NDArray[Any] | None]:
        """Return poses of each frame, by the path of its image."""
        found = [self.predictions.of(data.labels.images[row].as_posix()) for row in rows]
        found = [poses if poses is None or len(poses) else None for poses in found]
        if rows and all(poses is None for poses in found):
            example = next(iter(self.predictions.poses), "none")
            raise ConfigError(
                "conditions",
                f"{self.origin} has none of these {len(rows)} frames, such as "
                f"{data.labels.names[rows[0]]}; it has {len(self.predictions.poses)}, such as "
                f"{example}.",
            )
        return found


def condition_source(cfg: DictConfig) -> ConditionSource | None:
    """Return the poses that `conditions` names, checked to fit; None where it is not set.

    Raises:
        ConfigError: there is no such run, shuffle or file, or it does not fit here.
        SnapshotError: the run or the shuffle has no snapshot.
    """
    key = cfg.get("conditions")
    if cfg.method != "ctd" or key is None:
        return None
    check_conditions(key, cfg.method)
    bodyparts = list(cfg.metadata.bodyparts)
    if isinstance(key, int):
        return _of_shuffle(cfg, key, bodyparts)
    path = expanded(str(key))
    if path.is_dir():
        return _of_run(path, bodyparts)
    return FileConditions(read_predictions(path), bodyparts)


def split_conditions(
    source: ConditionSource, data: PoseData, device: torch.device
) -> dict[str, Conditions]:
    """Return conditions of the frames of each split.

    Raises:
        ConfigError: there is none in any of them.
    """
    rows = {split: getattr(data.split, split) for split in data.split.parts}
    found = source.conditions(data, [row for part in rows.values() for row in part], device)
    if not any(len(poses) for poses in found.values()):
        raise ConfigError(
            "conditions",
            f"{source.origin} has not {_USABLE} in any of the {len(found)} frames: there is "
            "nothing to correct. Train it longer, or use a different one.",
        )
    return {split: {row: found[row] for row in rows[split]} for split in rows}


def _of_run(folder: Path, bodyparts: Sequence[str]) -> ModelConditions:
    run = Run.open(folder)
    return ModelConditions(str(folder), run.cfg, run.best_snapshot, bodyparts)


def _of_shuffle(cfg: DictConfig, shuffle: int, bodyparts: Sequence[str]) -> ModelConditions:
    """The snapshot that DeepLabCut trained in a shuffle of the project, in the model of its file.

    Raises:
        ConfigError: there is no such shuffle, it was not trained, is not bottom-up, or its file
            cannot be imported.
    """
    folder = find_trained_shuffle(open_project(cfg.project), shuffle)
    origin = f"shuffle {shuffle} ({folder})"
    file = folder / POSE_CONFIG
    try:
        method = str(read_mapping(file).get("method")).lower()
    except ProjectError as error:
        raise ConfigError("conditions", f"{origin}: {error}") from error
    if method != "bu":
        raise ConfigError(
            "conditions", f"{origin} is of method {method}, and a condition must come from bu."
        )
    snapshot = best_snapshot(folder)
    if snapshot is None:
        raise ConfigError("conditions", f"{origin} has no snapshot: train it first.")
    try:
        overrides = (Override("project", cfg.project), Override("pytorch_config", str(file)))
        tree = compose(*map(str, overrides), "device=cpu")
    except UserError as error:
        raise ConfigError("conditions", f"{origin}: {error}") from error
    tree.data.cache = cfg.data.cache
    return ModelConditions(origin, tree, snapshot, bodyparts)
