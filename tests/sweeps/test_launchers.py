"""Every launcher with a real sweep: a job that kills its process is one row, the others go on.

SLURM's launcher runs its jobs by submitit's local executor, and is asked here for its script.
"""

import os

import pytest

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


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("launcher", "words"),
    [
        ("joblib", ["hydra.launcher.n_jobs=2"]),
        ("submitit_local", ["hydra.sweeper.n_jobs=1", "hydra.launcher.timeout_min=5"]),
        ("ray", ["+hydra.launcher.ray.init.num_cpus=1"]),
    ],
)
def test_a_job_that_is_killed_is_one_row_and_the_others_go_on(
    launcher, words, sweeps, monkeypatch, capfd
):
    pytest.importorskip({"submitit_local": "submitit"}.get(launcher, launcher))
    (sweeps.home / "mylab.py").write_text(MINE)
    monkeypatch.setenv("PYTHONPATH", str(sweeps.home))
    monkeypatch.syspath_prepend(sweeps.home)
    options = sweeps.home / "options" / "optimizer"
    options.mkdir(parents=True)
    (options / "deadly.yaml").write_text("_target_: mylab.Deadly\n_partial_: true\nlr: 0.1\n")
    own = ["--config-dir", "options", "allow_targets=[mylab.]", "optimizer=deadly,adamw"]
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


def test_a_launcher_that_is_not_installed_is_told_with_its_command(sweeps, monkeypatch, capfd):
    import dlcexp.sweeps.start as start

    find = start.find_spec
    monkeypatch.setattr(start, "find_spec", lambda name: None if "ray" in name else find(name))
    assert sweeps.main(*JOBS, "hydra/launcher=ray") == 2
    assert "pip install 'dlcexp[ray]'" in capfd.readouterr().err
