"""A sweep whose next job depends on what earlier ones reached: trials of an Optuna study.

A trial is a job. One that was cut off, or that failed and is to run again, becomes a further trial
with the same values, which is resumed in the folder of its job.
"""

import logging
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from dlcexp.config.overrides import Override
from dlcexp.config.resolvers import tree_hash
from dlcexp.errors import ConfigError, UserError
from dlcexp.results.ledger import Job, Ledger, Objective
from dlcexp.results.objective import reached, unmeasured
from dlcexp.runs.status import COMPLETED, FAILED, MISTAKE, PRUNED, QUEUED, Status, write_status
from dlcexp.sweeps.experiments import Experiments
from dlcexp.sweeps.optuna_parts import (
    build_pruner,
    build_sampler,
    is_exhaustive,
    open_storage,
    quiet,
    study_name,
)
from dlcexp.sweeps.plan import check_jobs, is_missing, save_tree
from dlcexp.sweeps.space import Choices, Dimension, Space, drawn, refuse_intervals, samples

logger = logging.getLogger(__name__)

# What a trial remembers: the number of its job, that it is not its first, or that its values are
# those of another trial.
_JOB, _AGAIN, _SAME = "job", "again", "same_as"

# What a study remembers: the sweep that it belongs to.
_SWEEP = "sweep"

# Known values in a row after which new ones are drawn at random.
_REPEATS = 3


class StudyPlan:
    """The trials of a study, asked for as processes become free.

    Args:
        space: what varies.
        experiments: composes jobs.
        ledger: knows the jobs of an earlier start.
        rerun: which of those run again: never, failed or always.
        objectives: what decides.
        settings: `hydra.sweeper` as a plain mapping.
        repeat: the fold or seed of one of several studies, as in `NestedStudies`; None: the only
            one.

    Raises:
        ConfigError: a value that is invalid with the first value of the other keys.
    """

    def __init__(
        self,
        space: Space,
        experiments: Experiments,
        ledger: Ledger,
        rerun: str,
        objectives: Sequence[Objective],
        settings: Mapping[str, Any],
        repeat: str | None = None,
    ) -> None:
        self._repeat_name = repeat
        settings = {**settings, "study_name": study_name(settings["study_name"], repeat)}
        self._space, self._experiments, self._ledger = space, experiments, ledger
        self._rerun, self._objectives, self._settings = rerun, objectives, settings
        self.total: int | None = int(settings["n_trials"])
        self.at_once: int | None = 1
        self._jobs = {job.number: job for job in ledger.jobs() if job.study == repeat}
        self._again: list[Job] = []
        self._exhausted = False
        self._repeats = 0
        self._tried = {job.overrides for job in self._jobs.values()}
        if is_exhaustive(settings["sampler"]):
            refuse_intervals(space, "hydra/sweeper/sampler=grid")
        if not self._jobs and repeat is None:
            check_jobs(samples(space), experiments, space.swept)

    def begin(self) -> None:
        """Open the study, and see which trials were cut off."""
        settings = self._settings
        with quiet():
            storage = open_storage(self._ledger.folder, settings["storage"])
            several = len(self._objectives) > 1
            none = {"_target_": "optuna.pruners.NopPruner"}
            self._study = optuna.create_study(
                study_name=settings["study_name"],
                storage=storage,
                directions=[StudyDirection[each.direction.upper()] for each in self._objectives],
                pruner=build_pruner(none if several else settings["pruner"]),
                load_if_exists=True,
            )
            self._claim()
            trials = self._study.get_trials(deepcopy=False)
            self._study.sampler = build_sampler(settings["sampler"], self._offset(len(trials)))
            for job in self._jobs.values():
                self._take_up(job, trials)

    def _claim(self) -> None:
        """Refuse a study that another sweep has begun; the same sweep may run in several folders.

        Raises:
            ConfigError: it is of another one.
        """
        record = self._ledger.record()
        if record is None:
            return
        owner = self._study.user_attrs.get(_SWEEP)
        if owner is None:
            self._study.set_user_attr(_SWEEP, record.id)
        elif owner != record.id:
            raise ConfigError(
                "hydra.sweeper.study_name",
                f"{self._study.study_name!r} is a study of another sweep in that storage. "
                "Choose a different name, hydra.sweeper.study_name=NAME.",
            )
        own = {job.trial for job in self._jobs.values()}
        foreign = sum(trial.number not in own for trial in self._study.get_trials(deepcopy=False))
        if foreign and self._settings["storage"] is not None:
            logger.info("%d trials of the study lie in other folders", foreign)

    def _offset(self, trials: int) -> int:
        """Return where random numbers continue, not the same in folders that share a storage."""
        if self._settings["storage"] is None:
            return trials
        return trials + zlib.crc32(str(self._ledger.folder.resolve()).encode())

    def take(self) -> Job | None:
        """Return the next trial as a job: one that was cut off, or one that the study asks for."""
        with quiet():
            if self._again:
                return self._repeated(self._again.pop(0))
            while self.missing():
                job = self._next()
                if job is not None:
                    return job
        return None

    def ended(self, job: Job) -> None:
        """Report what a job reached to the study.

        Raises:
            ConfigError: it is complete, and does not have a metric that decides.
        """
        with quiet():
            self._report(job)

    def missing(self) -> int:
        """Count trials that are still to be asked for, and jobs that are to run again."""
        if self._exhausted:
            return len(self._again)
        trials = self._study.get_trials(deepcopy=False)
        repeated = (_AGAIN, _SAME)
        begun = sum(not any(name in trial.user_attrs for name in repeated) for trial in trials)
        return max(0, (self.total or 0) - begun) + len(self._again)

    def _take_up(self, job: Job, trials: Sequence[optuna.trial.FrozenTrial]) -> None:
        """Report a job that ended unnoticed to the study; queue one that is missing."""
        status = self._ledger.status(job)
        missing = is_missing(status, self._rerun)
        if job.trial is not None and not trials[job.trial].state.is_finished():
            if missing:
                self._study.tell(job.trial, state=TrialState.FAIL)
            else:
                self._report(job)
        if missing:
            self._again.append(job)
            write_status(self._ledger.path(job), Status(QUEUED))

    def _repeated(self, job: Job) -> Job:
        """Return a further trial with the values of a job."""
        before = self._study.get_trials(deepcopy=False)[job.trial or 0]
        fixed = dict(before.params)
        self._study.enqueue_trial(fixed, user_attrs={_JOB: job.number, _AGAIN: True})
        trial = self._study.ask()
        self._suggested(trial)
        again = replace(job, trial=trial.number)
        self._ledger.add(again)
        return again

    def _next(self) -> Job | None:
        """Return a new trial; None where it need not run: its values are known or invalid.

        Samplers come back to the values that they know to be good. Of a space with few values,
        those that are left are then drawn at random, until there are none.
        """
        if self._repeats >= _REPEATS and not self._draw():
            logger.info("there are no further values to try")
            self._exhausted = True
            return None
        trial = self._study.ask()
        overrides = [*self._space.fixed, *self._suggested(trial)]
        typed = tuple(map(str, overrides))
        self._tried.add(typed)
        twin = self._known(lambda job: job.overrides == typed)
        if twin is not None:
            self._repeat(trial, twin)
            return None
        number = max((job.number for job in self._ledger.jobs()), default=-1) + 1
        try:
            tree = self._experiments.tree(overrides)
        except UserError as error:
            job = Job(number, str(number), typed, "", trial.number, self._repeat_name)
            self._add(job)
            write_status(self._ledger.path(job), Status(FAILED, str(error), MISTAKE))
            self._report(job)
            logger.info("trial %d is invalid: %s", trial.number, error)
            return None
        digest = tree_hash(tree)
        twin = self._known(lambda job: job.hash == digest)
        if twin is not None:
            self._repeat(trial, twin)
            return None
        self._repeats = 0
        job = Job(number, str(number), typed, digest, trial.number, self._repeat_name)
        save_tree(self._ledger, job, tree)
        write_status(self._ledger.path(job), Status(QUEUED))
        self._add(job)
        return job

    def _repeat(self, trial: optuna.Trial, twin: Job) -> None:
        """Report for known values what their job reached, if that is completed."""
        trial.set_user_attr(_SAME, twin.number)
        self._report(replace(twin, trial=trial.number))
        self._repeats += 1

    def _draw(self) -> bool:
        """Have the next trial be one of new values, drawn at random; whether there are any."""
        known = self._tried
        for overrides in drawn(self._space, len(known) + 1, seed=len(known)):
            if tuple(map(str, overrides)) not in known:
                dimensions = [*self._space.dimensions, *self._space.following(overrides)]
                values = {override.left_side: override.value_text for override in overrides}
                fixed = {each.key: parameter(each, values[each.key]) for each in dimensions}
                self._study.enqueue_trial(fixed)
                return True
        return False

    def _known(self, is_same: Callable[[Job], bool]) -> Job | None:
        return next((job for job in self._jobs.values() if is_same(job)), None)

    def _add(self, job: Job) -> None:
        self._ledger.add(job)
        self._jobs[job.number] = job

    def _suggested(self, trial: optuna.Trial) -> list[Override]:
        first = [_suggest(trial, each) for each in self._space.dimensions]
        return first + [_suggest(trial, each) for each in self._space.following(first)]

    def _report(self, job: Job) -> None:
        if job.trial is None:
            return
        status = self._ledger.status(job)
        values = reached(self._ledger.path(job), self._objectives)
        problem = unmeasured(self._ledger.path(job), self._objectives)
        if status.status == COMPLETED and problem:
            raise ConfigError("sweep.metric", f"{problem} The study would learn nothing.")
        try:
            if status.status == PRUNED:
                self._study.tell(job.trial, state=TrialState.PRUNED)
            elif status.status == COMPLETED and not any(map(math.isnan, values)):
                self._study.tell(job.trial, values)
            else:
                self._study.tell(job.trial, state=TrialState.FAIL)
        except RuntimeError as error:
            if "stop" not in str(error):
                raise
            self._exhausted = True  # a sampler of all combinations has had the last


def parameter(dimension: Dimension, value: str) -> str | int | float:
    """Return the value of an override as Optuna has it."""
    if isinstance(dimension, Choices):
        return value
    return int(float(value)) if dimension.integer else float(value)


def _suggest(trial: optuna.Trial, dimension: Dimension) -> Override:
    if isinstance(dimension, Choices):
        return dimension.override(trial.suggest_categorical(dimension.key, dimension.values))
    key, low, high, log = dimension.key, dimension.low, dimension.high, dimension.log
    if dimension.integer:
        return dimension.override(trial.suggest_int(key, int(low), int(high), log=log))
    return dimension.override(trial.suggest_float(key, low, high, log=log))
