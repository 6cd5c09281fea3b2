"""`dlcexp install`: a finished run as a new shuffle of its DeepLabCut project."""

from pathlib import Path

from dlcexp.commands.arguments import take_values, wants_help
from dlcexp.errors import UserError

HELP = """\
dlcexp install run=DIR [shuffle=N] [project=PATH]

Makes the run a new shuffle of its DeepLabCut project: its split, its pytorch_config.yaml, its best
snapshots. DeepLabCut's evaluate_network and analyze_videos then use it as their own. No existing
shuffle is touched, and nothing is copied that is there already.

  run=DIR                  a run folder
  shuffle=N                its number; the first free one unless given
  project=PATH             where the project is now, if it was moved since
"""


def run(words: list[str]) -> int:
    if wants_help(words):
        print(HELP, end="")
        return 0
    rest, settings = take_values(words, ["run", "shuffle", "project"])
    if rest:
        raise UserError(f"install takes run=, shuffle= and project=, not {rest[0]!r}.")
    if "run" not in settings:
        raise UserError("run=DIR is needed: the folder of a finished run.")
    number = settings.get("shuffle", "")
    if number and not number.isdecimal():
        raise UserError(f"shuffle: {number!r} is not a whole number from 1.")
    for line in install_run(
        Path(settings["run"]), int(number) if number else None, settings.get("project")
    ):
        print(line)
    return 0


def install_run(
    folder: Path, number: int | None = None, project_path: str | None = None
) -> list[str]:
    """Install a run, and say what is where and how DeepLabCut uses it.

    Raises:
        UserError: the run has no weights, or its project is not what it was trained on.
    """
    from dlcexp.config import build
    from dlcexp.config.build import allowing
    from dlcexp.deeplabcut.install import install
    from dlcexp.deeplabcut.labels import load_labels
    from dlcexp.deeplabcut.project import DEMO, open_project
    from dlcexp.deeplabcut.pytorch_config import cannot_build, export_config
    from dlcexp.training import Run

    run = Run.open(folder)
    where = project_path or str(run.cfg.project)
    if where == DEMO:
        raise UserError(
            "project: the demo is drawn anew for everyone. Draw one of your own, dlcexp demo DIR, "
            "and say project=DIR."
        )
    if problem := cannot_build(run.cfg):
        raise UserError(problem)
    project = open_project(where)
    _check_same(dict(run.cfg.metadata.labeled_data), dict(project.labeled_data), folder)
    labels = load_labels(project)
    with allowing(run.cfg.get("allow_targets") or []):
        split = build(run.cfg.split, key="split")(labels, project)
    snapshots = [run.best_snapshot, run.best_detector_snapshot]
    shuffle = install(
        project,
        labels,
        split.train,
        split.test,
        export_config(run.cfg, command=["install", f"run={folder}"]),
        [path for path in snapshots if path],
        number,
    )
    chosen = f"Shuffles=[{shuffle.number}], trainingsetindex={shuffle.fraction_index}"
    videos = f"shuffle={shuffle.number}, trainingsetindex={shuffle.fraction_index}"
    config = project.source.as_posix()
    return [
        f"shuffle      {shuffle.number} of {project.source}",
        f"model        {shuffle.folder}",
        f"frames       {len(split.train)} train, {len(split.test)} test",
        "in DeepLabCut:",
        f"  deeplabcut.evaluate_network({config!r}, {chosen})",
        f"  deeplabcut.analyze_videos({config!r}, ['VIDEO'], {videos})",
    ]


def _check_same(before: dict[str, int], now: dict[str, int], run: Path) -> None:
    """Refuse to rebuild a split from other frames: test frames would have trained."""
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
        name = changed[0]
        raise UserError(
            f"{run} was trained on other frames than the project has now ({name}: "
            f"{before.get(name, 0)} then, {now.get(name, 0)} now), so that which of them were test "
            "frames is not known."
        )
