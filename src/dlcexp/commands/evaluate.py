"""`dlcexp evaluate`: score a finished run again."""

from pathlib import Path

from dlcexp.commands.arguments import take_config_dir, take_values, wants_help
from dlcexp.errors import UserError

HELP = """\
dlcexp evaluate run=DIR [snapshot=best] [key=value ...]

Scores a run's train and test frames and prints the table that training ends with. A top-down run
is scored in the boxes that its best detector finds, and in those of the labels.

  run=DIR                  a run folder
  snapshot=best            pose model: best, an epoch (the periodic snapshot of it), or a file
  detector.snapshot=PATH   another detector than the run's best
  split=kfold split.fold=1 another split; any key of the run's tree can be set:
  evaluation.pcutoff=0.4   confidence from which a keypoint counts as found
  device=cpu               where to compute
  output=FILE              write the numbers as JSON, too; the run folder itself is left alone
"""


def run(words: list[str]) -> int:
    if wants_help(words):
        print(HELP, end="")
        return 0
    overrides, _ = take_config_dir(words)
    overrides, settings = take_values(overrides, ["run", "snapshot", "output"])
    if "run" not in settings:
        raise UserError("run=DIR is needed: the folder of a finished run.")

    from rich.console import Console

    from dlcexp.evaluation.evaluate import flatten
    from dlcexp.evaluation.table import evaluation_table
    from dlcexp.training import Run, evaluate
    from dlcexp.training.run import write_json

    finished = Run.open(settings["run"])
    snapshot = chosen_snapshot(finished.folder, settings.get("snapshot", "best"))
    evaluation = evaluate(finished, snapshot=snapshot, overrides=overrides, progress=True)
    Console().print(evaluation_table(evaluation))
    if "output" in settings:
        write_json(Path(settings["output"]).expanduser(), flatten(evaluation))
    return 0


def chosen_snapshot(folder: Path, word: str) -> Path | None:
    """The file that `snapshot=` means; None for the best."""
    if word == "best":
        return None
    if not word.isdecimal():
        return Path(word).expanduser()
    from dlcexp.deeplabcut.snapshots import list_snapshots

    path = folder / "snapshots" / f"snapshot-{int(word):03d}.pt"
    if not path.is_file():
        found = [each.name for each in list_snapshots(path.parent)]
        raise UserError(
            f"snapshot: there is no {path.name}; there are {', '.join(found) or 'none'}."
        )
    return path
