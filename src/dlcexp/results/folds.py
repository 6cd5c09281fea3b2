"""The folds of a sweep: which jobs are a cross-validation of one recipe, and if it is whole."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcexp.results.read_sweep import Job, Recipe

_KFOLD = "dlcexp.data.splits.KFoldSplit"


def split_of(job: Job) -> Mapping[str, Any]:
    """Return the split of a job; empty where it cannot be read."""
    split = job.tree.get("split")
    return split if isinstance(split, Mapping) else {}


def is_fold(job: Job) -> bool:
    """Return True for a job of `split=kfold`."""
    return split_of(job).get("_target_") == _KFOLD


def cross_validation(job: Job) -> str:
    """Return what the folds of a recipe have in common: the seed, and the split but its fold."""
    settings = {key: value for key, value in split_of(job).items() if key != "fold"}
    return repr((job.tree.get("seed"), sorted(settings.items(), key=str)))


def missing_folds(jobs: Sequence[Job]) -> list[int]:
    """Return the folds that are not among the jobs of a cross-validation."""
    there = {int(split_of(job)["fold"]) for job in jobs}
    return [fold for fold in range(int(split_of(jobs[0])["k"])) if fold not in there]


def whole_cross_validations(recipe: Recipe) -> list[list[Job]]:
    """Return the completed jobs of each cross-validation of a recipe that has all its folds."""
    groups: dict[str, list[Job]] = {}
    for job in recipe.completed:
        if is_fold(job):
            groups.setdefault(cross_validation(job), []).append(job)
    return [jobs for jobs in groups.values() if not missing_folds(jobs)]
