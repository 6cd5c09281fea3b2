"""`dlcexp evaluate`: score a finished run, or a shuffle of DeepLabCut, on any split."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcexp.commands.settings import FOLDER, RUN, SNAPSHOT, Command, Section, Setting
from dlcexp.errors import UserError
from dlcexp.files import kind_of_folder
from dlcexp.vocabulary import SNAPSHOTS, TREE_FILE

if TYPE_CHECKING:
    from dlcexp.runs.run import Run
    from dlcexp.training.scoring import Scored

PAGE, NUMBERS, RECORDS = "evaluation.html", "evaluation.json", "evaluation.csv"
LABELS_TO_CHECK = "labels_to_check.csv"

COMMAND = Command(
    name="evaluate",
    about=f"""
        Scores a model on train, val and test frames, prints the table that training ends with, and
        writes {PAGE}, a page that works offline (errors by bodypart, error against confidence,
        PCK curves, confusion of individuals, worst frames), {NUMBERS} with all of its numbers,
        {RECORDS} with a row for each labelled keypoint, and {LABELS_TO_CHECK} with the labels that
        are probably wrong. A top-down run is scored in the boxes that its best detector finds, and
        in those of the labels.
    """,
    settings=(
        replace(
            RUN,
            shown="[run=]PATH",
            meaning="a run folder; a shuffle that DeepLabCut trained (its folder `train`); a "
            "snapshot of either; or a sweep over all folds, whose best recipe is scored on every "
            "labelled frame by the run that did not train on it",
        ),
        SNAPSHOT,
        Setting(
            "output",
            FOLDER,
            "folder for the files: the run folder; for a shuffle, which is not changed, "
            "evaluation/<shuffle>_<snapshot> here",
        ),
    ),
    takes_overrides=True,
    sections=(
        Section(
            "Any key of the run's experiment can be set",
            (
                ("split=kfold split.fold=1", "a different split (split=all: every frame tests)"),
                ("evaluation.pcutoff=0.4", "confidence from which a keypoint counts as found"),
                ("evaluation.examples=12", "worst frames that the page shows of each split"),
                ("detector.snapshot=PATH", "a different detector than the run's best"),
                ("project=PATH", "for a shuffle: where its project is, if not around it"),
                ("device=cpu", "where to compute"),
            ),
        ),
    ),
    examples=(
        "dlcexp evaluate run=runs/mouse/DIR",
        "dlcexp evaluate run=runs/mouse/DIR split=kfold split.fold=1 output=fold1",
    ),
)


def run(run_folder: Path, snapshot: str | None, output: Path | None, overrides: list[str]) -> int:
    """Print the scores of a model, and write the page, the numbers and the records."""
    from rich.console import Console

    from dlcexp.evaluation.score_table import evaluation_table
    from dlcexp.runs.started_from import recorded_start
    from dlcexp.training.scoring import score

    if kind_of_folder(run_folder) == "sweep":
        folder = _output(output or run_folder)
        scored = _score_sweep(run_folder, snapshot, overrides)
    else:
        opened, weights = open_run(run_folder, snapshot, overrides)
        folder = _output(output or _default_output(opened, weights))
        scored = score(opened, snapshot=weights, overrides=overrides, progress=True)
    if scored.out_of_fold:
        print("out of fold: each frame by the run that did not train on it")
    start, chosen_by = recorded_start(scored.run.cfg), _chosen_by(scored)
    Console().print(evaluation_table(scored.evaluation, start, chosen_by))
    settings = {"run": run_folder, "snapshot": snapshot, "output": output}
    words = [f"{name}={value}" for name, value in settings.items() if value is not None]
    for path in _write(folder, scored, [*words, *overrides]):
        print(path)
    return 0


def _score_sweep(folder: Path, snapshot: str | None, overrides: list[str]) -> "Scored":
    """Return the scores of the best recipe of a sweep on every frame, out of fold."""
    from dlcexp.results.read_sweep import read_sweep
    from dlcexp.training.out_of_fold import folds_of, score_out_of_fold

    if given := [*([f"snapshot={snapshot}"] if snapshot else []), *overrides]:
        raise UserError(f"{', '.join(given)}: a sweep is scored as it is; name one of its runs.")
    return score_out_of_fold(folder, folds_of(read_sweep(folder)), progress=True)


def open_run(source: Path, snapshot: str | None, overrides: list[str]) -> "tuple[Run, Path | None]":
    """Return the run at a path and the snapshot to use; None for the best.

    Args:
        source: a run folder, a shuffle, or a snapshot of either.
        snapshot: `best`, an epoch, or a file.
        overrides: may name the project of a shuffle.

    Raises:
        UserError: there is no such run or snapshot.
    """
    from dlcexp.runs.run import Run

    if source.suffix != ".pt" or not source.is_file():
        run = Run.open(source, overrides)
        return run, run.find_snapshot(snapshot) if snapshot else None
    if snapshot:
        raise UserError(f"snapshot: {snapshot!r}, but run={source} names a snapshot already.")
    folder = source.parent.parent if source.parent.name == SNAPSHOTS else source.parent
    return Run.open(folder, overrides), source


def _output(folder: Path) -> Path:
    """Return the folder for the files, or raise a `UserError` where it is a file."""
    if folder.is_file() or folder.suffix in (".json", ".html"):
        raise UserError(f"output: {folder} is a file; name the folder for {PAGE} and {NUMBERS}.")
    return folder


def _default_output(run: "Run", snapshot: Path | None) -> Path:
    """Return the run folder; a folder here for a shuffle, whose own belongs to DeepLabCut."""
    if (run.folder / TREE_FILE).is_file():
        return run.folder
    shuffle = run.folder.resolve().parent.name
    return Path("evaluation", f"{shuffle}_{(snapshot or run.best_snapshot).stem}")


def _write(folder: Path, scored: "Scored", words: list[str]) -> list[Path]:
    """Write the page, the numbers and the records; return their paths."""
    from dlcexp.files import write_json, write_text
    from dlcexp.reports.evaluation_page import evaluation_report

    report = evaluation_report(
        scored.evaluation,
        scored.data,
        scored.run.cfg,
        _facts(scored),
        _commands(scored, words),
        scored.trained,
    )
    tables = {RECORDS: scored.evaluation.records, LABELS_TO_CHECK: report.labels.listed}
    paths = [folder / name for name in (PAGE, NUMBERS, *tables)]
    try:
        write_text(paths[0], report.page)
        write_json(paths[1], report.numbers)
        for name, table in tables.items():
            write_text(folder / name, table.to_csv(index=False, lineterminator="\n"))
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written to: {error.strerror or error}. Choose a different folder: "
            "output=DIR."
        ) from error
    return paths


def _facts(scored: "Scored") -> dict[str, Any]:
    """Return what was evaluated, as the page and the numbers state it."""
    import dlcexp
    from dlcexp.deeplabcut.export import net_type
    from dlcexp.deeplabcut.snapshots import load_snapshot
    from dlcexp.runs.metric_names import CHOSEN_BY
    from dlcexp.runs.started_from import START, recorded_start

    cfg, snapshot = scored.run.cfg, scored.snapshot
    target = str(cfg.split["_target_"]).rpartition(".")[2]
    given = {key: value for key, value in cfg.split.items() if value is not None}
    arguments = ", ".join(f"{key}={value}" for key, value in given.items() if key != "_target_")
    return {
        "run": scored.run.folder.as_posix(),
        "snapshot": snapshot.name if snapshot else None,
        "epoch": load_snapshot(snapshot).epoch if snapshot else None,
        CHOSEN_BY: _chosen_by(scored),
        "detector_snapshot": scored.detector.name if scored.detector else None,
        "net_type": net_type(cfg.model),
        START: recorded_start(cfg),
        "method": str(cfg.method),
        "project": str(cfg.project),
        "split": "out of fold: each frame by the run that did not train on it"
        if scored.out_of_fold
        else f"{target}({arguments})",
        "train_frames": len(scored.data.split.train),
        "val_frames": len(scored.data.split.val),
        "test_frames": len(scored.data.split.test),
        "dlcexp": dlcexp.__version__,
    }


def _chosen_by(scored: "Scored") -> str | None:
    """Return the metric that chose the snapshot of the pose model, if one did."""
    from dlcexp.deeplabcut.snapshots import is_best

    chosen = scored.out_of_fold or (scored.snapshot is not None and is_best(scored.snapshot))
    return str(scored.run.cfg.trainer.key_metric) if chosen else None


def _commands(scored: "Scored", words: list[str]) -> list[tuple[str, str]]:
    from dlcexp.config.overrides import command_line

    folder = f"run={scored.run.folder.as_posix()}"
    again = ("These numbers again", command_line(["evaluate", *words]))
    if scored.out_of_fold:
        return [again]
    return [
        again,
        ("With a different cutoff, and more of the worst frames",
         command_line(["evaluate", folder, "evaluation.pcutoff=0.4", "evaluation.examples=12"])),
        ("Poses in a video", command_line(["predict", folder, "source=VIDEO", "--label"])),
    ]  # fmt: skip
