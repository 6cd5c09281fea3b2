"""A sweep whose next job depends on what earlier ones reached: trials of an Optuna study.

A trial is a job. One that was cut off, or that failed and is to run again, becomes a further trial
with the same values, which goes on in the folder of its job.
"""

import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from omegaconf import OmegaConf
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from optuna.trial import TrialState

from dlcexp.config.build import allowing, build
from dlcexp.config.resolvers import tree_hash
from dlcexp.errors import ConfigError, UserError
from dlcexp.status import COMPLETED, FAILED, MISTAKE, PRUNED, QUEUED, Status, write_status
from dlcexp.sweeps.ledger import Job, Ledger, Objective
from dlcexp.sweeps.objective import reached
from dlcexp.sweeps.plan import check_jobs, is_missing, save_tree
from dlcexp.sweeps.space import Choices, Dimension, Space, Word, one_at_a_time

if TYPE_CHECKING:
    from dlcexp.sweeps.sweep import Experiments

logger = logging.getLogger(__name__)

# Storage of a study by default, in the folder of its sweep.
JOURNAL = "study.journal"

# What a trial remembers: the number of its job, and that it is not its first.
_JOB, _AGAIN = "job", "again"

# Random numbers of a study that goes on do not repeat those of its beginning.
_STRIDE = 1_000_003


def open_storage(folder: Path, url: str | None) -> optuna.storages.BaseStorage:
    """The storage of a study: an Optuna URL, or the journal file of a sweep's folder.

    Raises:
        ConfigError: the URL cannot be opened.
    """
    if url is None:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        path = str(folder / JOURNAL)
        # The default lock is a symbolic link, which not every system has.
        return JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
    try:
        return optuna.storages.get_storage(url)
    except Exception as error:  # of any database driver
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError("hydra.sweeper.storage", f"cannot be opened ({first}).") from error


class TrialWatch:
    """Reports the evaluations of a job to its trial, in whatever process the job runs.

    Args:
        folder: of the sweep.
        settings: `hydra.sweeper`.
        number: of the trial.
        metric: what is reported.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], number: int, metric: str) -> None:
        self._metric = metric
        with quiet():
            storage = open_storage(folder, settings["storage"])
            study = optuna.load_study(
                study_name=settings["study_name"],
                storage=storage,
                pruner=build_pruner(settings["pruner"]),
            )
            trial_id = storage.get_trial_id_from_study_id_trial_number(
                storage.get_study_id_from_name(settings["study_name"]), number
            )
            self._trial = optuna.trial.Trial(study, trial_id)
            self._reported = set(storage.get_trial(trial_id).intermediate_values)

    def __call__(self, epoch: int, metrics: Mapping[str, float]) -> str | None:
        """Report an evaluation; the reason where training should stop."""
        value = metrics.get(self._metric)
        if value is None or math.isnan(value):
            return None
        with quiet():
            if epoch not in self._reported:
                self._trial.report(value, epoch)
            if self._trial.should_prune():
                return f"pruned after epoch {epoch}, with {self._metric} {value:.4g}"
        return None


def build_sampler(node: Any, trials: int) -> optuna.samplers.BaseSampler:
    """The sampler of a study that has `trials` behind it.

    Raises:
        ConfigError: there is no such sampler, or it has no such argument.
    """
    settings = {**node}
    if settings.get("seed") is not None:
        settings["seed"] = (int(settings["seed"]) + trials * _STRIDE) % 2**32
    with allowing(["optuna."]), quiet():
        sampler: optuna.samplers.BaseSampler = build(settings, key="hydra.sweeper.sampler")
    return sampler


def build_pruner(node: Any) -> optuna.pruners.BasePruner:
    """The pruner of a study.

    Raises:
        ConfigError: there is no such pruner, or it has no such argument.
    """
    with allowing(["optuna."]):
        pruner: optuna.pruners.BasePruner = build({**node}, key="hydra.sweeper.pruner")
    return pruner


class StudyPlan:
    """The trials of a study, asked for as processes become free.

    Args:
        space: what varies.
        experiments: composes jobs.
        ledger: knows the jobs of an earlier start.
        rerun: which of those run again: never, failed or always.
        objectives: what decides.
        settings: `hydra.sweeper` as a plain mapping.

    Raises:
        ConfigError: a value that is impossible beside the first of the others.
    """

    def __init__(
        self,
        space: Space,
        experiments: "Experiments",
        ledger: Ledger,
        rerun: str,
        objectives: Sequence[Objective],
        settings: Mapping[str, Any],
    ) -> None:
        self._space, self._experiments, self._ledger = space, experiments, ledger
        self._rerun, self._objectives, self._settings = rerun, objectives, settings
        self.total: int | None = int(settings["n_trials"])
        self.at_once: int | None = 1
        self._jobs = {job.number: job for job in ledger.jobs()}
        self._again: list[Job] = []
        self._exhausted = False
        if not self._jobs:
            check_jobs(one_at_a_time(space), experiments, space.swept)

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
            trials = self._study.get_trials(deepcopy=False)
            self._study.sampler = build_sampler(settings["sampler"], len(trials))
            for job in self._jobs.values():
                self._take_up(job, trials)

    def take(self) -> Job | None:
        """The next trial as a job: one that was cut off, or one that the study asks for."""
        with quiet():
            if self._again:
                return self._repeated(self._again.pop(0))
            while self.missing():
                job = self._next()
                if job is not None:
                    return job
        return None

    def ended(self, job: Job) -> None:
        """Tell the study what a job reached."""
        with quiet():
            self._tell(job)

    def missing(self) -> int:
        """Trials that are still to be asked for, and jobs that are to run again."""
        if self._exhausted:
            return len(self._again)
        trials = self._study.get_trials(deepcopy=False)
        begun = sum(not trial.user_attrs.get(_AGAIN) for trial in trials)
        return max(0, (self.total or 0) - begun) + len(self._again)

    def _take_up(self, job: Job, trials: Sequence[optuna.trial.FrozenTrial]) -> None:
        """Tell the study of a job that ended unnoticed; put one that is missing in line."""
        status = self._ledger.status(job)
        missing = is_missing(status, self._rerun)
        if job.trial is not None and not trials[job.trial].state.is_finished():
            if missing:
                self._study.tell(job.trial, state=TrialState.FAIL)
            else:
                self._tell(job)
        if missing:
            self._again.append(job)
            write_status(self._ledger.path(job), Status(QUEUED))

    def _repeated(self, job: Job) -> Job:
        """A further trial with the values of a job."""
        before = self._study.get_trials(deepcopy=False)[job.trial or 0]
        fixed = dict(before.params)
        self._study.enqueue_trial(fixed, user_attrs={_JOB: job.number, _AGAIN: True})
        trial = self._study.ask()
        self._words(trial)
        again = replace(job, trial=trial.number)
        self._ledger.add(again)
        return again

    def _next(self) -> Job | None:
        """A new trial; None where it need not run, because its values are known or impossible."""
        trial = self._study.ask()
        words = [*self._space.fixed, *self._words(trial)]
        number = max(self._jobs, default=-1) + 1
        try:
            tree = self._experiments.tree(words)
        except UserError as error:
            job = Job(number, str(number), tuple(words), "", trial.number)
            self._add(job)
            write_status(self._ledger.path(job), Status(FAILED, str(error), MISTAKE))
            self._tell(job)
            logger.info("trial %d cannot be: %s", trial.number, error)
            return None
        digest = tree_hash(OmegaConf.to_container(tree))  # type: ignore[arg-type]
        twin = self._twin(digest)
        if twin is not None:
            trial.set_user_attr("same_as", twin.number)
            self._tell(replace(twin, trial=trial.number))
            return None
        job = Job(number, str(number), tuple(words), digest, trial.number)
        save_tree(self._ledger, job, tree)
        write_status(self._ledger.path(job), Status(QUEUED))
        self._add(job)
        return job

    def _add(self, job: Job) -> None:
        self._ledger.add(job)
        self._jobs[job.number] = job

    def _twin(self, digest: str) -> Job | None:
        """A job that has done the very same already."""
        done = (job for job in self._jobs.values() if job.hash == digest)
        return next((j for j in done if self._ledger.status(j).status in (COMPLETED, PRUNED)), None)

    def _words(self, trial: optuna.Trial) -> list[Word]:
        words = [_suggest(trial, each) for each in self._space.dimensions]
        return words + [_suggest(trial, each) for each in self._space.following(words)]

    def _tell(self, job: Job) -> None:
        if job.trial is None:
            return
        status = self._ledger.status(job)
        values = reached(self._ledger.path(job), self._objectives)
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


def _suggest(trial: optuna.Trial, dimension: Dimension) -> Word:
    if isinstance(dimension, Choices):
        return f"{dimension.key}={trial.suggest_categorical(dimension.key, dimension.values)}"
    low, high = dimension.low, dimension.high
    if dimension.integer:
        whole = trial.suggest_int(dimension.key, int(low), int(high), log=dimension.log)
        return f"{dimension.key}={whole}"
    value = trial.suggest_float(dimension.key, low, high, log=dimension.log)
    return f"{dimension.key}={value!r}"


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna's own lines are left out: what matters of it is said by us."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ExperimentalWarning)
        yield
