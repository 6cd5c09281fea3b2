"""Hand jobs to a launcher of Hydra, whichever, and know how each of them ended.

A launcher that takes one job at a time is called from as many threads as jobs may run at once, so
that a process that dies ends one job only. Others get all jobs together; when one of their
processes dies they give up, and what is left is handed to them again: what was running one by one,
so that the job that is to blame ends no other, then the rest.
"""

import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from filelock import Timeout
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.plugins.launcher import Launcher

from dlcexp.errors import StorageError
from dlcexp.locks import RUN_LOCK, file_lock
from dlcexp.results.ledger import Job, Ledger
from dlcexp.runs.status import (
    COMPLETED,
    ERROR,
    FAILED,
    INTERRUPTED,
    KILLED,
    PRUNED,
    QUEUED,
    RUNNING,
    Status,
    explain,
    write_status,
)
from dlcexp.signals import HUNG_UP, TERMINATED, uninterrupted
from dlcexp.sweeps.frozen import launch_overrides
from dlcexp.sweeps.submitted import cancel, submitit_executor

logger = logging.getLogger(__name__)

# Seconds between two looks at whether an interrupt has come, or a job has ended.
_PATIENCE = 0.2

# Jobs that wait on a cluster at the same time, by default.
_QUEUED = 256

ENDED = (COMPLETED, FAILED, PRUNED, KILLED)


class Source(Protocol):
    """The source of jobs, notified when they have ended."""

    at_once: int | None  # jobs that a launcher of batches gets; None: all

    def take(self) -> Job | None:
        """Return the next job; None when there are no more."""

    def ended(self, job: Job) -> None:
        """Take note that a job has ended; its status records how."""


def launch(launcher: Launcher, source: Source, ledger: Ledger, n_jobs: int | None = None) -> None:
    """Run all jobs of a source.

    Args:
        launcher: of Hydra.
        source: where jobs come from.
        ledger: the folder of the sweep.
        n_jobs: jobs at the same time, where the launcher has no such setting; None: all that fit.

    Raises:
        KeyboardInterrupt, SystemExit: the user wants no more; what was running is marked as
            interrupted.
    """
    simultaneous = _simultaneous(launcher, n_jobs)
    if simultaneous is None:
        _launch_together(launcher, source, ledger)
    else:
        _Threads(launcher, source, ledger).run(simultaneous)


def _simultaneous(launcher: Any, n_jobs: int | None) -> int | None:
    """Jobs at a time for a launcher that takes one by one; None for one that wants them all."""
    if isinstance(launcher, BasicLauncher):
        return 1
    if getattr(launcher, "takes_single_jobs", False):
        return int(launcher.n_jobs)
    match submitit_executor(launcher):
        case "local":  # it would start all of them at once
            return n_jobs or _fitting(launcher.params)
        case "slurm":
            return n_jobs or int(launcher.params.get("array_parallelism") or _QUEUED)
    return None


def _fitting(params: Mapping[str, Any]) -> int:
    """Jobs that this machine has room for: by its CUDA devices, or else by its cores."""
    import torch

    if torch.cuda.device_count():
        return max(1, torch.cuda.device_count() // int(params.get("gpus_per_node") or 1))
    return max(1, (os.cpu_count() or 1) // int(params.get("cpus_per_task") or 1))


class _Threads:
    """A thread for each job that runs, in which the launcher waits for it."""

    def __init__(self, launcher: Launcher, source: Source, ledger: Ledger) -> None:
        self._launcher, self._source, self._ledger = launcher, source, ledger
        self._lock = threading.Lock()
        self._running: list[Job] = []
        self._in_process = isinstance(launcher, BasicLauncher)
        self._stopped = False
        self._error: BaseException | None = None

    def run(self, count: int) -> None:
        cancel(self._launcher, self._ledger.folder, begun=False)  # all of them come again
        try:
            if count == 1:
                self._work()  # in this thread, the only one that Ctrl-C reaches
            else:
                self._work_side_by_side(count)
        except BaseException as error:  # the user interrupts, or the source fails
            with uninterrupted():
                self._stop()
                if not self._outlives(error):
                    cancel(self._launcher, self._ledger.folder)
                    settle(self._ledger, self._running, KeyboardInterrupt())
            raise
        finally:
            self._stop()

    def _outlives(self, error: BaseException) -> bool:
        """Return True for jobs on a cluster where only the connection to it was lost."""
        lost = isinstance(error, SystemExit) and error.code == HUNG_UP
        return lost and submitit_executor(self._launcher) == "slurm"

    def _stop(self) -> None:
        self._stopped = True
        stop = getattr(self._launcher, "stop", None)
        if stop is not None:
            stop()

    def _work_side_by_side(self, count: int) -> None:
        threads = [threading.Thread(target=self._watched, daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(_PATIENCE)
            if self._error is not None:
                raise self._error

    def _watched(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error, self._stopped = error, True

    def _work(self) -> None:
        while (job := self._next()) is not None:
            failure: Exception | None = None
            try:
                self._wait_for_earlier(job)
                if not self._stopped and self._ledger.status(job).status != COMPLETED:
                    self._launcher.launch([launch_overrides(job)], job.number)
            except Exception as error:
                failure = error
            with self._lock:
                if self._stopped:
                    return  # whoever stopped us records what happened to the job
                settle(self._ledger, [job], failure)
                self._running.remove(job)
                self._source.ended(job)
            if self._in_process and self._ledger.status(job).kind == INTERRUPTED:
                raise SystemExit(TERMINATED)  # the job caught what was meant for all of them

    def _wait_for_earlier(self, job: Job) -> None:
        """Wait for a process of an earlier start that still runs the job, as on a cluster.

        The job itself would wait, too, but would occupy a place on the cluster.
        """
        lock = file_lock(self._ledger.path(job) / RUN_LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.info("job %s runs since an earlier start, and is waited for", job.folder)
            lock.acquire()
        lock.release()

    def _next(self) -> Job | None:
        with self._lock:
            job = None if self._stopped else self._source.take()
            if job is not None:
                self._running.append(job)
            return job


def settle(ledger: Ledger, jobs: Sequence[Job], error: BaseException | None) -> None:
    """Record how jobs ended whose process is gone, where they could not record it themselves."""
    for job in jobs:
        status = ledger.status(job)
        if status.status in ENDED:
            continue
        if isinstance(error, KeyboardInterrupt | SystemExit):
            end = FAILED, INTERRUPTED, "interrupted"
        elif status.status == RUNNING:
            end = KILLED, KILLED, str(error) if error else "its process is gone"
        else:
            end = FAILED, ERROR, explain(error) if error else "the launcher did not run it"
        try:
            ledger.mark(job, *end)
        except StorageError as problem:
            logger.warning("job %s: %s; %s", job.folder, end[-1], problem)


def _launch_together(launcher: Launcher, source: Source, ledger: Ledger) -> None:
    waiting: list[Job] = []
    suspects: list[Job] = []
    while True:
        while source.at_once is None or len(waiting) + len(suspects) < source.at_once:
            job = source.take()
            if job is None:
                break
            waiting.append(job)
        batch = suspects[:1] or waiting
        if not batch:
            return
        failure = _launch_batch(launcher, batch, source, ledger)
        running, queued = _left(ledger, batch, failure, source)
        suspects = [*suspects[1:], *running]
        waiting = queued if batch is waiting else waiting


def _launch_batch(
    launcher: Launcher, jobs: Sequence[Job], source: Source, ledger: Ledger
) -> Exception | None:
    """Run jobs together; what made the launcher give up, if it did."""
    with _Watch(source, ledger, jobs):
        try:
            launcher.launch([launch_overrides(job) for job in jobs], jobs[0].number)
        except (KeyboardInterrupt, SystemExit) as interrupt:
            with uninterrupted():
                running = [job for job in jobs if ledger.status(job).status == RUNNING]
                settle(ledger, running, interrupt)
            raise
        except Exception as error:
            return error
        finally:
            _forget_processes()
    return None


def _left(
    ledger: Ledger, jobs: Sequence[Job], failure: Exception | None, source: Source
) -> tuple[list[Job], list[Job]]:
    """Return the jobs to hand over again after a launcher gave up: those running, those queued.

    A job that ran alone is to blame for the end of its process, and is settled.
    """
    left = [job for job in jobs if ledger.status(job).status not in ENDED]
    running = [job for job in left if ledger.status(job).status == RUNNING]
    guilty = running if len(running) == 1 else []
    if failure is None or (not running and len(left) == len(jobs)):
        guilty = left  # the launcher does not get anywhere
    settle(ledger, guilty, failure)
    for job in guilty:
        source.ended(job)
    again = [job for job in left if job not in guilty]
    queued = [job for job in again if job not in running]
    for job in again:
        write_status(ledger.path(job), Status(QUEUED))
    return [job for job in running if job not in guilty], queued


class _Watch:
    """A thread that notifies the source of ended jobs while a launcher is busy with all of them."""

    def __init__(self, source: Source, ledger: Ledger, jobs: Sequence[Job]) -> None:
        self._source, self._ledger = source, ledger
        self._open = list(jobs)
        self._done = threading.Event()
        self._error: Exception | None = None  # of the source
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: Any) -> None:
        self._done.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        self._notify()

    def _look(self) -> None:
        try:
            while not self._done.wait(_PATIENCE):
                self._notify()
        except Exception as error:
            self._error = error

    def _notify(self) -> None:
        for job in list(self._open):
            if self._ledger.status(job).status in ENDED:
                self._open.remove(job)
                self._source.ended(job)


def _forget_processes() -> None:
    """Let Ray start again after it has lost a process."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()
