"""Whole sweeps, as a user types them."""

import gc
import json
import os
import re
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import timm
import torch
import yaml
from disk_support import small_disk
from filelock import FileLock
from hub_support import publish, running_hub, use
from process_support import HANG, wait_until

import dlcexp.sweeps.job
from dlcexp.locks import RUN_LOCK

posix = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def config(folder: Path, job: int) -> dict:
    return yaml.safe_load((folder / str(job) / "config.yaml").read_text())


def test_the_same_command_finishes_what_is_missing_and_repeats_nothing(sweeps, capfd, caplog):
    words = ["optimizer=adamw,sgd", "hydra/launcher=basic"]
    assert sweeps.main(*words) == 0
    told = capfd.readouterr()
    assert "2 jobs" in told.err
    # The records, as handlers that other tests have added may print each more than once.
    late = [text for text in caplog.messages if text.startswith("scheduler.milestones: ")]
    assert len(late) == 1
    assert late[0] in told.err
    assert "job 2/2  optimizer=sgd" in told.err
    assert "test.rmse" in told.out
    (folder,) = sweeps.folder("multirun/small").iterdir()
    targets = [config(folder, job)["optimizer"]["_target_"] for job in (0, 1)]
    assert targets == ["torch.optim.AdamW", "torch.optim.SGD"]

    before = (folder / "0" / "metrics.csv").stat().st_mtime_ns
    status = json.loads((folder / "1" / "status.json").read_text())
    (folder / "1" / "status.json").write_text(json.dumps(status | {"status": "running"}))
    assert sweeps.main(*words) == 0
    told = capfd.readouterr()
    assert re.search(r"\b2 jobs\b.*\b1\b", told.err)
    assert "job 1/2" not in told.err
    assert (folder / "0" / "metrics.csv").stat().st_mtime_ns == before
    assert [each.name for each in sweeps.folder("multirun/small").iterdir()] == [folder.name]

    assert sweeps.main("optimizer=adamw,adam", f"hydra.sweep.dir={folder}") == 2
    assert folder.name in capfd.readouterr().err

    frames = json.loads((folder / "1" / "frames.json").read_text())
    first = frames["frames"].popitem()[0]
    (folder / "1" / "frames.json").write_text(json.dumps(frames))
    assert sweeps.main(*words) == 2
    assert f"1 added: {first}" in capfd.readouterr().err


@pytest.mark.slow
@posix
def test_a_killed_job_is_one_row_and_a_killed_sweep_goes_on(sweeps, capfd):
    words = ["seed=1,2,3", "epochs=2000", "hydra.sweep.dir=sweep"]
    process = sweeps.start(*words)
    wait_for(sweeps, "0", "running")
    os.kill(worker_of(process.pid), signal.SIGKILL)
    wait_for(sweeps, "1", "running")
    state = sweeps.states("sweep")["0"]
    assert (state["status"], state["kind"]) == ("killed", "killed")
    assert "SIGKILL" in state["error"]

    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    stale = sweeps.states("sweep")
    assert stale["1"]["status"] == "running"
    assert stale["2"]["status"] == "queued"

    process = sweeps.start(*words, "sweep.rerun=never")
    wait_for(sweeps, "1", "running", after=stale["1"]["started"])
    assert sweeps.main(*words) == 2
    assert "sweep" in capfd.readouterr().err
    for _ in range(8):  # who is impatient
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    output, _ = process.communicate(timeout=HANG)
    assert process.returncode == 130, output
    assert "same command" in output
    assert "Traceback" not in output
    states = sweeps.states("sweep")
    assert states["0"]["status"] == "killed"
    assert states["1"]["kind"] == "interrupted"


@pytest.mark.slow
@posix
def test_a_disk_that_is_full_fails_jobs_and_the_same_command_runs_them_again(
    sweeps, tmp_path, capfd, monkeypatch
):
    with small_disk(tmp_path / "disk", kilobytes=400_000) as disk:
        words = ["seed=1,2,3", "hydra/launcher=basic", f"hydra.sweep.dir={disk / 'sweep'}"]
        release = dlcexp.sweeps.job._release_memory

        def release_and_fill():
            """At the end of a job."""
            release()
            with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
                while file.write(bytes(1 << 16)):
                    pass

        with monkeypatch.context() as patch:
            patch.setattr(dlcexp.sweeps.job, "_release_memory", release_and_fill)
            assert sweeps.main(*words) == 2
        states = sweeps.states(disk / "sweep")
        assert [states[job]["status"] for job in "012"] == ["completed", "failed", "failed"]
        assert all("No space left" in states[job]["error"] for job in "12")
        shown = capfd.readouterr()
        assert "Traceback" not in shown.out + shown.err
        assert "No space left" in shown.out
        (disk / "filler").unlink()
        assert sweeps.main(*words) == 0
        states = sweeps.states(disk / "sweep")
        assert {state["status"] for state in states.values()} == {"completed"}
        assert not list(disk.rglob("*.tmp"))


@pytest.mark.slow
@posix
@pytest.mark.parametrize(
    ("launcher", "end"),
    [
        ("basic", signal.SIGTERM),
        ("processes", signal.SIGTERM),
        ("processes", signal.SIGHUP),
        ("submitit_local", signal.SIGTERM),
    ],
)
def test_a_sweep_that_is_told_to_end_ends_with_all_its_jobs(launcher, end, sweeps):
    words = ["seed=1,2", "epochs=2000", "hydra.sweep.dir=sweep", f"hydra/launcher={launcher}"]
    process = sweeps.start(*words, *["hydra.sweeper.n_jobs=1"] * (launcher == "submitit_local"))
    wait_for(sweeps, "0", "running")
    process.send_signal(end)
    output, _ = process.communicate(timeout=HANG)
    assert process.returncode == 128 + end, output
    assert "same command" in output
    # The controller of submitit prints its own.
    assert launcher == "submitit_local" or "Traceback" not in output
    states = sweeps.states("sweep")
    assert [states[job]["status"] for job in "01"] == ["failed", "queued"]
    assert states["0"]["kind"] == "interrupted"
    with FileLock(sweeps.folder("sweep") / "0" / RUN_LOCK, timeout=HANG):
        pass  # whatever ran the job is gone


def wait_for(sweeps, job: str, status: str, after: str | None = None) -> None:
    def reached() -> bool:
        state = sweeps.states("sweep").get(job, {})
        # An epoch is behind it: it is in the middle of training, not about to begin.
        begun = (sweeps.folder("sweep") / job / "metrics.csv").is_file()
        return begun and state.get("status") == status and state["started"] != after

    wait_until(reached, what=f"job {job} is not {status}")


def worker_of(pid: int) -> int:
    """The process that runs jobs, a child of the sweep (one more keeps track of resources)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    (worker,) = [int(child) for child in children if is_spawned(int(child))]
    return worker


def is_spawned(pid: int) -> bool:
    return "spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes().decode()


@pytest.mark.slow
def test_editing_a_file_during_a_sweep_changes_no_later_job(sweeps, monkeypatch, capfd):
    options = sweeps.home / "options" / "optimizer"
    options.mkdir(parents=True)
    mine = options / "mine.yaml"
    mine.write_text("_target_: torch.optim.SGD\n_partial_: true\nlr: 0.001\n")
    train = dlcexp.sweeps.job._train

    def train_and_edit(*arguments):
        train(*arguments)
        mine.write_text("_target_: torch.optim.SGD\n_partial_: true\nlr: 0.5\n")

    monkeypatch.setattr(dlcexp.sweeps.job, "_train", train_and_edit)
    flags = ["--config-dir", "options", "optimizer=mine"]
    words = [*flags, "seed=1,2", "hydra.sweep.dir=sweep", "hydra/launcher=basic"]
    assert sweeps.main(*words) == 0
    folder = sweeps.folder("sweep")
    assert [config(folder, job)["optimizer"]["lr"] for job in (0, 1)] == [0.001, 0.001]
    capfd.readouterr()
    assert sweeps.main(*words) == 0
    assert re.search(r"\b2 jobs\b.*\b0\b", capfd.readouterr().err)


@pytest.mark.slow
def test_options_that_were_edited_since_make_another_sweep_and_that_is_told(sweeps, capfd):
    mine = sweeps.home / "options" / "optimizer" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("_target_: torch.optim.SGD\n_partial_: true\nlr: 0.001\n")
    words = ["--config-dir", "options", "optimizer=mine", "seed=1,2", "hydra/launcher=basic"]
    assert sweeps.main(*words) == 0
    (first,) = sweeps.home.glob("multirun/*/*")
    mine.write_text("_target_: torch.optim.SGD\n_partial_: true\nlr: 0.5\n")
    shutil.rmtree(first / "1")
    capfd.readouterr()
    assert sweeps.main(*words) == 0
    told = capfd.readouterr().err
    assert f"hydra.sweep.dir={first.relative_to(sweeps.home)}" in told
    assert len(list(sweeps.home.glob("multirun/*/*"))) == 2

    assert sweeps.main(*words, f"hydra.sweep.dir={first}") == 0
    assert config(first, 1)["optimizer"]["lr"] == 0.001


def test_a_metric_that_no_job_has_is_told(sweeps, caplog):
    words = ["sweep.metric=test.rmsee", "hydra/launcher=basic", "hydra.sweep.dir=grid"]
    assert sweeps.main("seed=1,2", *words) == 0
    for pattern in ("^sweep.metric: 'test.rmsee' .*'test.rmse'", "test.rmsee.*test.mAP"):
        assert len([text for text in caplog.messages if re.search(pattern, text)]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["processes", "joblib"])
def test_a_study_of_such_a_metric_ends_with_its_first_job(launcher, sweeps, capfd):
    pytest.importorskip("optuna")
    words = ["hydra/sweeper=optuna", "optimizer.lr=interval(0.001,0.01)", "sweep.metric=test.rmsee"]
    two = ["hydra.launcher.n_jobs=2", "hydra.sweep.dir=sweep"]
    assert sweeps.main(*words, f"hydra/launcher={launcher}", *two) == 2
    told = capfd.readouterr().err
    assert "sweep.metric: 'test.rmsee'" in told
    assert "Traceback" not in told
    states = [state["status"] for state in sweeps.states("sweep").values()]
    assert "completed" in states
    assert len(states) <= 2
    assert {*states} <= {"completed", "failed"}  # what ran beside it is interrupted


def test_a_folder_that_cannot_be_written_is_one_message(sweeps, capfd):
    (sweeps.home / "file").touch()
    assert sweeps.main("seed=1,2", "hydra.sweep.dir=file/sweep") == 2
    told = capfd.readouterr().err
    assert "file/sweep" in told
    assert "Traceback" not in told


def test_impossible_jobs_are_told_before_the_first_one_runs(sweeps, capfd):
    assert sweeps.main("optimizer=adamw,sgd", "++optimizer.momentum=0.9", "epochs=1,0") == 2
    told = capfd.readouterr().err
    assert re.search(r"momentum.*\n.*2 of 4 jobs.* optimizer=adamw epochs=1\n", told)
    assert re.search(r"epochs: 0 .*1.*\n.*2 of 4 jobs.*epochs=0", told)
    assert not sweeps.folder("multirun").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hydra/sweeper=basic", "seed=1,2"], "hydra/sweeper: 'basic' .*grid"),
        (["hydra/sweeper=gird", "seed=1,2"], "'grid'"),
        (["hydra/launcher=jobli", "seed=1,2"], "'joblib'"),
        (["hydra/launcher=joblib", "hydra.launcher.n_job=2"], "hydra.launcher.n_job: .*'n_jobs'"),
        (["hydra/sweeper=optuna", "hydra.sweeper.n_trial=2"], "sweeper.n_trial: .*'n_trials'"),
        (["model=dekrr,heatmap"], "model: 'dekrr'.*'dekr'"),
        (["hydra/sweeper=paired", "seed=1,2", "epochs=1,2,3"], "seed.* 2.* epochs.* 3"),
        (["optimizer.lr=interval(0.1,0.2)"], "hydra/sweeper=optuna"),
        (["sweep.direction=upwards", "seed=1,2"], "sweep.direction: 'upwards'"),
        (["seed=1,2", "split=kfold", "split.fold=5"], "split.fold: .*0 .*4"),
        (["seed=1,2", "split.train_fraction=1.5"], "split.train_fraction: .*0 .*1"),
        (["seed=1,2", "hydra.launcher.n_jobs=-1"], "hydra.launcher.n_jobs: -1 "),
        (["seed=1,2", "hydra.launcher.n_jobs=two"], "hydra.launcher.n_jobs: 'two' "),
        (["hydra/sweeper=random", "hydra.sweeper.n_trials=0"], "n_trials: 0 "),
        (["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2.5"], "n_trials: 2.5 "),
        (
            [
                *("hydra/sweeper=optuna", "hydra/sweeper/sampler=grid"),
                "optimizer.lr=interval(0.1,0.2)",
            ],
            "optimizer.lr: ",
        ),
        (["seed=1,2", "hydra.sweep.dir="], "hydra.sweep.dir: ''"),
    ],
)
def test_a_mistake_is_one_message(sweeps, words, message, capfd):
    assert sweeps.main(*words) == 2
    told = capfd.readouterr().err
    assert re.search(message, told.splitlines()[-1])
    assert "Traceback" not in told
    assert list(sweeps.home.iterdir()) == []


@pytest.mark.slow
def test_jobs_of_one_process_leave_nothing_in_its_memory(sweeps, monkeypatch):
    release = dlcexp.sweeps.job._release_memory
    tensors, resident = [], []

    def released():
        release()
        tensors.append(sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects()))
        resident.append(resident_megabytes())

    monkeypatch.setattr(dlcexp.sweeps.job, "_release_memory", released)
    assert sweeps.main("seed=range(8)", "hydra/launcher=basic", "hydra.sweep.dir=sweep") == 0
    assert tensors[1] == tensors[7]
    assert resident[7] - resident[1] < 20


def resident_megabytes() -> float:
    """Memory of this process; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        return 0.0
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (
            "hydra:\n  job_logging:\n    handlers:\n      file:\n        class: mylab.Handler\n",
            "hydra.job_logging",
        ),
        ("hydra:\n  job:\n    env_set: {PYTHONPATH: /mylab}\n", "hydra.job.env_set"),
        ("hydra:\n  launcher:\n    _target_: mylab.Launcher\n", "hydra/launcher._target_"),
    ],
)
def test_an_overlay_cannot_make_hydra_build_classes(sweeps, capfd, text, key):
    folder = sweeps.folder("options") / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(f"# @package _global_\n{text}")
    assert sweeps.main("--config-dir", "options", "experiment=mine", "seed=1,2") == 2
    assert f"dlcexp: {key}: " in capfd.readouterr().err


@pytest.mark.slow
def test_what_networks_start_from_is_settled_when_the_sweep_begins(
    sweeps, capfd, tmp_path, monkeypatch
):
    names = [f"test_{name}.r160_in1k" for name in ("resnet", "efficientnet", "convnext")]
    words = [
        f"model.backbone.model_name={','.join(names)}",
        "model.backbone.weights=auto",
        "epochs=1",
        "hydra/launcher=basic",
    ]
    with running_hub(tmp_path / "hub") as hub:
        for name in names[:2]:
            publish(hub, f"hf://timm/{name}", timm.create_model(name).state_dict())
        use(hub, tmp_path / "cache", monkeypatch)
        assert sweeps.main(*words) == 0
        shown = capfd.readouterr()
        assert "RANDOM WEIGHTS" in shown.err
        assert re.search(r"job.? 2 started from random weights", " ".join(shown.out.split()))
        (folder,) = sweeps.folder("multirun/small").iterdir()
        starts = [config(folder, job)["model"]["backbone"]["weights"] for job in range(3)]
        assert starts == [f"hf://timm/{names[0]}", f"hf://timm/{names[1]}", None]

        # As after a kill: one with a start that the hub had, one with a start that it has now.
        for job in (1, 2):
            shutil.rmtree(folder / str(job))
        publish(hub, f"hf://timm/{names[2]}", timm.create_model(names[2]).state_dict())
        use(hub, tmp_path / "cache", monkeypatch, offline=True)
        assert sweeps.main(*words) == 0
        assert "RANDOM WEIGHTS" not in capfd.readouterr().err
        use(hub, tmp_path / "cache", monkeypatch)
        again = [config(folder, job)["model"]["backbone"]["weights"] for job in range(3)]
    assert again == starts
    for job, weights in enumerate(starts):
        log = (folder / str(job) / "log.txt").read_text()
        assert ("start: random" in log) == (weights is None)
