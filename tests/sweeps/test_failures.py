"""Jobs that fail, each in its own way: one row each, and the others go on."""

import os
import re
import signal

import pytest

from dlcexp.runs.status import kind_of
from dlcexp.sweeps.workers import Worker, WorkerDied

# Optimizers whose first step goes wrong: no memory for it, and a mistake in the code.
MINE = """
import torch

class Hungry(torch.optim.SGD):
    def step(self, closure=None):
        torch.empty(1 << 60, dtype=torch.uint8)

class Broken(torch.optim.SGD):
    def step(self, closure=None):
        raise ValueError("a mistake in the code")
"""


@pytest.mark.slow
def test_each_failure_is_one_row_and_the_others_go_on(sweeps, monkeypatch, capfd):
    (sweeps.home / "clumsy.py").write_text(MINE)
    monkeypatch.syspath_prepend(sweeps.home)
    options = sweeps.home / "options" / "optimizer"
    options.mkdir(parents=True)
    for name, target, rate in [
        ("hungry", "clumsy.Hungry", 0.1),
        ("broken", "clumsy.Broken", 0.1),
        ("wild", "torch.optim.SGD", 1e30),
    ]:
        text = f"_target_: {target}\n_partial_: true\nlr: {rate}\n"
        (options / f"{name}.yaml").write_text(text)
    words = ["--config-dir", "options", "allow_targets=[clumsy.]", "hydra/launcher=basic"]
    swept = "optimizer=hungry,broken,wild,adamw"
    assert sweeps.main(*words, swept, "epochs=2", "hydra.sweep.dir=sweep") == 1
    states = sweeps.states("sweep")
    assert [states[str(job)]["kind"] for job in range(4)] == [
        *("out of memory", "error", "diverged", None)
    ]
    assert states["3"]["status"] == "completed"
    log = (sweeps.folder("sweep") / "1" / "log.txt").read_text()
    assert "Traceback" in log
    assert "a mistake in the code" in log
    told = capfd.readouterr()
    assert "Traceback" not in told.err + told.out
    assert "a mistake in the code" in told.out

    assert sweeps.main(*words, swept, "epochs=2", "hydra.sweep.dir=sweep", "sweep.rerun=never") == 1
    assert re.search(r"\b4 jobs\b.*\b0\b", capfd.readouterr().err)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_worker_that_dies_says_how_and_what_it_had_not_done_is_told():
    worker = Worker({"DLCEXP_TEST": "here"})
    assert worker.call(os.getenv, "DLCEXP_TEST") == "here"
    first = worker.call(os.getpid)
    assert worker.call(os.getpid) == first
    with pytest.raises(WorkerDied, match="SIGKILL"):
        worker.call(os.kill, first, signal.SIGKILL)
    with pytest.raises(WorkerDied, match="SIGKILL"):
        worker.call(os.getpid)
    worker.stop()


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_a_process_at_its_limit_of_memory_knows_what_it_lacks():
    worker = Worker({})
    try:
        assert worker.call(_kind_at_limit) == "out of memory"
    finally:
        worker.stop()


def _kind_at_limit() -> str:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))
    try:
        bytearray(1 << 32)
    except MemoryError as error:
        return kind_of(error)
    return "there was memory"
