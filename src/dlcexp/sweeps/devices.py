"""One CUDA device, or group of devices, for each job at a time, whichever launcher runs it.

The launcher `processes` assigns a group to each process. Jobs of joblib and of submitit on this
machine claim one each as they begin; Ray and SLURM assign devices themselves.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf, open_dict

from dlcexp.data.loading_processes import JOBS

VISIBLE = "CUDA_VISIBLE_DEVICES"

# Variable that passes the groups to the processes of jobs, `0,1;2,3`.
GROUPS = "DLCEXP_CUDA_GROUPS"

# What this process has claimed, for as long as it lives: CUDA looks at the variable once.
_claimed: dict[str, FileLock] = {}


def device_groups(visible: str | None, count: int, size: int) -> list[str]:
    """Return the CUDA devices of a machine in groups.

    Args:
        visible: `CUDA_VISIBLE_DEVICES`, if it is set.
        count: how many devices CUDA finds.
        size: devices of a group; what is left over belongs to none.
    """
    names = visible.split(",") if visible else [str(number) for number in range(count)]
    groups = [names[i : i + size] for i in range(0, len(names) - size + 1, size)]
    return [",".join(group) for group in groups]


def groups_of_machine(size: int) -> list[str]:
    """Return the visible CUDA devices in groups of `size`; none where there are none."""
    import torch

    count = torch.cuda.device_count()
    return device_groups(os.environ.get(VISIBLE), count, size) if count else []


def with_devices(config: DictConfig, launcher: str, groups: Sequence[str]) -> DictConfig:
    """Return Hydra's node of a sweep, with the devices that its launcher needs.

    A process that Ray lost is not started again by Ray: the sweep decides what happens to its job.
    """
    with open_dict(config):
        if launcher == "ray":
            remote = config.hydra.launcher.ray.remote
            remote.setdefault("max_retries", 0)
            if groups:
                remote.setdefault("num_gpus", len(groups[0].split(",")))
        elif groups and launcher in ("joblib", "submitit_local"):
            shared = {GROUPS: ";".join(groups), JOBS: str(len(groups))}
            OmegaConf.update(config, "hydra.job.env_set", shared)
    return config


def claim(folder: Path, environment: Mapping[str, str] = os.environ) -> str | None:
    """Take a group of devices that no other process of a sweep has, once for all its jobs.

    Args:
        folder: of the sweep; locks lie in it.
        environment: names the groups.

    Returns:
        The group; None where there is nothing to share. Where all are taken, one that is shared.
    """
    groups = [group for group in environment.get(GROUPS, "").split(";") if group]
    if not groups:
        return None
    if _claimed:
        return next(iter(_claimed))
    for group in groups:
        lock = FileLock(folder / f".cuda-{group}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _claimed[group] = lock
        return group
    return groups[os.getpid() % len(groups)]


def use_devices_of_its_own(folder: Path) -> None:
    """Let this process see the devices that it claims, and no others."""
    group = claim(folder)
    if group is not None:
        os.environ[VISIBLE] = group
