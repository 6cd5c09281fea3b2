"""The winning recipe trained once more, on frames that were held out while it was chosen.

It trains for as many epochs as were best, the median over its runs, and its schedule is fitted to
that number, so that it comes to its end. Nothing is chosen: the last snapshot counts. The error
that it can be expected to have is known from the runs of the recipe, and not from frames that it
has trained on.
"""

import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig

from dlcexp.composition import rewritten
from dlcexp.config.options import conf_folder
from dlcexp.config.overrides import Override
from dlcexp.errors import UserError
from dlcexp.files import write_json
from dlcexp.results.choice_text import expected_error, tested
from dlcexp.results.ledger import Ledger
from dlcexp.results.read_sweep import Job, Recipe, Sweep
from dlcexp.runs.folder import RunFolder, anchored
from dlcexp.runs.run import Run
from dlcexp.sweeps.experiments import Experiments
from dlcexp.training import train
from dlcexp.training.starts import settled
from dlcexp.trees import select

Frames = Literal["train", "all"]

RECORD = "refit.json"


@dataclass(frozen=True)
class Refit:
    """A recipe that is to be trained once more.

    Attributes:
        winner: folder of the run that it repeats.
        frames: `train`: its training and validation frames; `all`: every labelled frame.
        epochs: length of training.
        best_epochs: those of the best snapshots of its runs.
        expected: the error that it can be expected to have, as text.
        overrides: what it is composed from.
    """

    winner: str
    frames: Frames
    epochs: int
    best_epochs: tuple[int, ...]
    expected: str
    overrides: tuple[str, ...]


def plan_refit(sweep: Sweep, frames: Frames) -> tuple[Refit, DictConfig]:
    """Return how the winner of a sweep is trained once more, and the tree of that run.

    Raises:
        UserError: nothing is completed, or its options have been edited since.
    """
    job, recipe = sweep.best_job, sweep.best
    if job is None or recipe is None:
        raise UserError(f"{sweep.folder} has no completed run with {sweep.objective.metric} yet.")
    experiments = _experiments(sweep.folder)
    own = [each for each in rewritten(job.overrides) if not each.is_hydras]
    _check_unchanged(experiments.tree(own), job)
    best = {key: _best_epochs(recipe, key) for key in ("epochs", "detector.epochs")}
    lengths = [Override(key, round(statistics.median(each))) for key, each in best.items() if each]
    changes = [*lengths, *_all_train(job, frames)]
    changes += _nothing_chooses(job)
    gone = {each.name for each in changes}
    kept = [
        each
        for each in own
        if each.name not in gone and (frames == "train" or each.key.partition(".")[0] != "split")
    ]
    overrides = [*kept, *changes]
    overrides += _milestones(experiments.tree(overrides), job)
    # It starts from what its runs have started from, whatever is available now.
    tree = DictConfig(settled(experiments.tree(overrides), Ledger(sweep.folder).starts()))
    refit = Refit(
        job.folder.as_posix(),
        frames,
        int(tree.epochs),
        best["epochs"],
        expected_error(recipe) or tested(sweep, recipe),
        tuple(each.text for each in overrides),
    )
    return refit, tree


def train_refit(refit: Refit, tree: DictConfig, folder: Path) -> Run:
    """Train into a run folder, which a repeated call resumes, and record there what it is."""
    run = train(tree, folder, overrides=refit.overrides)
    write_json(run.folder / RECORD, asdict(refit))
    return run


def _experiments(folder: Path) -> Experiments:
    """Return what composes the jobs of a folder, from the options as they were for a sweep."""
    ledger = Ledger(folder)
    if ledger.record() is not None:
        return Experiments(*ledger.config_folders)
    return Experiments(conf_folder(), None)


def _check_unchanged(tree: dict[str, Any], job: Job) -> None:
    """Refuse a recipe that its overrides do not give any more, as options have been edited."""
    now = anchored(DictConfig(tree))
    if differing := RunFolder(job.folder).differences(now):
        raise UserError(
            f"{job.folder} cannot be composed again: {'; '.join(differing[:3])}. Its options or "
            "its project have been edited since."
        )


def _best_epochs(recipe: Recipe, key: str) -> tuple[int, ...]:
    """Return the epoch of the snapshot that was scored of each run, for a network by its key."""
    name = key.removesuffix("s")
    return tuple(int(job.metrics[name]) for job in recipe.completed if name in job.metrics)


def _all_train(job: Job, frames: Frames) -> list[Override]:
    """Return overrides by which validation frames train, or all labelled frames."""
    if frames == "all":
        return [Override("split", "all"), Override("split.train", True)]
    keys = [key for key in ("val_fraction", "val") if key in (job.tree.get("split") or {})]
    return [Override(f"split.{key}", None) for key in keys]


def _milestones(tree: dict[str, Any], job: Job) -> list[Override]:
    """Return overrides by which milestones in epochs keep their place in a shorter schedule.

    Schedules that are composed for the number of epochs are whole already.
    """
    scaled = []
    for parent in ("", "detector."):
        before, now = (select(each, f"{parent}scheduler.milestones") for each in (job.tree, tree))
        if isinstance(now, list) and before == now:
            share = select(tree, f"{parent}epochs") / select(job.tree, f"{parent}epochs")
            places = [max(1, round(share * milestone)) for milestone in now]
            if len(set(places)) == len(places):
                scaled.append(Override(f"{parent}scheduler.milestones", places))
    return scaled


def _nothing_chooses(job: Job) -> list[Override]:
    keys = ["trainer.key_metric", "trainer.early_stopping.patience"]
    if job.tree.get("detector"):
        keys.append("detector.key_metric")
    # It is not compared with other runs, and the key has a value all the same.
    return [*(Override(key, None) for key in keys), Override("sweep.metric", "test.rmse")]
