"""`dlcexp install`: a finished run as a new shuffle of its DeepLabCut project."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcexp.commands.settings import PROJECT, RUN, TEXT, Command, Setting, whole
from dlcexp.errors import UserError
from dlcexp.files import expanded

if TYPE_CHECKING:
    from dlcexp.deeplabcut.install import Shuffle
    from dlcexp.project import Labels, Project
    from dlcexp.training import Run

COMMAND = Command(
    name="install",
    about="""
        Makes the run a new shuffle of its DeepLabCut project: its split, its pytorch_config.yaml,
        its best snapshots. DeepLabCut's evaluate_network and analyze_videos then use it like any
        other. No existing shuffle is touched, and nothing is copied that is there already. The
        bottom-up run whose poses a conditional run corrects becomes a shuffle, too, unless it is
        one.
    """,
    settings=(
        RUN,
        Setting("shuffle", whole(1), "its number; the first free one unless given"),
        Setting("project", PROJECT, "where the project is now, if it was moved since"),
        Setting("allow_targets", TEXT, "prefixes of classes of a run that was made elsewhere"),
    ),
    examples=("dlcexp install run=runs/mouse/DIR", "dlcexp install run=runs/mouse/DIR shuffle=7"),
)


def run(
    run_folder: Path, shuffle: int | None, project: str | None, allow_targets: str | None
) -> int:
    """Install a run, and print how DeepLabCut uses it."""
    for line in install_run(run_folder, shuffle, project, allow_targets):
        print(line)
    return 0


def install_run(
    run: "Run | str | Path",
    number: int | None = None,
    project_path: str | None = None,
    allow_targets: str | None = None,
) -> list[str]:
    """Install a run; return lines that state what is where and how DeepLabCut uses it.

    Args:
        run: a finished run, or its folder.
        number: of the shuffle; None: the first free one.
        project_path: where the project is now; None: where it was in training.
        allow_targets: `[mylab.]` for a run of someone else whose classes are to be trusted.

    Raises:
        UserError: the run has no weights, or its project is not what it was trained on.
    """
    from dlcexp.deeplabcut.install import free_number
    from dlcexp.project import DEMO, open_project
    from dlcexp.training import Run

    run = Run.open(run, [f"allow_targets={allow_targets}"] if allow_targets else ())
    where = project_path or str(run.cfg.project)
    if where == DEMO:
        raise UserError(
            "project: the demo project is drawn again on every machine. Draw it into a folder, "
            "dlcexp demo DIR, and give project=DIR."
        )
    project = open_project(where)
    if number is not None:
        free_number(project, number)
    _check(run, project)
    conditions, condition_lines = _conditions(run, project, number)
    shuffle, frames = _install(run, project, number, conditions)
    chosen = f"Shuffles=[{shuffle.number}], trainingsetindex={shuffle.fraction_index}"
    videos = f"shuffle={shuffle.number}, trainingsetindex={shuffle.fraction_index}"
    config = project.source.as_posix()
    return [
        f"shuffle      {shuffle.number} of {project.source}",
        f"model        {shuffle.folder}",
        f"frames       {frames}",
        *condition_lines,
        "in DeepLabCut:",
        f"  deeplabcut.evaluate_network({config!r}, {chosen})",
        f"  deeplabcut.analyze_videos({config!r}, ['VIDEO'], {videos})",
    ]


def _check(run: "Run", project: "Project") -> None:
    """Refuse what DeepLabCut cannot use, and a project that is not what the run was trained on."""
    from dlcexp.deeplabcut.export import cannot_build

    if problem := cannot_build(run.cfg):
        raise UserError(problem)
    _check_same(dict(run.cfg.metadata.labeled_data), dict(project.labeled_data), run.folder)


def _conditions(
    run: "Run", project: "Project", number: int | None
) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the conditions as DeepLabCut records them, and lines about them for the user.

    DeepLabCut's evaluation takes the poses of a shuffle or a file, not those of a run: the
    bottom-up run becomes a shuffle, too, unless there is one with its weights.

    Args:
        run: the conditional run, or any other.
        project: where it is installed.
        number: of the shuffle that the run becomes; None: any.
    """
    from dlcexp.deeplabcut.install import free_number
    from dlcexp.deeplabcut.shuffles import conditions_of, find_copy, find_trained_shuffle
    from dlcexp.training import Run

    key = run.cfg.get("conditions")
    if isinstance(key, int):
        train = find_trained_shuffle(project, key)
    elif key and expanded(key).is_dir():
        other = Run.open(key)
        if expanded(other.cfg.project).resolve() != expanded(run.cfg.project).resolve():
            return None, [
                f"conditions   {key}, of a different project: analyze_videos uses them, "
                "evaluate_network does not"
            ]
        found = find_copy(project, other.best_snapshot)
        if found is None:
            _check(other, project)
            added, _ = _install(other, project, free_number(project, reserved=number or 0))
            found = added.folder / "train"
        train = found
    else:
        return None, []
    conditions = conditions_of(project, train)
    shuffle, index = conditions["shuffle"], conditions["trainset_index"]
    return conditions, [
        f"conditions   the poses of shuffle {shuffle}, which must be evaluated first:",
        f"  deeplabcut.evaluate_network({project.source.as_posix()!r}, Shuffles=[{shuffle}], "
        f"trainingsetindex={index})",
    ]


def _install(
    run: "Run",
    project: "Project",
    number: int | None,
    conditions: dict[str, Any] | None = None,
) -> "tuple[Shuffle, str]":
    """Return the new shuffle, and how many frames it has."""
    from dlcexp.config.build import allowing, build
    from dlcexp.deeplabcut.export import export_config
    from dlcexp.deeplabcut.install import install
    from dlcexp.project import load_labels

    labels = load_labels(project)
    with allowing(run.cfg.get("allow_targets") or []):
        split = build(run.cfg.split, key="split")(labels, project)
    train, test = sorted(split.train + split.val), split.test
    if not test:  # DeepLabCut needs one, which is in one part only
        test = (_last_labelled(labels, train),)
        train = [row for row in train if row not in test]
    snapshots = [run.best_snapshot, run.best_detector_snapshot]
    shuffle = install(
        project,
        labels,
        train,
        test,
        export_config(run.cfg, command=["install", f"run={run.folder}"]),
        [path for path in snapshots if path],
        number,
        conditions,
    )
    val = f" ({len(split.val)} of them chose the snapshot)" if split.val else ""
    if not split.test:
        name = labels.names[test[0]]
        return shuffle, (
            f"{len(split.train)} train; DeepLabCut needs a test frame, and gets {name}, which "
            "trained: its test error is not one"
        )
    return shuffle, f"{len(train)} train{val}, {len(test)} test"


def _last_labelled(labels: "Labels", rows: list[int]) -> int:
    """Return the last of some frames that has a label."""
    import numpy as np

    return next(
        row
        for row in reversed(rows)
        if np.isfinite(labels.keypoints[row]).any() or np.isfinite(labels.unique[row]).any()
    )


def _check_same(before: dict[str, int], now: dict[str, int], run: Path) -> None:
    """Refuse to rebuild a split from different frames: it could test on training frames."""
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
        name = changed[0]
        raise UserError(
            f"{run} was trained on different frames than the project has now ({name}: "
            f"{before.get(name, 0)} then, {now.get(name, 0)} now): which of them were "
            "test frames is unknown."
        )
