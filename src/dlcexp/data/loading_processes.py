"""The processes that make batches, and the memory of these, where the tree leaves both open."""

import multiprocessing
import os
from collections.abc import Mapping

from dlcexp.vocabulary import AUTO

# Variable that states how many jobs of a sweep run at the same time on this machine.
JOBS = "DLCEXP_JOBS_AT_ONCE"

# More make no difference to a GPU, and each takes memory and time to start: those that are not
# forks (Windows, macOS) a gigabyte and more, as each loads torch again.
MOST_FORKS, MOST_OTHERS = 16, 4


def workers(wanted: int | str, recipe: int, device: str, cores: int, batches: int) -> int:
    """Return the number of data-loading processes of a training process.

    Args:
        wanted: `num_workers` of the tree, a number or `auto`.
        recipe: the number that the model recommends; only CUDA needs more.
        device: what trains: `cuda`, `mps` or `cpu`.
        cores: of the CPU, for this training process.
        batches: in an epoch; more processes than batches have nothing to do.
    """
    if wanted != AUTO:
        return int(wanted)
    if device != "cuda":
        return recipe
    # One core is left to give the device its work.
    most = MOST_FORKS if multiprocessing.get_start_method() == "fork" else MOST_OTHERS
    return max(1, min(cores - 1, most, batches))


def pinned(wanted: bool | str, device: str) -> bool:
    """Return whether batches are kept in page-locked memory, from which CUDA copies by itself."""
    return device == "cuda" if wanted == AUTO else bool(wanted)


def cores_for(processes: int, environment: Mapping[str, str] = os.environ) -> int:
    """Return the cores of the CPU for one training process.

    Args:
        processes: how many train together.
        environment: states in `JOBS` how many jobs of a sweep do so at the same time.
    """
    allowed = getattr(os, "sched_getaffinity", None)
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    jobs = int(environment.get(JOBS) or 1)
    return max(1, cores // (processes * jobs))
