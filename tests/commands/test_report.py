"""`dlcexp report` and `dlcexp best` as a user types them."""

import io
import json
import re
import shlex
import sys

import pytest
import yaml

from dlcexp.cli import main


@pytest.fixture
def runs(tmp_path):
    """Three runs of a made-up experiment, the second the most accurate, the third the fastest."""
    for number, (score, pixels) in enumerate(((50.0, 9.0), (60.0, 8.0), (40.0, 7.0))):
        folder = tmp_path / f"run {number}"
        folder.mkdir()
        tree = {"optimizer": {"lr": 10.0**-number}, "trainer": {"key_metric": "test.mAP"}}
        (folder / "config.yaml").write_text(yaml.safe_dump(tree))
        (folder / "overrides.yaml").write_text(yaml.safe_dump([f"optimizer.lr=1e-{number}"]))
        (folder / "status.json").write_text(json.dumps({"status": "completed", "seconds": 5}))
        numbers = {"test.mAP": score, "test.rmse": pixels, "snapshot": "snapshot-best-002.pt"}
        (folder / "metrics.json").write_text(json.dumps(numbers))
        (folder / "pytorch_config.yaml").write_text(f"method: bu  # {number}\n")
    return tmp_path


def test_report_prints_the_table_and_writes_one_page(runs, capsys):
    before = {path.name for path in runs.iterdir()}
    assert main(["report", str(runs)]) == 0
    text = capsys.readouterr().out
    assert [line.split()[:2] for line in text.splitlines() if "completed  " in line] == [
        ["1", "0.1"],
        ["2", "1"],
        ["3", "0.01"],
    ]
    assert {path.name for path in runs.iterdir()} - before == {"report.html"}
    assert str(runs / "report.html") in text


def test_another_metric_and_another_file(runs, tmp_path, capsys):
    target = tmp_path / "out" / "page.html"
    assert main(["report", str(runs), "metric=test.rmse", f"output={target}"]) == 0
    assert "smaller is better" in capsys.readouterr().out
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_best_names_the_folder_the_weights_and_the_recipe(runs, capsys):
    assert main(["best", str(runs)]) == 0
    text = capsys.readouterr().out
    assert str(runs / "run 1" / "snapshots" / "snapshot-best-002.pt") in text
    assert "optimizer.lr=0.1" in text
    assert "start        unknown" in text
    assert "test.mAP 60.00" in text


def test_best_of_validation_frames_prints_what_the_winner_reaches_on_test_frames(runs, capsys):
    for number, error in enumerate((5.0, 6.0, 4.5)):
        file = runs / f"run {number}" / "metrics.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"val.rmse": error}))
    assert main(["best", str(runs), "metric=val.rmse"]) == 0
    text = capsys.readouterr().out
    assert "val.rmse 4.50 (smaller is better)" in text
    assert "on test      test.rmse 7.00, which chose nothing" in text


@pytest.mark.parametrize(("words", "number"), [([], 1), (["metric=test.rmse"], 2)])
def test_best_export_prints_the_file_for_deeplabcut(runs, words, number, capsys):
    assert main(["best", str(runs), "--export", *words]) == 0
    assert capsys.readouterr().out == f"method: bu  # {number}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["report"], "report"),
        (["report", "a", "b"], "report"),
        (["report", "{}", "metrik=x"], "metrik: .*'metric'"),
        (["report", "{}", "metric=test.mape"], r"'test\.mape'.*'test\.mAP'"),
        (["report", "{}", "direction=up"], "direction: 'up'"),
        (["report", "{}/run 0/snapshots"], "snapshots"),
        (["best", "{}", "--exprot"], "'--exprot'.*'--export'"),
        (["best", "{}", "--export", "--install"], "--export and --install"),
    ],
)
def test_a_mistake_is_one_message(runs, words, message, capsys):
    assert main([word.replace("{}", str(runs)) for word in words]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("encoding", ["cp1252", "cp932", "ascii"])
def test_a_table_is_printed_whatever_the_encoding_of_standard_output(runs, encoding, monkeypatch):
    (runs / "run 1" / "overrides.yaml").write_text("[project=日本/Mäuse]\n", encoding="utf-8")
    (runs / "run 1" / "pytorch_config.yaml").write_text("project: 日本/Mäuse\n", encoding="utf-8")
    for words in (["report", str(runs)], ["best", str(runs)], ["best", str(runs), "--export"]):
        output = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", output)
        assert main(words) == 0
        output.flush()
    assert output.buffer.getvalue().decode() == "project: 日本/Mäuse\n"


def test_the_overrides_of_the_winner_can_be_typed(runs, capsys):
    typed = ["project=/data/Mäuse (2)", "optimizer.lr=1e-1", "run_name=bob's"]
    (runs / "run 1" / "overrides.yaml").write_text(yaml.safe_dump(typed), encoding="utf-8")
    assert main(["best", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (shown,) = (line for line in lines if line.startswith("overrides "))
    assert shlex.split(shown)[1:] == typed


def test_a_metric_that_exists_is_chosen_where_no_run_has_the_usual_ones(runs, capsys):
    """Several animals of one bodypart have neither mAP nor RMSE."""
    for number, folder in enumerate(sorted(runs.iterdir())):
        numbers = {"test.mAP": None, "test.rmse": None, "test.rmse_detections": 3.0 - number}
        (folder / "metrics.json").write_text(json.dumps(numbers))
        (folder / "metrics.csv").write_text("epoch,test.mAP,test.rmse_detections\n1,,3.0\n")
    assert main(["best", str(runs)]) == 0
    assert str(runs / "run 2") in capsys.readouterr().out
    assert main(["best", str(runs), "metric=test.mAP"]) == 2
    assert "They have test.rmse_detections" in capsys.readouterr().err
