import multiprocessing
import os

import pytest

from dlcexp.data.loading_processes import (
    JOBS,
    MOST_FORKS,
    MOST_OTHERS,
    cores_for,
    pinned,
    workers,
)


@pytest.mark.parametrize(
    ("wanted", "device", "cores", "batches", "expected"),
    [
        pytest.param("auto", "cuda", 8, 100, 7, id="one core is left to the GPU"),
        pytest.param("auto", "cuda", 1, 100, 1, id="also of a single core"),
        pytest.param("auto", "cuda", 96, 100, MOST_FORKS, id="more have no effect"),
        pytest.param("auto", "cuda", 8, 3, 3, id="no more than batches"),
        pytest.param("auto", "cuda", 8, 0, 1, id="less than a batch"),
        pytest.param("auto", "cpu", 8, 100, 4, id="what the model recommends"),
        pytest.param("auto", "mps", 8, 100, 4, id="only CUDA needs more"),
        pytest.param(0, "cuda", 8, 100, 0, id="a wish"),
        pytest.param(40, "cpu", 8, 3, 40, id="another wish"),
    ],
)
def test_as_many_workers_as_a_gpu_needs(
    wanted: int | str,
    device: str,
    cores: int,
    batches: int,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: "fork")
    assert workers(wanted, 4, device, cores, batches) == expected


def test_processes_that_load_torch_again_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: "spawn")
    assert workers("auto", 0, "cuda", 64, 100) == MOST_OTHERS


@pytest.mark.parametrize(
    ("wanted", "device", "expected"),
    [
        ("auto", "cuda", True),
        ("auto", "cpu", False),
        ("auto", "mps", False),
        (False, "cuda", False),
        (True, "cpu", True),
    ],
)
def test_memory_is_page_locked_for_cuda(wanted: bool | str, device: str, expected: bool) -> None:
    assert pinned(wanted, device) is expected


@pytest.mark.parametrize(
    ("processes", "environment", "share"),
    [(1, {}, 12), (2, {}, 6), (1, {JOBS: "4"}, 3), (2, {JOBS: "3"}, 2), (5, {JOBS: "7"}, 1)],
)
def test_cores_are_shared_with_all_that_trains_at_the_same_time(
    processes: int, environment: dict[str, str], share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    assert cores_for(processes, environment) == share
