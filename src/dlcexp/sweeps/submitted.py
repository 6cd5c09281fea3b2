"""Jobs in the hands of submitit, on a cluster or as processes of this machine: how they end."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlcexp.runs.status import INTERRUPTED, QUEUED, Status, read_status, write_status
from dlcexp.signals import HUNG_UP, TERMINATED

_SUBMITTED, _RESULT = "_submitted.pkl", "_0_result.pkl"  # names that follow the id of a job

_PATIENCE = 5.0  # seconds in which a job that trains has ended and recorded it

_OUT_OF_TIME = (
    "its time limit came (hydra.launcher.timeout_min). The same command resumes from its last "
    "epoch; with hydra.launcher.max_num_timeout=5 SLURM starts it again by itself"
)


def hand_back(folder: Path, error: BaseException) -> None:
    """Let submitit proceed where it has ended a job, and record it in the folder of the job.

    Shortly before the time limit, or when the cluster needs the place, submitit asks for another
    start of the job and ends its process; where it may not ask again, it raises.

    Raises:
        SystemExit: the process is to end. It must not end well: that would be a result.
    """
    if "SUBMITIT_EXECUTOR" not in os.environ:
        return
    if isinstance(error, SystemExit):
        if error.code not in (HUNG_UP, TERMINATED):
            write_status(folder, Status(QUEUED))
        raise error
    from submitit.core.utils import UncompletedJobError

    if isinstance(error, UncompletedJobError):
        status = replace(read_status(folder), error=_OUT_OF_TIME, kind=INTERRUPTED)
        write_status(folder, status)


def cancel(launcher: Any, folder: Path, *, begun: bool = True) -> None:
    """End the jobs of a sweep that submitit has, if it has any.

    Args:
        launcher: of Hydra.
        folder: of the sweep; jobs that are submitted elsewhere are left alone.
        begun: also those that run, in addition to those that wait on a cluster.
    """
    executor = submitit_executor(launcher)
    if executor == "slurm":
        states = [] if begun else ["--state=PENDING"]
        if ids := _without_result(launcher, folder):
            subprocess.run(["scancel", "--quiet", *states, *ids], check=False)
    elif executor == "local" and begun:
        _end([int(each) for each in _without_result(launcher, folder)])


def submitit_executor(launcher: Any) -> str | None:
    """Return the executor of a launcher of submitit, "slurm" or "local"; None for any other."""
    return getattr(launcher, "_EXECUTOR", None)


def _without_result(launcher: Any, folder: Path) -> list[str]:
    from submitit.core.utils import JobPaths

    place = JobPaths.get_first_id_independent_folder(launcher.params["submitit_folder"])
    if not place.is_relative_to(folder.absolute()):
        return []
    files = [*place.rglob(f"*{_SUBMITTED}")]
    names = [(file, file.name.removesuffix(_SUBMITTED)) for file in files]
    return [name for file, name in names if not file.with_name(name + _RESULT).exists()]


def _end(processes: list[int]) -> None:
    """End processes that we started, by SIGTERM where a job trains, else by an interrupt."""
    until = time.monotonic() + _PATIENCE
    for process in _running(processes):
        os.kill(process, signal.SIGTERM)
    while time.monotonic() < until and _running(processes):
        time.sleep(0.1)
    for process in _running(processes):
        os.kill(process, signal.SIGINT)


def _running(processes: list[int]) -> list[int]:
    running = []
    for process in processes:
        with suppress(ChildProcessError):  # it is not ours, or has ended before
            if os.waitpid(process, os.WNOHANG) == (0, 0):
                running.append(process)
    return running
