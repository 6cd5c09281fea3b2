"""Progress of a sweep: log lines with jobs, results and the time left."""

import logging
import shlex
from collections.abc import Sequence
from time import monotonic

from dlcexp.config.overrides import Override
from dlcexp.results.ledger import Job, Ledger, Objective
from dlcexp.results.objective import better, reached, unmeasured
from dlcexp.runs.metric_names import PARTS, split_of
from dlcexp.runs.status import COMPLETED, Status
from dlcexp.sweeps.plan import Plan, differing
from dlcexp.sweeps.space import Space
from dlcexp.text import clock, time_left

logger = logging.getLogger(__name__)


class Progress:
    """Logs the progress of a sweep.

    Args:
        ledger: the folder of the sweep.
        space: what varies.
        objectives: what decides.
        plan: how many jobs are left.
        resumed: the folder is that of an earlier start.
    """

    def __init__(
        self,
        ledger: Ledger,
        space: Space,
        objectives: Sequence[Objective],
        plan: Plan,
        *,
        resumed: bool,
    ) -> None:
        self._ledger, self._space, self._objectives, self._plan = ledger, space, objectives, plan
        self._resumed = resumed
        self._best: float | None = None
        self._warned = False  # of a metric that is not measured
        self._done = 0
        self._running = 0
        self._started = monotonic()

    def log_beginning(self, key_metric: str) -> None:
        """Log the folder, what varies, and the number of jobs.

        Args:
            key_metric: by which the jobs choose their snapshots.
        """
        jobs, missing = self._plan.total, self._plan.missing()
        for job in self._ledger.jobs():
            self._is_best(job)
        logger.info("sweep folder %s", self._ledger.folder)
        for dimension in self._space.dimensions:
            logger.info("  %s", dimension)
        if self._resumed:
            logger.info("of %s jobs, %s are missing", jobs, missing)
        else:
            logger.info("%s job%s", jobs, "" if jobs == 1 else "s")
        self._log_snapshots(key_metric)

    def _log_snapshots(self, key_metric: str) -> None:
        """Log by what snapshots are chosen, unless it is the objective of the sweep."""
        split, _, name = self._objectives[0].metric.partition(".")
        wanted, key = f"{split_of(split)}.{name}", "trainer.key_metric"
        chosen_by_it = len(self._objectives) == 1 and split_of(split) in PARTS
        if chosen_by_it and wanted != key_metric and key not in self._space.swept:
            logger.info(
                "of each job the snapshot with the best %s is scored; %s=%s takes that with the "
                "best %s",
                *(key_metric, key, wanted, wanted),
            )

    def log_start(self, job: Job) -> None:
        """Log that a job is about to run."""
        self._running += 1
        varying = differing(map(Override.with_text, job.overrides), self._space.swept)
        logger.info("job %s  %s", self._place(job), varying)

    def log_end_of(self, job: Job) -> None:
        """Log how a job has ended, and the time left."""
        self._running -= 1
        self._done += 1
        status = self._ledger.status(job)
        logger.info(
            "job %s  %s in %s%s%s",
            self._place(job),
            status.kind if status.kind not in (None, "error") else status.status,
            clock(status.seconds),
            self._outcome(job, status),
            self._left(),
        )

    def log_interrupt(self) -> None:
        """Log that the sweep can be resumed after Ctrl-C or SIGTERM."""
        logger.info("interrupted; what is done is kept, and the same command resumes the rest")

    def print_results(self) -> None:
        """Print the table of the jobs, best first."""
        from dlcexp.results.leaderboard import leaderboard
        from dlcexp.results.read_sweep import read_sweep

        print(leaderboard(read_sweep(self._ledger.folder)))
        folder = shlex.quote(str(self._ledger.folder))
        print(f"why and how sure  dlcexp report {folder}")
        print(f"the winner        dlcexp best {folder}")

    def _place(self, job: Job) -> str:
        return f"{job.number + 1}/{self._plan.total}" if self._plan.total else f"{job.number + 1}"

    def _outcome(self, job: Job, status: Status) -> str:
        if status.error:
            return f": {status.error}"
        values = reached(self._ledger.path(job), self._objectives)
        problem = unmeasured(self._ledger.path(job), self._objectives)
        if status.status == COMPLETED and problem and not self._warned:
            self._warned = True
            logger.warning("sweep.metric: %s", problem)
        pairs = zip(self._objectives, values, strict=True)
        reached_now = ", ".join(f"{each.metric} {value:.4g}" for each, value in pairs)
        best = " (the best so far)" if self._is_best(job) else ""
        return f"  {reached_now}{best}"

    def _is_best(self, job: Job) -> bool:
        """Return whether a job beats all before it, where there is one objective."""
        if len(self._objectives) != 1 or self._ledger.status(job).status != COMPLETED:
            return False
        (value,) = reached(self._ledger.path(job), self._objectives)
        if not better(value, self._best, self._objectives[0]):
            return False
        self._best = value
        return True

    def _left(self) -> str:
        jobs = self._plan.missing() + self._running
        if not jobs:
            return ""
        return f"  {time_left(monotonic() - self._started, self._done, self._done + jobs)} left"
