"""`report.html`: a sweep explained on one page that needs no other file and no network."""

from pathlib import Path

import cv2

from dlcexp.config.overrides import Override, command_line
from dlcexp.deeplabcut.export import cannot_build
from dlcexp.errors import ProjectError
from dlcexp.files import write_text
from dlcexp.reports.html_page import Picture, embedded_picture, render
from dlcexp.reports.plotly_charts import embedded
from dlcexp.reports.sweep_charts import (
    importance_chart,
    label_curve_chart,
    learning_curves,
    marginal_charts,
    parallel_coordinates,
    speed_chart,
)
from dlcexp.reports.sweep_tables import jobs_table, optimism_table, recipes_table
from dlcexp.results import recipe_text
from dlcexp.results.choice_text import (
    chosen_in_folds,
    how_chosen,
    out_of_fold_note,
    tested,
    which_chose_nothing,
)
from dlcexp.results.read_sweep import Job, Recipe, Sweep
from dlcexp.runs.metric_names import part_of
from dlcexp.runs.status import COMPLETED
from dlcexp.text import number
from dlcexp.vocabulary import ENVIRONMENT, FIGURES, LOG
from dlcexp.yaml_files import read_json

# Pictures of a run, in this order.
_PICTURES = ("best-1", "worst-1", "worst-2", "errors")
# Lines of a log that are shown of a failure.
_LOG_LINES = 25


def write_report(sweep: Sweep, path: Path) -> None:
    """Write the page, whole or not at all."""
    write_text(path, report_page(sweep))


def report_page(sweep: Sweep) -> str:
    """Render the whole page as HTML, plotly's script inside."""
    worst = _worst(sweep)
    return render(
        "report.html.jinja",
        sweep=sweep,
        recipe_text=recipe_text,
        number=number,
        best=sweep.best,
        best_job=sweep.best_job,
        verdict=recipe_text.verdict(sweep),
        choice_notes=[*_tested(sweep), *out_of_fold_note(sweep), *how_chosen(sweep)],
        optimism=optimism_table(sweep),
        chosen_in_folds=chosen_in_folds(sweep),
        recipes=recipes_table(sweep),
        jobs=jobs_table(sweep),
        repeated=any(len(recipe.jobs) > 1 for recipe in sweep.recipes),
        importance=embedded(importance_chart(sweep)),
        marginals=[embedded(chart) for chart in marginal_charts(sweep)],
        labels_note=recipe_text.labels_note(sweep),
        label_curve=embedded(label_curve_chart(sweep)),
        curves=[embedded(chart) for chart in learning_curves(sweep)],
        parallel=embedded(parallel_coordinates(sweep)),
        speed=embedded(speed_chart(sweep)),
        worst_job=worst,
        pictures=[(job, pictures(job)) for job in (sweep.best_job, worst) if job],
        failures=[(job, _last_lines(job.folder / LOG)) for job in sweep.failed],
        commands=commands(sweep),
        environment=_environment(sweep.best_job),
    )


def _tested(sweep: Sweep) -> list[str]:
    """Return the scores of the best recipe on test frames, if other frames have chosen it."""
    if sweep.best is None or part_of(sweep.objective.metric) != "val":
        return []
    return [f"{tested(sweep, sweep.best)}{which_chose_nothing(sweep)}."]


def commands(sweep: Sweep) -> list[tuple[str, str]]:
    """Return possible next steps: description and command; DeepLabCut's if it has the model."""
    found = []
    if sweep.command:
        found.append(("Run this sweep again; what is complete is not repeated", sweep.command))
    job = sweep.best_job
    if job is None:
        return found
    folder = job.folder.as_posix()
    overrides = map(Override.with_text, job.overrides)
    found += [
        ("Train the winner alone", command_line(each for each in overrides if not each.is_hydras)),
        ("Its numbers again, with another threshold, split or snapshot",
         command_line(["evaluate", f"run={folder}", "evaluation.pcutoff=0.4"])),
    ]  # fmt: skip
    if _fits_deeplabcut(job):
        exported = command_line(["best", sweep.folder.as_posix(), "--export"])
        found += [
            ("Its pytorch_config.yaml for DeepLabCut", f"{exported} > pytorch_config.yaml"),
            ("Make it a new shuffle of its DeepLabCut project",
             command_line(["install", f"run={folder}"])),
        ]  # fmt: skip
    start = [f"project={job.tree.get('project', 'demo')}", f"weights={folder}"]
    return [*found, ("Continue from its weights", command_line(start))]


def _fits_deeplabcut(job: Job) -> bool:
    """Return True if DeepLabCut can build the network of a job, whose tree may be damaged."""
    try:
        return "model" not in job.tree or cannot_build(job.tree) is None
    except (AttributeError, TypeError, KeyError, ValueError):
        return False


def pictures(job: Job) -> list[Picture]:
    """Return example frames and plots of a run, small enough for a page."""
    found = []
    for name in _PICTURES:
        path = job.folder / FIGURES / f"{name}.png"
        image = cv2.imread(str(path)) if path.is_file() else None
        if image is None:
            continue
        found.append(embedded_picture(image, _caption(name)))
    return found


def _caption(name: str) -> str:
    if name == "errors":
        return "error of each bodypart"
    rank, _, place = name.partition("-")
    return f"{rank} test frame" if place == "1" else f"{rank} test frame, {place}"


def _worst(sweep: Sweep) -> Job | None:
    """Return the last of the completed jobs, on the split of the best where there is one."""
    best = sweep.best_job
    recipes = [recipe for recipe in sweep.recipes if recipe.scores(sweep.objective.metric)]
    if best is None or not recipes:
        return None
    if len(recipes) == 1:
        done = [job for job in sweep.ranked if job.status == COMPLETED]
        return done[-1] if len(done) > 1 else None
    return _on_split_of(best, recipes[-1], sweep)


def _on_split_of(best: Job, recipe: Recipe, sweep: Sweep) -> Job:
    keys = [factor.key for factor in sweep.repeat_factors]
    same = (job for job in recipe.completed if all(job.values[k] == best.values[k] for k in keys))
    return next(same, recipe.completed[-1])


def _last_lines(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-_LOG_LINES:])


def _environment(job: Job | None) -> list[tuple[str, str]]:
    """With what the winner was trained."""
    if job is None:
        return []
    try:
        content = read_json(job.folder / ENVIRONMENT)
        packages = content.pop("packages", {})
        return [(str(name), str(value)) for name, value in {**content, **packages}.items() if value]
    except (ProjectError, TypeError):
        return []
