"""Every launcher with a real sweep: a job that kills its process is one row, the others go on.

SLURM's launcher runs its jobs by submitit's local executor, and is asked here for its script.
"""

import os
import signal

import pytest
from process_support import HANG, wait_until

JOBS = ["seed=1,2", "hydra.sweep.dir=sweep"]

# An optimizer whose first step ends the process as the system does when it is out of memory.
MINE = """
import os
import signal

import torch

class Deadly(torch.optim.SGD):
    def step(self, closure=None):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def with_option(
    sweeps, monkeypatch, module: str, text: str, option: str, content: str
) -> list[str]:
    """The words for an option of a custom class, in a module that jobs find."""
    (sweeps.home / f"{module}.py").write_text(text)
    paths = [str(sweeps.home), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.syspath_prepend(sweeps.home)
    path = sweeps.home / "options" / f"{option}.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    return ["--config-dir", "options", f"allow_targets=[{module}.]"]


def with_optimizer(sweeps, monkeypatch, name: str, text: str) -> list[str]:
    """The words for a custom optimizer."""
    option = name.lower()
    content = f"_target_: {option}lab.{name}\n_partial_: true\nlr: 0.001\n"
    return with_option(sweeps, monkeypatch, f"{option}lab", text, f"optimizer/{option}", content)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("launcher", "words"),
    [
        ("joblib", ["hydra.launcher.n_jobs=2"]),
        ("submitit_local", ["hydra.sweeper.n_jobs=1", "hydra.launcher.timeout_min=60"]),
        ("ray", ["+hydra.launcher.ray.init.num_cpus=1"]),
    ],
)
def test_a_job_that_is_killed_is_one_row_and_the_others_go_on(
    launcher, words, sweeps, monkeypatch, capfd
):
    pytest.importorskip({"submitit_local": "submitit"}.get(launcher, launcher))
    own = [*with_optimizer(sweeps, monkeypatch, "Deadly", MINE), "optimizer=deadly,adamw"]
    code = sweeps.main(*own, f"hydra/launcher={launcher}", *words, "hydra.sweep.dir=sweep")
    told = capfd.readouterr()
    states = sweeps.states("sweep")
    assert [(states[job]["status"], states[job]["kind"]) for job in ("0", "1")] == [
        ("killed", "killed"),
        ("completed", None),
    ], told.err
    assert code == 1
    assert "job 2/2  completed" in told.err
    assert "test.rmse" in told.out
    assert "Traceback" not in told.err


# A callback that logs the number of optimizer steps.
COUNTING = """
from lightning.pytorch import Callback

class Counting(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        self.log("steps", float(trainer.global_step))
"""

# A callback whose argument has numbers as keys, which JSON does not have.
ACCUMULATE = """
accumulate:
  _target_: lightning.pytorch.callbacks.GradientAccumulationScheduler
  scheduling: {0: 2, 1: 1}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "words"),
    [
        ("basic", []),
        pytest.param("processes", [], marks=pytest.mark.slow),
        pytest.param("joblib", ["hydra.launcher.n_jobs=2"], marks=pytest.mark.slow),
        pytest.param("submitit_local", ["hydra.launcher.timeout_min=5"], marks=pytest.mark.slow),
        pytest.param("ray", ["+hydra.launcher.ray.init.num_cpus=1"], marks=pytest.mark.slow),
    ],
)
def test_callbacks_act_in_the_jobs_of_every_launcher(launcher, words, sweeps, monkeypatch, capfd):
    if launcher not in ("basic", "processes"):
        pytest.importorskip({"submitit_local": "submitit"}.get(launcher, launcher))
    node = "counting:\n  _target_: countinglab.Counting\n"
    own = with_option(sweeps, monkeypatch, "countinglab", COUNTING, "callbacks/counting", node)
    (sweeps.home / "options" / "callbacks" / "accumulate.yaml").write_text(ACCUMULATE)
    swept = ["callbacks=none,counting,ema,accumulate", "hydra.sweep.dir=sweep"]
    assert sweeps.main(*own, *swept, f"hydra/launcher={launcher}", *words) == 0
    tables = [(sweeps.folder("sweep") / job / "metrics.csv").read_text() for job in "0123"]
    assert ["steps" in table for table in tables] == [False, True, False, False]
    printed = capfd.readouterr().out
    assert all(option in printed for option in ("none", "counting", "ema", "accumulate"))


# An optimizer whose first steps come just before the time limit, as often as `times` says.
LATE = """
import os
import signal
from pathlib import Path

import torch

class Late(torch.optim.SGD):
    def step(self, closure=None):
        left = int(Path("times").read_text())
        Path("times").write_text(str(max(left - 1, 0)))
        if left:
            os.kill(os.getpid(), signal.SIGUSR2)
        return super().step(closure)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_job_whose_time_is_over_starts_again_as_often_as_it_may(sweeps, monkeypatch, capfd):
    pytest.importorskip("submitit")
    own = with_optimizer(sweeps, monkeypatch, "Late", LATE)
    words = [
        *own,
        "optimizer=late",
        "hydra/launcher=submitit_local",
        "hydra.launcher.timeout_min=5",
    ]
    times = sweeps.home / "times"

    times.write_text("4")  # one more than submitit starts a job again
    assert sweeps.main(*words, "hydra.sweep.dir=sweep") == 1
    state = sweeps.states("sweep")["0"]
    assert (state["status"], state["kind"]) == ("failed", "interrupted")
    assert "hydra.launcher.timeout_min" in state["error"]
    assert "Traceback" not in capfd.readouterr().err

    times.write_text("1")
    assert sweeps.main(*words, "hydra.sweep.dir=sweep") == 0
    assert sweeps.states("sweep")["0"]["status"] == "completed"
    log = (sweeps.folder("sweep") / "0" / "log.txt").read_text()
    assert log.count("run folder") == 6


# An optimizer that waits in each step until a file says `go`.
PATIENT = """
import time
from pathlib import Path

import torch

class Patient(torch.optim.SGD):
    def step(self, closure=None):
        Path("begun").touch()
        while not Path("go").exists():
            time.sleep(0.05)
        return super().step(closure)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_job_that_a_killed_sweep_has_left_running_is_waited_for(sweeps, monkeypatch):
    pytest.importorskip("submitit")
    own = with_optimizer(sweeps, monkeypatch, "Patient", PATIENT)
    where = ["hydra/launcher=submitit_local", "hydra.sweep.dir=sweep"]
    words = [*own, "optimizer=patient", *where]
    process = sweeps.start(*words)
    wait_until((sweeps.home / "begun").is_file, process)
    process.kill()
    process.wait()
    again = sweeps.start(*words)
    printed = []
    for line in again.stdout:
        printed.append(line)
        if "job 0 " in line:  # runs since the first start
            (sweeps.home / "go").touch()
    assert again.wait(HANG) == 0, printed
    assert (sweeps.home / "go").exists(), printed
    assert (sweeps.folder("sweep") / "0" / "log.txt").read_text().count("run folder") == 1


SBATCH = """#!/bin/sh
cp "$1" asked.sh
exit 1
"""


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")
def test_slurm_is_asked_for_what_was_said(sweeps, monkeypatch, capfd):
    pytest.importorskip("submitit")
    for name, text in (("srun", "#!/bin/sh\n"), ("sbatch", SBATCH)):
        (sweeps.home / name).write_text(text)
        (sweeps.home / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{sweeps.home}:{os.environ['PATH']}")
    wanted = ["gpus_per_node=1", "mem_gb=12", "timeout_min=90", "partition=gpu"]
    words = [f"hydra.launcher.{word}" for word in wanted]
    assert sweeps.main("seed=1", "hydra/launcher=submitit_slurm", *words, *JOBS[1:]) == 1
    script = (sweeps.home / "asked.sh").read_text()
    for line in ("gpus-per-node=1", "mem=12GB", "time=90", "partition=gpu"):
        assert f"#SBATCH --{line}\n" in script
    assert sweeps.states("sweep")["0"]["status"] == "failed"
    assert "Traceback" not in capfd.readouterr().err


# A cluster in which a job waits for ever.
WAITING = {
    "srun": "",
    "sbatch": "echo Submitted batch job 77",
    "sacct": "echo 'JobID|State|NodeList|'; echo '77|PENDING||'",
    "scancel": "echo $@ >> cancelled.txt",
}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")
def test_jobs_on_slurm_are_cancelled_with_their_sweep(sweeps, monkeypatch):
    pytest.importorskip("submitit")
    for name, text in WAITING.items():
        (sweeps.home / name).write_text(f"#!/bin/sh\n{text}\n")
        (sweeps.home / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{sweeps.home}:{os.environ['PATH']}")
    submitted = sweeps.folder("sweep") / ".submitit" / "77" / "77_submitted.pkl"
    for end in (signal.SIGHUP, signal.SIGINT):  # a lost connection, and Ctrl-C
        submitted.unlink(missing_ok=True)
        process = sweeps.start("hydra/launcher=submitit_slurm", "hydra.sweep.dir=sweep")
        wait_until(submitted.is_file)
        process.send_signal(end)
        process.communicate(timeout=HANG)
    # Once more: what an earlier start has left waiting is cancelled, as it is submitted again.
    process = sweeps.start("hydra/launcher=submitit_slurm", "hydra.sweep.dir=sweep")
    cancelled = sweeps.home / "cancelled.txt"
    wait_until(lambda: "PENDING" in cancelled.read_text())
    assert cancelled.read_text().splitlines() == ["--quiet 77", "--quiet --state=PENDING 77"]


def test_a_launcher_that_is_not_installed_is_told_with_its_command(sweeps, monkeypatch, capfd):
    import dlcexp.sweeps.start as start

    find = start.find_spec
    monkeypatch.setattr(start, "find_spec", lambda name: None if "ray" in name else find(name))
    assert sweeps.main(*JOBS, "hydra/launcher=ray") == 2
    assert "pip install 'dlcexp[ray]'" in capfd.readouterr().err
