"""Studies over folds or seeds: one for each, as these are repeats, and no values to search among.

A study that tunes inside the training frames of one fold knows nothing of its test frames; with a
study for each fold, the test scores of what they choose are the score of the procedure (nested
cross-validation, see `dlcexp.results.optimism`). The studies are in one storage, and their trials
in one sweep folder, in turns.
"""

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dlcexp.errors import ConfigError, UserError
from dlcexp.results.factors import REPEATS, SPLIT_KEYS
from dlcexp.results.ledger import Job, Ledger, Objective
from dlcexp.runs.metric_names import part_of
from dlcexp.sweeps.experiments import Experiments
from dlcexp.sweeps.plan import check_jobs
from dlcexp.sweeps.space import Choices, Space, samples
from dlcexp.sweeps.study import StudyPlan

logger = logging.getLogger(__name__)


def repeats_of(space: Space) -> dict[str, Space]:
    """Return the space of each combination of the folds and seeds that a space varies, by its name.

    Raises:
        ConfigError: they are an interval, or vary with other keys only.
    """
    axes = [each for each in space.dimensions if each.name in REPEATS]
    for _, group in space.where:
        for each in group:
            if each.name in REPEATS:
                raise ConfigError(each.name, "cannot vary with other keys in a study.")
    lists = []
    for each in axes:
        if not isinstance(each, Choices):
            raise ConfigError(each.name, "list its values, such as 0,1,2: each has its own study.")
        lists.append([each.override(value) for value in each.values])
    others = tuple(each for each in space.dimensions if each not in axes)
    return {
        " ".join(each.text for each in line): replace(
            space, fixed=(*space.fixed, *line), dimensions=others
        )
        for line in (itertools.product(*lists) if lists else ())
    }


class NestedStudies:
    """The trials of several studies, in turns.

    Args:
        space: what varies, with the repeats.
        repeats: the space of each study, by its name; see `repeats_of`.
        experiments, ledger, rerun, objectives, settings: as in `StudyPlan`; each study has
            `n_trials` trials.

    Raises:
        ConfigError: a value that is invalid with the first value of the other keys.
        UserError: the folder is of a version that had one study over all folds.
    """

    def __init__(
        self,
        space: Space,
        repeats: Mapping[str, Space],
        experiments: Experiments,
        ledger: Ledger,
        rerun: str,
        objectives: Sequence[Objective],
        settings: Mapping[str, Any],
    ) -> None:
        jobs = ledger.jobs()
        if any(job.study is None for job in jobs):
            raise UserError(
                f"{ledger.folder} has one study over all folds or seeds, of an earlier version. "
                "hydra.sweep.dir=DIR begins one study for each."
            )
        if not jobs:
            check_jobs(samples(space), experiments, space.swept)
        self._over = [each.name for each in space.dimensions if each.name in REPEATS]
        self._objectives = objectives
        self._plans = {
            name: StudyPlan(part, experiments, ledger, rerun, objectives, settings, name)
            for name, part in repeats.items()
        }
        self.total: int | None = sum(plan.total or 0 for plan in self._plans.values())
        self.at_once: int | None = 1
        self._turn = itertools.cycle(self._plans.values())

    def begin(self) -> None:
        """Open the studies."""
        logger.info("%d studies, one for each of: %s", len(self._plans), ", ".join(self._plans))
        metrics = [each.metric for each in self._objectives if part_of(each.metric) == "test"]
        if metrics and set(self._over) & set(SPLIT_KEYS):
            logger.warning(
                "the studies choose by %s, on the test frames of their folds, so that the scores "
                "are optimistic; with split.val_fraction=0.2 they choose by validation frames",
                ", ".join(metrics),
            )
        for plan in self._plans.values():
            plan.begin()

    def take(self) -> Job | None:
        """Return the next trial of the study whose turn it is."""
        for _ in self._plans:
            job = next(self._turn).take()
            if job is not None:
                return job
        return None

    def ended(self, job: Job) -> None:
        """Report what a job reached to its study.

        Raises:
            ConfigError: it is complete, and does not have a metric that decides.
        """
        self._plans[str(job.study)].ended(job)

    def missing(self) -> int:
        """Return how many trials are still to be taken."""
        return sum(plan.missing() for plan in self._plans.values())
