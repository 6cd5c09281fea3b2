"""`dlcexp best`: the winner of a sweep, and what one does with it."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from dlcexp.commands.report import DIRECTION, METRIC, SWEEP
from dlcexp.commands.settings import FOLDER, Command, Setting, one_of, switch
from dlcexp.errors import UserError
from dlcexp.vocabulary import POSE_CONFIG

if TYPE_CHECKING:
    from dlcexp.results.read_sweep import Job, Sweep

COMMAND = Command(
    name="best",
    about="""
        Prints the winner of a sweep, or of any folder of runs: its recipe, its metric, its folder
        and its weights. Of several repeats it is the best run of the best recipe.
    """,
    settings=(
        SWEEP,
        switch("--export", "print its pytorch_config.yaml for DeepLabCut instead"),
        switch("--install", "make it a new shuffle of its project, as dlcexp install does"),
        Setting(
            "--refit",
            one_of("train", "all", bare="train"),
            "train its recipe once more, for the epochs that were best: on its training and "
            "validation frames (train, the default), or on all labelled frames (all)",
        ),
        Setting("output", FOLDER, "the run folder of --refit, which is resumed if it exists"),
        METRIC,
        DIRECTION,
    ),
    exclusive=("--export", "--install"),
    examples=(
        "dlcexp best multirun/mouse/DIR",
        "dlcexp best multirun/mouse/DIR --export > pytorch_config.yaml",
        "dlcexp best multirun/mouse/DIR --refit=all --install",
    ),
)


def run(
    folder: Path,
    export: bool,
    install: bool,
    refit: str | None,
    output: Path | None,
    metric: str | None,
    direction: str | None,
) -> int:
    """Print the winner, or its `pytorch_config.yaml`; train its recipe once more; install it."""
    from dlcexp.results.read_sweep import read_sweep

    sweep = read_sweep(folder, metric, direction)
    job = sweep.best_job
    if job is None:
        raise UserError(f"{folder} has no completed run with {sweep.objective.metric} yet.")
    if refit and export:
        raise UserError("--refit and --export exclude each other: export the run that it leaves.")
    if output and not refit:
        raise UserError("output: only --refit writes to a folder.")
    if export:
        return _export(job)
    trained = job.folder
    if refit:
        trained, lines = _refit(sweep, refit, output)
    else:
        lines = _winner(sweep, job)
    print("\n".join(lines))
    if install:
        from dlcexp.commands.install import install_run

        print("\n".join(install_run(trained)))
    return 0


def _export(job: "Job") -> int:
    """Print the file that the run left for DeepLabCut."""
    from dlcexp.text import print_file

    path = job.folder / POSE_CONFIG
    try:
        print_file(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return 0


def _refit(sweep: "Sweep", frames: str, output: Path | None) -> tuple[Path, list[str]]:
    """Train the winner's recipe once more; return the run folder, and lines on the run."""
    import sys
    from typing import cast

    from dlcexp.commands.train import log_to_console
    from dlcexp.config.overrides import command_line
    from dlcexp.results.recipe_text import label
    from dlcexp.runs.folder import new_run_folder
    from dlcexp.sweeps.refit import Frames, plan_refit, train_refit

    refit, tree = plan_refit(sweep, cast(Frames, frames))
    folder = output or new_run_folder(tree)
    log_to_console()
    try:
        run = train_refit(refit, tree, folder)
    except KeyboardInterrupt:
        again = ["best", str(sweep.folder), f"--refit={frames}", f"output={folder}"]
        print(f"\nto resume:  {command_line(again)}", file=sys.stderr)
        raise
    which = "all labelled frames" if frames == "all" else "its training and validation frames"
    best = ", ".join(map(str, sorted(refit.best_epochs))) or "unknown"
    recipe = label(sweep.recipe_factors, sweep.best.values) if sweep.best else ""
    return run.folder, [
        f"winner       {recipe}",
        f"refit        on {which}, for {refit.epochs} epochs (the best of its runs: {best})",
        f"expected     {refit.expected}",
        f"run folder   {run.folder}",
        f"weights      {run.best_snapshot}",
    ]


def _winner(sweep: "Sweep", job: "Job") -> list[str]:
    from dlcexp.results.choice_text import choice_notes, expected_error, which_chose_nothing
    from dlcexp.results.recipe_text import (
        better,
        label,
        mean_and_spread,
        start_note,
        verdict,
    )
    from dlcexp.runs.metric_names import part_of
    from dlcexp.text import number

    objective, recipe = sweep.objective, sweep.best
    assert recipe is not None
    score = f"{objective.metric} {mean_and_spread(recipe, objective.metric)}"
    repeats = len(recipe.scores(objective.metric))
    if repeats > 1:
        score += f", n={repeats}; of this run {number(job.metric(objective.metric))}"
    tested = []
    if part_of(objective.metric) == "val":
        metric = objective.metric.replace("val", "test", 1)
        score_on_test = mean_and_spread(recipe, metric)
        tested = [f"on test      {metric} {score_on_test}{which_chose_nothing(sweep)}"]
    if error := expected_error(recipe):
        tested.append(f"out of fold  {error}")
    lines = [
        f"winner       {label(sweep.recipe_factors, recipe.values)}",
        f"metric       {score} ({better(objective)})",
        *tested,
        f"start        {job.start or 'unknown'}",
        f"run folder   {job.folder}",
        f"weights      {job.snapshot or 'none'}",
        f"DeepLabCut   {job.folder / 'pytorch_config.yaml'}",
        f"overrides    {shlex.join(w for w in job.overrides if not w.startswith('hydra.'))}",
    ]
    warning = start_note(sweep) if len(sweep.starts) > 1 else []
    return [*lines, *warning, *verdict(sweep), *choice_notes(sweep)]
