"""Weights & Biases, offline: what is in the files that `wandb sync` uploads."""

import os
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from process_support import run_process
from training_support import offline_runs
from wandb_support import wandb_server

from dlcexp.config.build import check_targets
from dlcexp.errors import ConfigError
from dlcexp.training.loggers import WandbLogger, close


def wandb_logger(folder: Path, **arguments: Any) -> WandbLogger:
    settings = {"project_name": "mice", "run_name": "first", "mode": "offline", **arguments}
    return WandbLogger(save_dir=folder, **settings)


def test_wandb_holds_config_history_summary_and_images(tmp_path: Path) -> None:
    figure = tmp_path / "worst-1.png"
    cv2.imwrite(str(figure), np.zeros((4, 4, 3), np.uint8))
    logger = wandb_logger(tmp_path, tags=["a"], group="sweep")
    logger.log_hyperparams({"optimizer": {"lr": 0.1}})
    logger.log_metrics({"train.total_loss": 0.5}, step=1)
    logger.log_metrics({"train.total_loss": 0.25, "test.mAP": 7.0}, step=2)
    config = tmp_path / "config.yaml"
    config.write_text("seed: 1")
    logger.log_result({"test.mAP": 9.0, "test.rmse": None}, {"figures/worst-1": figure}, [config])
    close([logger], failed=False)
    (run,) = offline_runs(tmp_path)
    assert (run["project"], run["name"], run["group"], run["tags"]) == (
        "mice",
        "first",
        "sweep",
        ["a"],
    )
    assert run["config"] == {"optimizer": {"lr": 0.1}}
    assert [row["epoch"] for row in run["history"][:2]] == [1, 2]
    assert run["history"][1]["test/mAP"] == 7.0
    assert run["history"][2]["figures/worst-1._type"] == "image-file"
    assert run["summary"]["test/mAP"] == 9.0
    assert list(tmp_path.glob("wandb/offline-run-*/files/dlcexp/config.yaml"))
    assert run["exit"] == 0


# A run of W&B, in a process that has W&B's settings from its environment.
LOGGED = """
import sys
from pathlib import Path
from dlcexp.training.loggers import WandbLogger, close

folder = Path(sys.argv[1])
logger = WandbLogger("mice", save_dir=folder)
logger.log_hyperparams({"seed": 1})
logger.log_result({"test.mAP": 9.0}, {}, [folder / "config.yaml", folder / "pytorch_config.yaml"])
close([logger], failed=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_wandb_gets_copies_and_leaves_the_files_of_the_run_alone(mode: str, tmp_path: Path) -> None:
    names = ("config.yaml", "pytorch_config.yaml")
    for name in names:
        (tmp_path / name).write_text(f"name: {name}")
    with wandb_server() as server:
        settings = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40, "WANDB_MODE": mode}
        environment = {**os.environ, **settings}
        done = run_process([sys.executable, "-c", LOGGED, tmp_path], env=environment)
        if mode == "offline":
            (run,) = tmp_path.glob("wandb/offline-run-*")
            done = run_process([sys.executable, "-m", "wandb", "sync", run], env=environment)
        assert done.returncode == 0, done.stderr
    assert b"_wandb" in server.files["config.yaml"]  # that of W&B
    for name in names:
        assert (tmp_path / name).read_text() == f"name: {name}"
        assert server.files[f"dlcexp/{name}"].decode() == f"name: {name}"
    assert not [path for path in tmp_path.glob("wandb/*/files/**/*") if path.is_symlink()]
    assert all((tmp_path / name).stat().st_nlink == 1 for name in names)


def test_wandb_run_of_a_failed_job_ends_with_an_error(tmp_path: Path) -> None:
    logger = wandb_logger(tmp_path)
    logger.log_metrics({"loss": 1.0}, step=1)
    close([logger], failed=True)
    assert offline_runs(tmp_path)[0]["exit"] == 1


def test_wandb_gives_each_job_a_run_of_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        logger = wandb_logger(tmp_path / name, run_name=None)
        logger.log_metrics({"loss": 1.0}, step=1)
        close([logger], failed=False)
    (first,), (second,) = (offline_runs(tmp_path / name) for name in ("a", "b"))
    assert (first["name"], second["name"]) == ("a", "b")
    assert first["id"] != second["id"]


def test_wandb_goes_on_with_the_run_of_the_folder(tmp_path: Path) -> None:
    ids = []
    for epoch in (1, 2):
        logger = wandb_logger(tmp_path)
        logger.log_metrics({"loss": 1.0}, step=epoch)
        ids.append(logger.version)
        close([logger], failed=False)
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"projct": "a"}, r"logger\.wandb\.projct: .*'a'.*'project_name'"),
        ({"notes": [1]}, r"logger\.wandb\.notes: \[1\] .*null"),
        ({"dir": "x"}, r"logger\.wandb\.dir: "),
        ({"project_name": "lab/mice"}, r"project_name=mice logger\.wandb\.entity=lab\."),
    ],
)
def test_an_argument_that_wandb_does_not_take_is_told_before_a_run(
    given: dict[str, Any], message: str
) -> None:
    node = {"_target_": "dlcexp.training.loggers.WandbLogger"}
    check_targets({**node, "notes": "a", "save_code": True}, "logger.wandb")
    with pytest.raises(ConfigError, match=message):
        check_targets({**node, **given}, "logger.wandb")


def test_a_job_of_a_sweep_bears_its_name(tmp_path: Path) -> None:
    sweep = tmp_path / "2026-11-28_12-00-00-ab12"
    (sweep / "3").mkdir(parents=True)
    (sweep / "sweep.yaml").touch()
    logger = wandb_logger(sweep / "3", run_name=None)
    logger.log_metrics({"loss": 1.0}, step=1)
    close([logger], failed=False)
    (run,) = offline_runs(sweep / "3")
    assert (run["name"], run["group"]) == (f"{sweep.name}-3", sweep.name)


@pytest.mark.parametrize(
    ("environment", "netrc", "expected"),
    [
        pytest.param({}, "", "offline", id="no key"),
        pytest.param({"WANDB_API_KEY": "x" * 40}, "", "online", id="key in the environment"),
        pytest.param({}, "machine api.wandb.ai login user password x", "online", id="netrc"),
        pytest.param({}, "machine a.org login me password x", "offline", id="netrc of others"),
        pytest.param({}, "not a netrc", "offline", id="broken netrc"),
        pytest.param({"WANDB_API_KEY": "x", "WANDB_MODE": "disabled"}, "", "disabled", id="mode"),
    ],
)
def test_wandb_is_offline_without_a_key(
    environment: dict[str, str],
    netrc: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "netrc").write_text(netrc)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert WandbLogger(save_dir=tmp_path)._settings["mode"] == expected
