"""Every launcher with a real sweep of jobs of a second; SLURM's by submitit's local executor."""

import pytest

JOBS = ["seed=1,2", "hydra.sweep.dir=sweep"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "words"),
    [
        ("joblib", ["hydra.launcher.n_jobs=2"]),
        ("submitit_local", ["hydra.sweeper.n_jobs=1", "hydra.launcher.timeout_min=5"]),
        ("ray", ["+hydra.launcher.ray.init.num_cpus=2"]),
    ],
)
def test_a_sweep_runs_on(launcher, words, sweeps):
    pytest.importorskip({"submitit_local": "submitit"}.get(launcher, launcher))
    done = sweeps.run(*JOBS, f"hydra/launcher={launcher}", *words)
    assert done.returncode == 0, done.stderr
    states = sweeps.states("sweep")
    assert [states[job]["status"] for job in ("0", "1")] == ["completed", "completed"]
    assert "job 2/2  completed" in done.stderr
    assert "test.rmse" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_launcher_that_is_not_installed_is_told_with_its_command(sweeps, monkeypatch, capfd):
    import dlcexp.sweeps.start as start

    find = start.find_spec
    monkeypatch.setattr(start, "find_spec", lambda name: None if "ray" in name else find(name))
    assert sweeps.main(*JOBS, "hydra/launcher=ray") == 2
    assert "pip install 'dlcexp[ray]'" in capfd.readouterr().err
