"""`dlcexp best`: the winner of a sweep, and what one does with it."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from dlcexp.commands.report import DIRECTION, METRIC, SWEEP
from dlcexp.commands.settings import Command, switch
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
        METRIC,
        DIRECTION,
    ),
    exclusive=("--export", "--install"),
    examples=(
        "dlcexp best multirun/mouse/DIR",
        "dlcexp best multirun/mouse/DIR --export > pytorch_config.yaml",
    ),
)


def run(
    folder: Path,
    export: bool,
    install: bool,
    metric: str | None,
    direction: str | None,
) -> int:
    """Print the winner, or its `pytorch_config.yaml`; install it."""
    from dlcexp.results.read_sweep import read_sweep

    sweep = read_sweep(folder, metric, direction)
    job = sweep.best_job
    if job is None:
        raise UserError(f"{folder} has no completed run with {sweep.objective.metric} yet.")
    if export:
        return _export(job)
    lines = _winner(sweep, job)
    if install:
        from dlcexp.commands.install import install_run

        lines += install_run(job.folder)
    print("\n".join(lines))
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


def _winner(sweep: "Sweep", job: "Job") -> list[str]:
    from dlcexp.results.choice_text import choice_notes, expected_error
    from dlcexp.results.factors import SPLIT_KEYS
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
        # Over folds, a test frame of one is a validation frame of another.
        unseen = "" if any(f.key in SPLIT_KEYS for f in sweep.factors) else ", which chose nothing"
        tested = [f"on test      {metric} {mean_and_spread(recipe, metric)}{unseen}"]
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
