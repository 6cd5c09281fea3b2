import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from training_support import offline_runs

from dlcexp.training.loggers import CSVLogger, WandbLogger, close


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_one_row_an_epoch(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"loss": 0.5}, step=1)
    logger.log_metrics({"loss": 0.25}, step=2)
    assert (tmp_path / "metrics.csv").read_text() == "epoch,loss\n1,0.5\n2,0.25\n"


def test_csv_appends(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"loss": 0.5}, step=1)
    inode = (tmp_path / "metrics.csv").stat().st_ino
    logger.log_metrics({"loss": 0.5}, step=2)
    assert (tmp_path / "metrics.csv").stat().st_ino == inode


def test_csv_adds_a_column_for_a_new_metric(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"loss": 0.5}, step=1)
    logger.log_metrics({"test.mAP": 9.0, "loss": 0.25}, step=2)
    logger.log_metrics({"loss": 0.125}, step=3)
    text = (tmp_path / "metrics.csv").read_text()
    assert text == "epoch,loss,test.mAP\n1,0.5,\n2,0.25,9.0\n3,0.125,\n"


def test_csv_replaces_the_rows_that_a_resumed_run_repeats(tmp_path: Path) -> None:
    first = CSVLogger(tmp_path)
    for epoch in (1, 2, 3):
        first.log_metrics({"loss": epoch, "test.mAP": 1.0}, step=epoch)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("4,0.")  # killed while writing
    second = CSVLogger(tmp_path)
    second.log_metrics({"loss": 20}, step=2)
    second.log_metrics({"loss": 30}, step=3)
    assert [(row["epoch"], row["loss"]) for row in rows(tmp_path)] == [
        ("1", "1"),
        ("2", "20"),
        ("3", "30"),
    ]


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
    logger.log_figures([figure])
    logger.log_summary({"test.mAP": 9.0, "test.rmse": None})
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
    assert run["exit"] == 0


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
