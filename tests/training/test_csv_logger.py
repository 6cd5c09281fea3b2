import csv
from pathlib import Path

from dlcexp.training.loggers import CSVLogger


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
