"""The labelled frames that a run was trained on, recorded in its folder: it resumes with no others.

`frames.json` has the name and the file of the project, and a digest of the labels of each frame.
It is not part of the tree: the hash of an experiment does not depend on its labels.
"""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlcexp.errors import ConfigError, ProjectError, UserError
from dlcexp.files import write_json
from dlcexp.project import Labels, Project, load_labels, open_project
from dlcexp.text import listed
from dlcexp.yaml_files import read_json

logger = logging.getLogger(__name__)

_FILE = "frames.json"
_SHOWN = 3
# Labels that differ by less are the same: those of a .csv and of an .h5 are.
_DECIMALS = 3


def record_frames(folder: Path, project: Project, labels: Labels) -> None:
    """Write the frames and a digest of their labels into a run folder."""
    write_json(folder / _FILE, _described(project, labels))


def check_same_frames(folder: Path, project: Project, labels: Labels) -> None:
    """Refuse to resume a run with other frames or labels than it was trained on.

    Raises:
        ConfigError: names the first frames that differ, and how to continue.
    """
    before = _recorded(folder)
    if before is None:
        logger.info("%s has no %s: its frames are not compared with the project", folder, _FILE)
        return
    changes = _changes(before, _described(project, labels))
    if changes:
        raise ConfigError(
            "resume",
            f"{folder} was trained on other frames or labels ({changes}). To train a new run from "
            f"its weights, use a different folder and weights.path={folder}; resume=never starts "
            "this one over; with the former labels it resumes.",
        )


def changes_since(folder: Path, project: Project, labels: Labels) -> str:
    """Return how frames and labels differ from those of a run, as text; empty where they do not."""
    before = _recorded(folder)
    return "" if before is None else _changes(before, _described(project, labels))


def recorded_frames(folder: Path) -> frozenset[str] | None:
    """Return names of the frames of the project when a run was trained; None if not recorded."""
    before = _recorded(folder)
    return None if before is None else frozenset(before["frames"])


def check_jobs_have_same_frames(sweep: Path, folders: Iterable[Path]) -> None:
    """Refuse to resume a sweep if frames or labels have changed since some jobs were trained.

    Raises:
        UserError: names the first frames that differ, and how to continue.
    """
    now: dict[str, Mapping[str, Any]] = {}
    for folder in folders:
        before = _recorded(folder)
        if before is None or not Path(before["source"]).is_file():
            continue
        if before["source"] not in now:
            project = open_project(before["source"])
            now[before["source"]] = _described(project, load_labels(project))
        changes = _changes(before, now[before["source"]])
        if changes:
            raise UserError(
                f"{sweep}: job {folder.name} was trained on other frames or labels ({changes}), so "
                "that new jobs do not compare with it. sweep.rerun=always or "
                "hydra.sweep.dir=DIR begins a new sweep; with the former labels this one resumes."
            )


def _described(project: Project, labels: Labels) -> dict[str, Any]:
    arrays = [labels.keypoints, labels.unique, *([] if labels.boxes is None else [labels.boxes])]
    flat = np.concatenate([array.reshape(len(labels), -1) for array in arrays], axis=1)
    rows = np.nan_to_num(np.round(flat, _DECIMALS), nan=-1.0) + 0.0
    frames = {
        name: hashlib.sha256(row.tobytes()).hexdigest()[:12]
        for name, row in zip(labels.names, rows, strict=True)
    }
    return {"project": project.name, "source": str(project.source), "frames": frames}


def _recorded(folder: Path) -> dict[str, Any] | None:
    """Return the record of a run; None for one of an earlier version."""
    path = folder / _FILE
    if not path.is_file():
        return None
    record = read_json(path)
    if missing := {"project", "source", "frames"} - record.keys():
        raise ProjectError(f"{path} has no {listed(sorted(missing))}")
    return record


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the differences between two records as a text; empty without any."""
    there, here = before["frames"], now["frames"]
    kinds = {
        "with other labels": [name for name in here if there.get(name, here[name]) != here[name]],
        "added": [name for name in here if name not in there],
        "removed": [name for name in there if name not in here],
    }
    texts = [
        f"{len(names)} {kind}: {listed(names, _SHOWN)}" for kind, names in kinds.items() if names
    ]
    if before["project"] != now["project"]:
        texts.insert(0, f"of the project {before['project']} and not {now['project']}")
    return "; ".join(texts)
