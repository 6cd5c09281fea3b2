"""The table fits a terminal and says what was not measured."""

import io

import pytest
from rich.console import Console

from dlcexp.evaluation.evaluate import Evaluation
from dlcexp.evaluation.score_table import evaluation_table


def printed(evaluation, start=None, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(evaluation_table(evaluation, start))
    return console.file.getvalue()


def test_scores_of_both_splits_stand_side_by_side(evaluation):
    text = printed(evaluation)
    assert "train (7)" in text
    assert "test (5)" in text
    row = next(line for line in text.splitlines() if "RMSE of the mean pose" in line)
    expected = [f"{scores['rmse_mean_pose']:.2f}" for scores in evaluation.metrics.values()]
    assert row.split()[-2:] == expected
    for words in ("OKS mAP", "OKS mAR", "PCK at 0.1", "RMSE nose", "RMSE lamp", "mean Euclidean"):
        assert words in text


@pytest.mark.parametrize(
    "name", ["x", "a_bodypart_with_a_name_longer_than_any_column_would_like" * 2]
)
def test_it_fits_80_columns_and_loses_no_name(name):
    scores = {"rmse": 123456.789, "rmse_detections_pcutoff": 1.0, f"rmse_{name}": 2.0}
    evaluation = Evaluation(
        {"train": scores, "test": scores}, {}, {"train": ("f",) * 100000, "test": ("f",) * 100000}
    )
    lines = printed(evaluation).splitlines()
    assert max(map(len, lines)) <= 80
    first_column = "".join(line[:50].strip() for line in lines)
    assert name in first_column.replace(" ", "")


def test_nothing_to_average_is_a_dash():
    evaluation = Evaluation({"test": {"rmse": float("nan")}}, {}, {"test": ()})
    assert "–" in printed(evaluation)


def test_top_down_has_found_and_labelled_boxes_side_by_side():
    names = ("f",) * 1234
    scores = {"rmse": 3.0, "mAP": 50.0}
    splits = ("train", "test", "train_gt_boxes", "test_gt_boxes")
    evaluation = Evaluation(
        dict.fromkeys(splits, scores),
        {},
        dict.fromkeys(splits, names),
        detector={"train": {"mAP@50": 90.0}, "test": {"mAP@50": 80.0}},
        boxes={"train": dict.fromkeys(range(1234)), "test": dict.fromkeys(range(1234))},
    )
    lines = printed(evaluation).splitlines()
    assert max(map(len, lines)) <= 80
    detector = next(line for line in lines if "Box mAP@50 (%)" in line)
    assert detector.split()[-4:] == ["90.0", "80.0", "–", "–"]
    assert ["found", "found", "labelled", "labelled"] in [line.split() for line in lines]


def test_a_detector_alone_has_a_table_too():
    evaluation = Evaluation(
        {}, {}, {}, detector={"test": {"mAP@50": 80.0}}, boxes={"test": {0: None, 1: None}}
    )
    text = printed(evaluation)
    assert "test (2)" in text
    assert "80.0" in text


def test_the_start_is_under_the_table_as_it_is():
    evaluation = Evaluation({"test": {"rmse": 1.0}}, {}, {"test": ("f",)})
    text = "".join(printed(evaluation, "runs/[a]/snapshot-best-002.pt").split())
    assert "start:runs/[a]/snapshot-best-002.pt" in text
    assert "start" not in printed(evaluation)
