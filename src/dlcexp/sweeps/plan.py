"""Jobs that are all known before the first one starts: which are missing, and in what order."""

import json
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, Protocol

from omegaconf import OmegaConf

from dlcexp.config.overrides import Override
from dlcexp.config.resolvers import tree_hash
from dlcexp.errors import ConfigError, UserError, separate
from dlcexp.files import write_text
from dlcexp.results.ledger import Job, Ledger
from dlcexp.runs.status import (
    COMPLETED,
    FAILED,
    INTERRUPTED,
    KILLED,
    PRUNED,
    QUEUED,
    Status,
    write_status,
)
from dlcexp.sweeps.experiments import Experiments
from dlcexp.text import time_left, without_passwords
from dlcexp.training.starts import settled
from dlcexp.training.weights_file import check_network_file

logger = logging.getLogger(__name__)

# Number of jobs above which the progress of checking them is logged.
_MANY = 20
# Seconds between two such lines.
_LOG_EVERY = 10


class Plan(Protocol):
    """The jobs that a sweep runs; see `dlcexp.sweeps.launching.Source` for taking them."""

    total: int | None  # jobs in all
    at_once: int | None  # jobs that a launcher of batches gets; None: all

    def begin(self) -> None:
        """Begin, with the folder held and its record written."""

    def take(self) -> Job | None:
        """Return the next job; None when there are no more."""

    def ended(self, job: Job) -> None:
        """Take note that a job has ended; its status records how."""

    def missing(self) -> int:
        """Return how many jobs are still to be taken."""


class ListPlan:
    """All jobs, checked before any of them runs.

    Args:
        lines: the overrides of each job.
        experiments: composes them.
        ledger: knows those of an earlier start.
        rerun: which of those run again: never, failed or always.
        swept: the keys that vary.

    Raises:
        ConfigError: invalid jobs; one message for each mistake.
    """

    def __init__(
        self,
        lines: Iterable[Sequence[Override]],
        experiments: Experiments,
        ledger: Ledger,
        rerun: str,
        swept: Sequence[str],
    ) -> None:
        self._ledger, self._rerun = ledger, rerun
        self._jobs = {job.number: job for job in ledger.jobs()}
        self._new: list[tuple[Job, dict[str, Any]]] = []
        wanted = [tuple(line) for line in lines]
        fresh = [n for n, _ in enumerate(wanted) if n not in self._jobs]
        trees = check_jobs([wanted[number] for number in fresh], experiments, swept)
        for number, tree in zip(fresh, trees, strict=True):
            typed = tuple(map(str, wanted[number]))
            job = Job(number, str(number), typed, tree_hash(tree))
            self._new.append((job, tree))
        self._left: list[Job] = []
        self.total: int | None = len(wanted)
        self.at_once: int | None = None

    def begin(self) -> None:
        """Write down the new jobs, and see which are missing."""
        for job, tree in self._new:
            save_tree(self._ledger, job, tree)
            self._ledger.add(job)
            self._jobs[job.number] = job
        self._left = [
            job
            for _, job in sorted(self._jobs.items())
            if is_missing(self._ledger.status(job), self._rerun)
        ]
        for job in self._left:
            if self._rerun == "always":
                shutil.rmtree(self._ledger.path(job), ignore_errors=True)
            write_status(self._ledger.path(job), Status(QUEUED))

    def take(self) -> Job | None:
        """Return the next job that is missing."""
        return self._left.pop(0) if self._left else None

    def ended(self, job: Job) -> None:
        """Do nothing: no later job depends on it."""

    def missing(self) -> int:
        """Return how many jobs are still to be taken."""
        return len(self._left)


def check_jobs(
    lines: Sequence[Sequence[Override]], experiments: Experiments, swept: Sequence[str]
) -> list[dict[str, Any]]:
    """Compose and check the trees of jobs.

    Raises:
        ConfigError: some are invalid; one message for each mistake.
    """
    if len(lines) > _MANY:
        logger.info("checking %d jobs", len(lines))
    trees: list[dict[str, Any]] = []
    mistakes: dict[str, list[int]] = {}
    logged = started = monotonic()
    for number, line in enumerate(lines):
        if monotonic() - logged > _LOG_EVERY:
            logged = monotonic()
            left = time_left(logged - started, number, len(lines))
            logger.info("checked %d of %d jobs  %s left", number, len(lines), left)
        try:
            trees.append(experiments.tree(line))
        except UserError as error:
            for each in separate(error):
                mistakes.setdefault(str(each), []).append(number)
    if mistakes:
        raise _invalid(mistakes, [differing(line, swept) for line in lines])
    return trees


def differing(overrides: Iterable[Override], swept: Sequence[str]) -> str:
    """Return the overrides of a job that vary in its sweep."""
    return " ".join(override.text for override in overrides if override.name in swept)


def save_tree(ledger: Ledger, job: Job, tree: Mapping[str, Any]) -> None:
    """Keep the tree of a job as it is now: as JSON, or as YAML where a key is a number.

    What its networks start from is settled here, alike for all jobs of the sweep.

    Raises:
        UserError: a URL in it holds a password, which would be in that file, or weights that it
            asks for are not available.
    """
    if without_passwords(tree) != tree:
        raise UserError(
            "a sweep writes the settings of its jobs to files, and a URL in them holds a password. "
            "For MLflow, set the environment variables MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD instead."
        )
    starts = ledger.starts()
    tree = settled(dict(tree), starts)
    check_network_file(tree)
    ledger.keep_starts(starts)
    text = json.dumps(tree)
    if json.loads(text) != tree:
        text = OmegaConf.to_yaml(OmegaConf.create(dict(tree)))
    write_text(ledger.tree_file(job), text)


def is_missing(status: Status, rerun: str) -> bool:
    """Return whether a job is to run, from how an earlier start left it."""
    if rerun == "always":
        return True
    if status.status in (COMPLETED, PRUNED):
        return False
    if status.status in (FAILED, KILLED) and status.kind != INTERRUPTED:
        return rerun == "failed"
    return True


def _invalid(mistakes: dict[str, list[int]], wanted: Sequence[str]) -> ConfigError:
    """Return one error for all invalid jobs, with each mistake once."""
    if len(mistakes) == 1:
        ((message, numbers),) = mistakes.items()
        if len(numbers) == len(wanted):
            return ConfigError("", message)
    lines = []
    for message, numbers in mistakes.items():
        first = wanted[numbers[0]]
        lines.append(f"  {message}\n    in {len(numbers)} of {len(wanted)} jobs, first: {first}")
    return ConfigError("", "the sweep has invalid jobs; none was started.\n" + "\n".join(lines))
