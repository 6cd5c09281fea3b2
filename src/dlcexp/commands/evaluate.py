"""`dlcexp evaluate`: score a finished run, or a shuffle of DeepLabCut, on any split."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcexp.commands.arguments import take_config_dir, take_values, wants_help
from dlcexp.errors import UserError
from dlcexp.files import expanded

if TYPE_CHECKING:
    from dlcexp.runs.run import Run
    from dlcexp.training.scoring import Scored

HELP = """\
dlcexp evaluate run=PATH [snapshot=best] [key=value ...]

Scores a model on train and test frames, prints the table that training ends with, and writes
evaluation.html, a page that works offline (errors by bodypart, error against confidence, PCK
curves, confusion of individuals, worst frames), evaluation.json with all of its numbers, and
evaluation.csv with a row for each labelled keypoint. A top-down run is scored in the boxes that
its best detector finds, and in those of the labels.

  run=PATH                 a run folder; a shuffle that DeepLabCut trained (its folder `train`); or
                           a snapshot of either
  snapshot=best            pose model: best, an epoch (the periodic snapshot of it), or a file
  project=PATH             of a shuffle: where its project is now, if it does not lie in it
  detector.snapshot=PATH   another detector than the run's best
  split=kfold split.fold=1 another split (split=all: every labelled frame tests); any key of the
                           run's tree can be set:
  evaluation.pcutoff=0.4   confidence from which a keypoint counts as found
  evaluation.examples=12   worst frames that the page shows of each split
  device=cpu               where to compute
  output=DIR               where the three files go: the run folder; of a shuffle, which is left
                           alone, evaluation/<shuffle>_<snapshot> here
"""

PAGE, NUMBERS, RECORDS = "evaluation.html", "evaluation.json", "evaluation.csv"


def run(words: list[str]) -> int:
    if wants_help(words):
        print(HELP, end="")
        return 0
    overrides, _ = take_config_dir(words)
    overrides, settings = take_values(overrides, ["run", "snapshot", "output"])
    if "run" not in settings:
        raise UserError("run=PATH is needed: the folder of a finished run.")

    from rich.console import Console

    from dlcexp.evaluation.score_table import evaluation_table
    from dlcexp.training.scoring import score

    source, snapshot = opened(settings, overrides)
    folder = _output(source, snapshot, settings.get("output"))
    scored = score(source, snapshot=snapshot, overrides=overrides, progress=True)
    Console().print(evaluation_table(scored.evaluation))
    for path in _write(folder, scored, words):
        print(path)
    return 0


def opened(settings: dict[str, str], overrides: list[str]) -> "tuple[Run, Path | None]":
    """The run that `run=` means, and the snapshot that `snapshot=` means; None for the best.

    Raises:
        UserError: there is no such run or snapshot.
    """
    from dlcexp.runs.run import Run

    path, word = expanded(settings["run"]), settings.get("snapshot")
    if path.suffix != ".pt" or not path.is_file():
        source = Run.open(path, overrides)
        return source, chosen_snapshot(source.folder, word or "best")
    if word:
        raise UserError(f"snapshot={word}: run={path} names a snapshot already.")
    folder = path.parent.parent if path.parent.name == "snapshots" else path.parent
    return Run.open(folder, overrides), path


def chosen_snapshot(folder: Path, word: str) -> Path | None:
    """The file that `snapshot=` means; None for the best."""
    if word == "best":
        return None
    from dlcexp.deeplabcut.snapshots import all_snapshots, snapshot_folder
    from dlcexp.text import listed

    inside = snapshot_folder(folder)
    if not word.isdecimal():
        named = expanded(word)
        return inside / word if not named.exists() and (inside / word).is_file() else named
    path = inside / f"snapshot-{int(word):03d}.pt"
    if not path.is_file():
        found = listed(each.name for each in all_snapshots(inside))
        raise UserError(f"snapshot: there is no {path.name}; there are {found}.")
    return path


def _output(source: "Run", snapshot: Path | None, word: str | None) -> Path:
    """The folder to write into; that of a shuffle belongs to DeepLabCut.

    Raises:
        UserError: it is a file.
    """
    if word:
        folder = expanded(word)
    elif (source.folder / "config.yaml").is_file():
        folder = source.folder
    else:
        shuffle = source.folder.resolve().parent.name
        weights = snapshot or source.best_snapshot
        folder = Path("evaluation", f"{shuffle}_{weights.stem}")
    if folder.is_file() or folder.suffix in (".json", ".html"):
        raise UserError(f"output: {folder} is a file; name the folder for {PAGE} and {NUMBERS}.")
    return folder


def _write(folder: Path, scored: "Scored", words: list[str]) -> list[Path]:
    """Write the page, the numbers and the records; where they are."""
    from dlcexp.files import write_json, write_text
    from dlcexp.reports.evaluation_page import evaluation_report

    report = evaluation_report(
        scored.evaluation, scored.data, scored.run.cfg, _facts(scored), _commands(scored, words)
    )
    paths = [folder / name for name in (PAGE, NUMBERS, RECORDS)]
    try:
        write_text(paths[0], report.page)
        write_json(paths[1], report.numbers)
        write_text(paths[2], scored.evaluation.records.to_csv(index=False, lineterminator="\n"))
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written to: {error.strerror or error}. Choose another: output=DIR."
        ) from error
    return paths


def _facts(scored: "Scored") -> dict[str, Any]:
    """What was evaluated, as the page and the numbers tell it."""
    import dlcexp
    from dlcexp.deeplabcut.export import net_type
    from dlcexp.deeplabcut.snapshots import load_snapshot

    cfg, snapshot = scored.run.cfg, scored.snapshot
    target = str(cfg.split["_target_"]).rpartition(".")[2]
    arguments = ", ".join(f"{key}={value}" for key, value in cfg.split.items() if key != "_target_")
    return {
        "run": scored.run.folder.as_posix(),
        "snapshot": snapshot.name if snapshot else None,
        "epoch": load_snapshot(snapshot).epoch if snapshot else None,
        "detector_snapshot": scored.detector.name if scored.detector else None,
        "net_type": net_type(cfg.model),
        "method": str(cfg.method),
        "project": str(cfg.project),
        "split": f"{target}({arguments})",
        "train_frames": len(scored.data.split.train),
        "test_frames": len(scored.data.split.test),
        "dlcexp": dlcexp.__version__,
    }


def _commands(scored: "Scored", words: list[str]) -> list[tuple[str, str]]:
    from dlcexp.config.overrides import command_line

    folder = f"run={scored.run.folder.as_posix()}"
    return [
        ("These numbers again", command_line(["evaluate", *words])),
        ("With another cutoff, and more of the worst frames",
         command_line(["evaluate", folder, "evaluation.pcutoff=0.4", "evaluation.examples=12"])),
        ("Poses in a video", command_line(["predict", folder, "source=VIDEO", "--label"])),
    ]  # fmt: skip
