"""One source after the other to DeepLabCut's files of predictions; a stopped job is resumed."""

import hashlib
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dlcexp.deeplabcut.analysis import Analysis, scorer_name
from dlcexp.errors import ProjectError, UserError
from dlcexp.inference.finder import PoseFinder
from dlcexp.inference.labelled_video import PoseDrawing, write_labelled_video
from dlcexp.inference.sources import Source, VideoSource
from dlcexp.inference.stream import find_poses, shapes
from dlcexp.inference.unfinished import Unfinished
from dlcexp.project import open_project
from dlcexp.project.dlc_tables import read_table
from dlcexp.text import listed
from dlcexp.yaml_files import read_mapping

logger = logging.getLogger(__name__)

# Seconds between two lines of progress where there is no terminal.
_EVERY = 30.0
_SHOWN = 5


@dataclass(frozen=True)
class Wishes:
    """The files to write, and their folder.

    Attributes:
        output: folder of the results; None: that of the source.
        csv: write the table as text, too.
        label: draw a video with the poses.
        overwrite: find poses again where there are some already.
        shuffle: number in the scorer's name; that of the shuffle that the run is
            installed as, where DeepLabCut's tools are to find the files.
    """

    output: Path | None = None
    csv: bool = True
    label: bool = False
    overwrite: bool = False
    shuffle: int = 0


def analyze(finder: PoseFinder, source: Source, wishes: Wishes) -> list[Path]:
    """Find the poses in a source and write them; a job that was stopped is resumed.

    Returns:
        The files, those that were there already included.

    Raises:
        ProjectError: the source cannot be read.
        UserError: the folder of the results cannot be written.
    """
    source.check()
    scorer = _scorer(finder, wishes.shuffle)
    beside = source.path if source.path.is_dir() else source.path.parent
    folder = wishes.output or beside
    _check_writable(folder)
    stem = folder / f"{source.path.stem}{scorer}"
    table = stem.with_name(f"{stem.name}.h5")
    if table.is_file() and not wishes.overwrite:
        logger.info("%s is there already; overwrite=true finds its poses again", table)
        written = [table]
    else:
        partial = stem.with_name(f".{stem.name}.unfinished.bin")
        kept = Unfinished(partial, _made_with(finder, source), shapes(finder))
        analysis, seconds = _find(finder, source, scorer, kept)
        written = analysis.write(stem, csv=wishes.csv, meta=_meta(finder, source, seconds))
        kept.remove()
    if wishes.label and isinstance(source, VideoSource):
        written.append(_label(finder, source, table, stem))
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
    unique = poses.get("unique_bodypart", np.zeros((frames, 1, 0, 3), np.float32))
    analysis = Analysis(
        scorer=scorer,
        names=source.names,
        bodyparts=list(metadata.bodyparts),
        unique_bodyparts=list(metadata.unique_bodyparts) if unique.shape[2] else [],
        individuals=list(metadata.individuals),
        multianimal=bool(metadata.multianimal),
        poses=poses["bodypart"],
        unique=unique[:, 0],
        with_identity="identity" in finder.cfg.model.heads,
    )
    return analysis, time.monotonic() - started


def _made_with(finder: PoseFinder, source: Source) -> dict[str, Any]:
    """Return what the poses depend on; where it differs, a stopped job begins again."""
    weights = [finder.snapshot, finder.run.best_detector_snapshot]
    return {
        "run": str(finder.run.folder.resolve()),
        "weights": [[path.name, path.stat().st_mtime_ns] for path in weights if path],
        "precision": str(finder.dtype),
        "backend": finder.backend,
        "source": str(source.path.resolve()),
        "changed": source.path.stat().st_mtime_ns,
        "frames": len(source),
        "names": hashlib.sha1(repr(list(source.names)).encode()).hexdigest(),
    }


@contextmanager
def _progress(source: Source, done: int) -> Iterator[Any]:
    """A bar on a terminal, a line now and then elsewhere: frames/s, time left."""
    quiet = not sys.stderr.isatty()
    with tqdm(
        total=len(source),
        initial=done,
        desc=source.path.name,
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
    config = read_mapping(finder.run.folder / "pytorch_config.yaml")
    try:
        project = open_project(cfg.project)
        name = f"{project.name}{project.date}"
    except ProjectError:  # it need not be there any more
        name = str(cfg.metadata.project_name)
    detector = finder.run.best_detector_snapshot if cfg.method == "td" else None
    return scorer_name(str(config["net_type"]), name, shuffle, finder.snapshot, detector)


def _meta(finder: PoseFinder, source: Source, seconds: float) -> dict[str, Any]:
    now = time.time()
    content: dict[str, Any] = {
        "start": now - seconds,
        "stop": now,
        "run_duration": seconds,
        "pytorch-config": read_mapping(finder.run.folder / "pytorch_config.yaml"),
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


def _label(finder: PoseFinder, source: VideoSource, table: Path, stem: Path) -> Path:
    """Draw the poses of a table into the video."""
    metadata = finder.cfg.metadata
    names = list(metadata.bodyparts)
    values = read_table(table).to_numpy(np.float32)
    size = (len(values), metadata.num_individuals, len(names), 3)
    poses = values[:, : int(np.prod(size[1:]))].reshape(size)
    links = [(names.index(a), names.index(b)) for a, b in metadata.skeleton]
    path = stem.with_name(f"{stem.name}_dlcexp_labeled.mp4")
    drawing = PoseDrawing(len(names), links, float(finder.cfg.evaluation.pcutoff))
    write_labelled_video(source.video, poses, drawing, path)
    return path


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".dlcexp-writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"output: {folder} cannot be written ({error.strerror}). Give another, output=DIR."
        ) from error
