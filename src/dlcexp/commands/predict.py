"""`dlcexp predict`: poses in images and videos, in DeepLabCut's files."""

import sys
import traceback
from dataclasses import replace
from pathlib import Path

from dlcexp.commands.settings import (
    FOLDER,
    PATH,
    PATHS,
    RUN,
    SNAPSHOT,
    SWITCH,
    TEXT,
    Command,
    Kind,
    Section,
    Setting,
    one_of,
    whole,
)
from dlcexp.errors import UserError


def _calibration(text: str) -> bool | Path:
    """Read true, false, or the path of a calibration."""
    if text.lower() in ("true", "false"):
        return SWITCH.read(text)
    return PATH.read(text)


_CALIBRATION = Kind(_calibration, choices=("true", "false"), paths="files")

COMMAND = Command(
    name="predict",
    about="""
        Finds the animals in images and videos and writes the poses next to them, in DeepLabCut's
        files: NAME<scorer>.h5 and .csv, and the _meta, _full and _assemblies.pickle that its
        tracking reads. A job that was stopped resumes where it was. Poses that are there are
        kept, unless the model or the frames have changed; those of another source are never
        replaced.
    """,
    settings=(
        RUN,
        Setting(
            "source",
            PATHS,
            "an image, a video, a folder, a pattern such as 'videos/*.mp4', or several of them: "
            "[a.mp4,b.mp4]",
            required=True,
        ),
        Setting("output", FOLDER, "folder for the files; that of the source unless given"),
        Setting(
            "label",
            SWITCH,
            "draw the poses into a copy of each video, also of one that was analysed before",
            default=False,
            flags=("--label",),
        ),
        SNAPSHOT,
        Setting(
            "conditions",
            replace(TEXT, shown="PATH", paths="files"),
            "conditional top-down: where to start from, a bottom-up run folder, the number of a "
            "shuffle, or a file; the run's own unless given",
        ),
        Setting("csv", SWITCH, "write the table as text, too", default=True),
        Setting(
            "overwrite",
            SWITCH,
            "find poses again where there are some, of whatever source",
            default=False,
        ),
        Setting(
            "shuffle",
            whole(0),
            "number in the scorer's name, by which DeepLabCut's tools find the files: that of the "
            "shuffle that the run is installed as",
            default=0,
        ),
        Setting(
            "predict.batch_size",
            whole(1),
            "frames at once, bottom-up; chosen by their size unless given, on a CPU 1",
        ),
        Setting(
            "predict.precision",
            one_of("32", "bf16", "16"),
            "format in which the pose model computes",
            default="32",
        ),
        Setting(
            "predict.backend",
            one_of("torch", "onnx"),
            "onnx: ONNX Runtime on the CPU (pip install 'dlcexp[onnx]'), by a file exported once "
            "into the run folder",
            default="torch",
        ),
        Setting(
            "predict.calibrate",
            _CALIBRATION,
            "also write the table into the folder calibrated, with the probability that a keypoint "
            "is right as its likelihood; true: by the calibration that evaluate has made; or the "
            "PATH of one",
            default=False,
        ),
    ),
    takes_overrides=True,
    namespace="predict",
    sections=(
        Section(
            "Any key of the run's experiment can be set",
            (
                ("device=cpu", "where to compute"),
                (
                    "evaluation.pcutoff=0.4",
                    "confidence from which --label draws a keypoint; the project's unless given",
                ),
            ),
        ),
    ),
    examples=(
        "dlcexp predict run=runs/mouse/DIR source=videos/m1.mp4 --label",
        "dlcexp predict run=runs/mouse/DIR 'source=videos/*.mp4' predict.precision=bf16",
    ),
)


def run(
    source: list[str],
    run_folder: Path,
    output: Path | None,
    label: bool,
    snapshot: str | None,
    conditions: str | None,
    csv: bool,
    overwrite: bool,
    shuffle: int,
    batch_size: int | None,
    precision: str,
    backend: str,
    calibrate: bool | Path,
    overrides: list[str],
) -> int:
    """Find poses in each source, and print the files that are written."""
    from dlcexp.commands.evaluate import open_run
    from dlcexp.commands.train import log_to_console
    from dlcexp.config.compose import modified
    from dlcexp.config.typed import read_typed
    from dlcexp.inference.analyze import Wishes, analyze, check_targets
    from dlcexp.inference.calibrated import find_calibration
    from dlcexp.inference.finder import PoseFinder
    from dlcexp.inference.sources import find_sources

    log_to_console()
    opened, weights = open_run(run_folder, snapshot, overrides)
    if overrides:
        opened = replace(opened, cfg=modified(opened.cfg, read_typed(overrides)))
    sources = find_sources(source)
    finder = PoseFinder(
        opened,
        snapshot=weights,
        conditions=conditions,
        batch_size=batch_size,
        precision=precision,
        backend=backend,
    )
    typed = {override.key: override.value for override in read_typed(overrides)}
    file = calibrate if isinstance(calibrate, Path) else None
    wishes = Wishes(
        output,
        csv=csv,
        label=label,
        overwrite=overwrite,
        shuffle=shuffle,
        pcutoff=typed.get("evaluation.pcutoff"),
        calibration=find_calibration(finder, file) if calibrate else None,
    )
    check_targets(finder, sources, wishes)
    failed = {}
    for each in sources:
        try:
            for path in analyze(finder, each, wishes):
                print(path)
        except Exception as error:  # the others do not depend on it
            if len(sources) == 1:
                raise
            if not isinstance(error, UserError):
                traceback.print_exc()
            failed[each.path] = error
    if failed:
        lines = "".join(f"\n  {path}: {error}" for path, error in failed.items())
        print(f"dlcexp: {len(failed)} of {len(sources)} sources failed:{lines}", file=sys.stderr)
    return 1 if failed else 0
