"""One source after the other to DeepLabCut's files of predictions; a stopped job is resumed."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dlcexp.deeplabcut.analysis import Analysis, read_meta, scorer_name
from dlcexp.deeplabcut.export import net_type
from dlcexp.errors import ProjectError, UserError
from dlcexp.evaluation.calibration_file import StoredCalibration
from dlcexp.inference.calibrated import write_calibrated
from dlcexp.inference.finder import PoseFinder
from dlcexp.inference.labelled_video import PoseDrawing, write_labelled_video
from dlcexp.inference.origin import Origin
from dlcexp.inference.sources import Source, VideoSource
from dlcexp.inference.stream import find_poses, shapes
from dlcexp.inference.unfinished import Unfinished
from dlcexp.locks import held
from dlcexp.project import open_project
from dlcexp.project.dlc_tables import read_table
from dlcexp.text import listed, shows_bars
from dlcexp.vocabulary import BODYPART, IDENTITY, POSE_CONFIG, UNIQUE_BODYPART
from dlcexp.yaml_files import read_mapping

logger = logging.getLogger(__name__)

# Seconds between two lines of progress where there is no terminal.
_EVERY = 30.0
_SHOWN = 5
# In `_meta.pickle`: see `Origin.record`.
_ORIGIN = "dlcexp origin"
# `evaluation.pcutoff` of a run for which none was chosen.
_DEFAULT_PCUTOFF = 0.6


@dataclass(frozen=True)
class Wishes:
    """The files to write, and their folder.

    Attributes:
        output: folder of the results; None: that of the source.
        csv: write the table as text, too.
        label: draw a video with the poses.
        overwrite: find poses again where there are some already, of whatever source.
        shuffle: number in the scorer's name; that of the shuffle that the run is
            installed as, where DeepLabCut's tools are to find the files.
        pcutoff: confidence from which a keypoint is drawn; None: that of the project.
        calibration: write a table of probabilities by it, too, also of one that was there.
    """

    output: Path | None = None
    csv: bool = True
    label: bool = False
    overwrite: bool = False
    shuffle: int = 0
    pcutoff: float | None = None
    calibration: StoredCalibration | None = None


def check_targets(finder: PoseFinder, sources: Sequence[Source], wishes: Wishes) -> None:
    """Refuse sources whose poses would replace those of another source.

    Raises:
        UserError: names the file, and both sources.
    """
    seen: dict[Path, Source] = {}
    scorer = _scorer(finder, wishes.shuffle)
    for source in sources:
        stem = _stem(source, scorer, wishes)
        other = seen.setdefault(stem, source)
        if other is not source:
            raise UserError(
                f"source: the poses of {other.path} and of {source.path} would both be in "
                f"{stem.name}.h5. Give one at a time, each with a separate output=DIR."
            )
        _difference(stem, finder, source, wishes)


def analyze(finder: PoseFinder, source: Source, wishes: Wishes) -> list[Path]:
    """Find the poses in a source and write them; a job that was stopped is resumed.

    Returns:
        The files, those that were there already included.

    Raises:
        ProjectError: the source cannot be read.
        UserError: the folder of the results cannot be written, another process writes these
            results, or there are those of another source.
    """
    source.check()
    scorer = _scorer(finder, wishes.shuffle)
    stem = _stem(source, scorer, wishes)
    table = stem.with_name(f"{stem.name}.h5")
    remedy = "Wait for it, or write elsewhere: output=DIR."
    with held(stem.with_name(f".{stem.name}.lock"), table, remedy):
        difference = _difference(stem, finder, source, wishes)
        if difference:
            logger.info("%s was made with %s; its poses are found again", table, difference)
        if difference == "":
            logger.info("%s is there already; overwrite=true finds its poses again", table)
            written = [table]
        else:
            written = _write(finder, source, scorer, wishes, stem)
        if wishes.calibration is not None:
            written += write_calibrated(table, wishes.calibration, csv=wishes.csv)
        if wishes.label and isinstance(source, VideoSource):
            written.append(_label(finder, source, table, stem, wishes.pcutoff))
    return written


def _stem(source: Source, scorer: str, wishes: Wishes) -> Path:
    """Return the path with which the names of all results begin."""
    path = source.path
    folder, name = (path, path.absolute().name) if path.is_dir() else (path.parent, path.stem)
    return (wishes.output or folder) / f"{name}{scorer}"


def _difference(stem: Path, finder: PoseFinder, source: Source, wishes: Wishes) -> str | None:
    """Return the part in which the poses that are there differ from those of this model.

    Empty where they are the same; None where there are none, or none that count.

    Raises:
        UserError: there are poses of another source, or of an unknown one.
    """
    table = stem.with_name(f"{stem.name}.h5")
    if wishes.overwrite or not table.is_file():
        return None
    source.check()
    recorded = read_meta(stem).get(_ORIGIN)
    origin = Origin(finder.identity, source)
    if recorded is None or origin.replaces_others(recorded):
        other = "an unknown source or model" if recorded is None else recorded["path"]
        raise UserError(
            f"output: {table} holds the poses of {other}. Write those of {source.path} "
            "elsewhere, output=DIR, or replace the file, overwrite=true."
        )
    return origin.difference(recorded)


def _write(
    finder: PoseFinder, source: Source, scorer: str, wishes: Wishes, stem: Path
) -> list[Path]:
    """Find poses and write them, with their origin."""
    origin = Origin(finder.identity, source)
    partial = stem.with_name(f".{stem.name}.unfinished.bin")
    kept = Unfinished(partial, origin.made_with(), shapes(finder))
    analysis, seconds = _find(finder, source, scorer, kept)
    meta = {**_meta(finder, source, seconds), _ORIGIN: origin.record()}
    written = analysis.write(stem, csv=wishes.csv, meta=meta)
    kept.remove()
    return written


def _find(
    finder: PoseFinder, source: Source, scorer: str, kept: Unfinished
) -> tuple[Analysis, float]:
    done = kept.frames
    if done:
        logger.info("%s: resuming after frame %d of %d", source.path, done, len(source))
    started = time.monotonic()
    with _progress(source, done) as advance:
        for chunk in find_poses(finder, source, done) if done < len(source) else ():
            kept.append(chunk)
            advance(len(chunk.readable))
    readable, poses = kept.all()
    _warn_of_unreadable(source, readable)
    frames = len(readable)
    metadata = finder.cfg.metadata
    unique = poses.get(UNIQUE_BODYPART, np.zeros((frames, 1, 0, 3), np.float32))
    analysis = Analysis(
        scorer=scorer,
        names=source.names,
        bodyparts=list(metadata.bodyparts),
        unique_bodyparts=list(metadata.unique_bodyparts) if unique.shape[2] else [],
        individuals=list(metadata.individuals),
        multianimal=bool(metadata.multianimal),
        poses=poses[BODYPART],
        unique=unique[:, 0],
        with_identity=IDENTITY in finder.cfg.model.heads,
    )
    return analysis, time.monotonic() - started


@contextmanager
def _progress(source: Source, done: int, doing: str = "") -> Iterator[Any]:
    """A bar on a terminal, a line now and then elsewhere: frames/s, time left."""
    quiet = not shows_bars()
    with tqdm(
        total=len(source),
        initial=done,
        desc=f"{doing}{source.path.name}",
        unit=" frames",
        dynamic_ncols=True,
        mininterval=_EVERY if quiet else 0.1,
        bar_format="{desc}: {n_fmt}/{total_fmt} frames [{elapsed}<{remaining}, {rate_fmt}]\n"
        if quiet
        else None,
    ) as bar:
        yield bar.update


def _warn_of_unreadable(source: Source, readable: np.ndarray) -> None:
    missing = np.flatnonzero(~readable)
    if len(missing):
        shown = listed((source.names[int(number)] for number in missing), _SHOWN)
        logger.warning(
            "%s: %d of %d frames cannot be read and have no pose: %s",
            *(source.path, len(missing), len(readable), shown),
        )


def _scorer(finder: PoseFinder, shuffle: int) -> str:
    cfg = finder.cfg
    config = read_mapping(finder.run.folder / POSE_CONFIG)
    try:
        project = open_project(cfg.project)
        name = f"{project.name}{project.date}"
    except ProjectError:  # it need not be there any more
        name = str(cfg.metadata.project_name)
    detector = finder.run.best_detector_snapshot if cfg.method == "td" else None
    return scorer_name(
        str(config.get("net_type") or net_type(cfg.model)), name, shuffle, finder.snapshot, detector
    )


def _meta(finder: PoseFinder, source: Source, seconds: float) -> dict[str, Any]:
    now = time.time()
    content: dict[str, Any] = {
        "start": now - seconds,
        "stop": now,
        "run_duration": seconds,
        "pytorch-config": read_mapping(finder.run.folder / POSE_CONFIG),
        "batch_size": finder.batch_size,
        "dlcexp run": str(finder.run.folder),
    }
    if isinstance(source, VideoSource):
        width, height = source.video.size
        content |= {
            "fps": source.video.fps,
            "frame_dimensions": (height, width),
            "cropping": False,
            "cropping_parameters": [0, width, 0, height],
        }
    return content


def _label(
    finder: PoseFinder, source: VideoSource, table: Path, stem: Path, pcutoff: float | None
) -> Path:
    """Draw the poses of a table into the video, and warn if none is sure enough to be drawn."""
    metadata = finder.cfg.metadata
    names = list(metadata.bodyparts)
    values = read_table(table).to_numpy(np.float32)
    size = (len(values), metadata.num_individuals, len(names), 3)
    poses = values[:, : int(np.prod(size[1:]))].reshape(size)
    links = [(names.index(a), names.index(b)) for a, b in metadata.skeleton]
    path = stem.with_name(f"{stem.name}_dlcexp_labeled.mp4")
    if pcutoff is None:
        pcutoff = _pcutoff(finder)
    highest = float(np.nanmax(poses[..., 2], initial=0))
    if highest < pcutoff:
        logger.warning(
            "%s: no keypoint is drawn: the highest confidence is %.3g, and evaluation.pcutoff is "
            "%.3g. Choose a lower one, or train longer.",
            *(path, highest, pcutoff),
        )
    drawing = PoseDrawing(len(names), links, pcutoff)
    with _progress(source, 0, "drawing ") as advance:
        write_labelled_video(source.video, poses, drawing, path, advance)
    return path


def _pcutoff(finder: PoseFinder) -> float:
    """Return the confidence from which to draw keypoints: the run's if set, else the project's."""
    chosen = float(finder.cfg.evaluation.pcutoff)
    try:
        project = open_project(finder.cfg.project).pcutoff
    except ProjectError:  # it need not be there any more
        project = None
    return chosen if project is None or chosen != _DEFAULT_PCUTOFF else project
