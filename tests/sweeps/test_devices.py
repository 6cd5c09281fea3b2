"""One group of CUDA devices for each job: who gets which, by the environment of its process."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from dlcexp.data.loading_processes import JOBS
from dlcexp.sweeps.devices import GROUPS, VISIBLE, claim, device_groups, with_devices
from dlcexp.sweeps.workers import Worker


@pytest.mark.parametrize(
    ("visible", "count", "size", "groups"),
    [
        (None, 4, 1, ["0", "1", "2", "3"]),
        (None, 5, 2, ["0,1", "2,3"]),
        ("4,6,7", 3, 1, ["4", "6", "7"]),
        ("GPU-a,GPU-b", 2, 2, ["GPU-a,GPU-b"]),
        (None, 1, 2, []),
    ],
)
def test_devices_are_grouped(visible, count, size, groups):
    assert device_groups(visible, count, size) == groups


def claimed(folder: str) -> str | None:
    """What this process claims, twice the same."""
    first = claim(Path(folder))
    assert claim(Path(folder)) == first
    return first


def test_each_process_claims_a_group_and_gives_it_back_as_it_ends(tmp_path):
    with ExitStack() as stack:
        workers = []
        for _ in range(2):
            workers.append(Worker({GROUPS: "0,1;2,3"}))
            stack.callback(workers[-1].stop)
        assert [worker.call(claimed, str(tmp_path)) for worker in workers] == ["0,1", "2,3"]
        assert claim(tmp_path, {GROUPS: "0,1;2,3"}) in ("0,1", "2,3")  # shared: there is no other
        workers[0].stop()
        third = Worker({GROUPS: "0,1;2,3"})
        stack.callback(third.stop)
        assert third.call(claimed, str(tmp_path)) == "0,1"
    assert claim(tmp_path, {}) is None
    assert VISIBLE not in os.environ


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "ray", "submitit_slurm"])
def test_launchers_are_told_of_devices(launcher):
    node = {"hydra": {"launcher": {"ray": {"remote": {}}}, "job": {"env_set": {}}}}
    told = with_devices(OmegaConf.create(node), launcher, ["0,1", "2,3"]).hydra
    shared = {GROUPS: "0,1;2,3", JOBS: "2"}
    expected = shared if launcher in ("joblib", "submitit_local") else {}
    assert told.job.env_set == expected
    remote = {"max_retries": 0, "num_gpus": 2} if launcher == "ray" else {}
    assert told.launcher.ray.remote == remote
