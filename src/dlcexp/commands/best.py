"""`dlcexp best`: the winner of a sweep, and what one does with it."""

import sys
from typing import TYPE_CHECKING

from dlcexp.commands.arguments import wants_help
from dlcexp.errors import UserError

if TYPE_CHECKING:
    from dlcexp.results.read_sweep import Job, Sweep

HELP = """\
dlcexp best DIR [metric=NAME] [direction=WAY] [--export | --install]

Prints the winner of a sweep, or of any folder of runs: its recipe, its metric, its folder and its
weights. Of several repeats it is the best one of the best recipe.

  --export                 print its pytorch_config.yaml for DeepLabCut instead
  --install                make it a new shuffle of its DeepLabCut project (dlcexp install)
  metric=test.rmse         decide by another number of metrics.json than the sweep did
  direction=minimize       minimize or maximize it; as the metric wants where it is not said

  dlcexp best multirun/mouse/DIR --export > pytorch_config.yaml
"""

EXPORT, INSTALL = "--export", "--install"


def run(words: list[str]) -> int:
    if wants_help(words):
        print(HELP, end="")
        return 0
    from dlcexp.commands.report import folder_and_settings, read

    rest = [word for word in words if word not in (EXPORT, INSTALL)]
    folder, settings = folder_and_settings("best", rest, ("metric", "direction"))
    sweep = read(folder, settings)
    job = sweep.best_job
    if job is None:
        raise UserError(f"{folder} has no completed run with {sweep.objective.metric} yet.")
    if EXPORT in words:
        return _export(job)
    lines = _winner(sweep, job)
    if INSTALL in words:
        from dlcexp.commands.install import install_run

        lines += install_run(job.folder)
    print("\n".join(lines))
    return 0


def _export(job: "Job") -> int:
    """Print the file that the run left for DeepLabCut."""
    path = job.folder / "pytorch_config.yaml"
    try:
        sys.stdout.write(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return 0


def _winner(sweep: "Sweep", job: "Job") -> list[str]:
    from dlcexp.results.recipe_text import better, label, mean_and_spread, verdict
    from dlcexp.text import number

    objective, recipe = sweep.objective, sweep.best
    assert recipe is not None
    score = f"{objective.metric} {mean_and_spread(recipe, objective.metric)}"
    repeats = len(recipe.scores(objective.metric))
    if repeats > 1:
        score += f", n={repeats}; of this run {number(job.metric(objective.metric))}"
    lines = [
        f"winner       {label(sweep.recipe_factors, recipe.values)}",
        f"metric       {score} ({better(objective)})",
        f"run folder   {job.folder}",
        f"weights      {job.snapshot or 'none'}",
        f"DeepLabCut   {job.folder / 'pytorch_config.yaml'}",
        f"overrides    {' '.join(w for w in job.overrides if not w.startswith('hydra.'))}",
    ]
    return [*lines, *verdict(sweep)]
