"""`evaluation.html` and the numbers beside it: whole, self-contained, safe; in a real browser."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from calibration_support import simulated
from page_support import Page, browser, told_by
from plotly.offline import get_plotlyjs

from dlcexp.data.splits import Split
from dlcexp.evaluation.evaluate import Evaluation
from dlcexp.evaluation.records import pose_records
from dlcexp.evaluation.reliability import measure_reliability
from dlcexp.reports.evaluation_page import evaluation_report

ATTACK = "</script><script>document.title='broken in'</script><img src=x onerror=alert(1)>"
FACTS = {"run": "runs/flies/done", "snapshot": "snapshot-best-010.pt", "net_type": "dekr_w18"} | {
    "start": "COCO"
}


# The report is drawn once; its data are the same in every test.
MADE = []


def calibration():
    """Numbers of a simulated model, whose confidence is too low."""
    found = measure_reliability(simulated(frames=60, bodyparts=2, seed=0), 5.0)
    return {"px_from": "evaluation.calibration_px", "source": "test frames", **found.numbers}


def numbers(values):
    """What plotly has written as a list, or as the bytes of an array."""
    if isinstance(values, list):
        return values
    return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()


@pytest.fixture
def cfg(settings):
    return SimpleNamespace(evaluation=settings, model=SimpleNamespace(heads=["identity"]))


@pytest.fixture
def report(evaluation, data, settings, cfg):
    data.labels.names = (ATTACK, *data.labels.names[1:-1], ATTACK)
    names = {"train": data.labels.names[:7], "test": data.labels.names[7:]}
    whole = replace(evaluation, names=names, records=pose_records(evaluation, data, settings))
    if not MADE:
        again = [("Again", "dlcexp evaluate run=x")]
        MADE.append(evaluation_report(whole, data, cfg, FACTS, again, calibration=calibration()))
    return MADE[0]


@pytest.fixture
def page(report):
    return Page(report.page.replace(get_plotlyjs(), ""))


def test_nothing_is_fetched_and_no_name_becomes_markup(page):
    sources = page.values("src") + page.values("href")
    assert all(source.startswith("data:") for source in sources)
    assert ("img", "onerror", "alert(1)") not in page.attributes
    assert ATTACK in page.text


def test_every_section_is_there_and_told_in_words(page):
    identifiers = page.values("id")
    assert len(identifiers) == len(set(identifiers))
    assert set(page.values("aria-labelledby")) <= set(identifiers)
    for words in (
        "dekr_w18, snapshot-best-010.pt",
        "32 of 35",
        "11.0 px, 1 of 2 animals",
        "dlcexp evaluate run=x",
        "start: COCO.",
        "Fewer than 40 labels",
    ):
        assert words in page.text
    images = [v for tag, name, v in page.attributes if (tag, name) == ("img", "src")]
    assert len(images) == 4  # two of each split


def test_the_charts_hold_the_numbers(page, report, evaluation):
    traces = [trace for figure in page.json for trace in figure["data"]]
    points = next(trace for trace in traces if trace.get("name") == "predictions")
    assert np.mean(numbers(points["y"])) == pytest.approx(
        evaluation.metrics["test"]["rmse"], abs=1e-3
    )
    boxes = {trace["name"]: trace for trace in traces if trace["type"] == "box"}
    errors = report.numbers["splits"]["test"]["bodyparts"]
    medians = dict(zip(boxes["test"]["y"], numbers(boxes["test"]["median"]), strict=True))
    assert medians == {name: pytest.approx(errors[name]["median"]) for name in medians}
    told = report.numbers["calibration"]
    for name, key in {"confidence": "bins", "probability": "bins_calibrated"}.items():
        (curve,) = (trace for trace in traces if trace.get("name") == name)
        assert numbers(curve["x"]) == [each["probability"] for each in told[key]]
        assert numbers(curve["y"]) == [100 * each["within"] for each in told[key]]
    heat = [trace for trace in traces if trace["type"] == "heatmap"]
    assert [row for trace in heat[:1] for row in trace["text"]] == [
        ["5", "0", "0"],
        ["0", "4", "1"],
    ]


def test_the_numbers_are_documented(report):
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    split = report.numbers["splits"]["test"]
    keys = [*report.numbers, *split, *split["individuals"], *split["animals"]]
    keys += [*split["bodyparts"]["nose"], *split["confidence"][0], *split["pcutoff"], *split["pck"]]
    calibration = report.numbers["calibration"]
    every = calibration["bodyparts"]["all"]
    keys += [*calibration, *calibration["left_out"], *calibration["bins"][0], *every]
    keys += [*every["cutoffs"], *every["cutoffs"]["0.9"]]
    documented = {key.replace("pck_0.1", "pck_0.05") for key in keys}
    assert [key for key in documented if f"`{key}`" not in text] == []


def test_calibration_is_told_in_words_and_as_cutoffs(page, report):
    told = report.numbers["calibration"]
    every = told["bodyparts"]["all"]
    cutoff = every["cutoffs"]["0.9"]
    for words in (
        "within 5 px of its label (evaluation.calibration_px)",
        f"{100 * every['within']:.0f}\u00a0% of 120 keypoints in 60 frames are (test frames)",
        f"Expected calibration error: {told['ece']:.3f} of the confidence",
        f"{cutoff['cutoff']:.3f} ({100 * cutoff['kept']:.0f}\u00a0% kept)",
        f"{100 * cutoff['left_out']['within']:.0f}\u00a0% (",
        "each of 10 groups of frames",
    ):
        assert words in page.text


def test_without_a_calibration_the_page_states_why(data, settings, cfg, evaluation):
    settings.examples = 0
    whole = replace(evaluation, records=pose_records(evaluation, data, settings))
    report = evaluation_report(whole, data, cfg, FACTS, uncalibrated="Few frames.")
    assert report.numbers["calibration"] is None
    text = Page(report.page.replace(get_plotlyjs(), "")).text
    assert "There is no calibration. Few frames." in text


def test_without_an_animal_found_there_is_a_page(data, settings, cfg):
    settings.examples = 0
    poses = {"test": np.full((5, 2, 3, 3), np.nan, np.float32)}
    bare = Evaluation({"test": {}}, poses, {"test": data.labels.names[7:]})
    bare = replace(bare, records=pose_records(bare, data, settings))
    report = evaluation_report(bare, data, cfg, FACTS)
    assert "0 of 30" in Page(report.page.replace(get_plotlyjs(), "")).text


def test_of_a_detector_alone_there_is_a_page(data, settings, cfg):
    boxes = Evaluation(
        {}, {}, {}, detector={"test": {"mAP@50": 80.0}}, boxes={"test": {7: np.zeros((0, 5))}}
    )
    boxes = replace(boxes, records=pose_records(boxes, data, settings))
    report = evaluation_report(boxes, data, cfg, FACTS)
    text = Page(report.page.replace(get_plotlyjs(), "")).text
    assert "80.0" in text
    assert report.numbers["metrics"] == {"detector.test.mAP@50": 80.0}
    json.dumps(report.numbers)


def test_labels_that_are_probably_wrong_are_shown(data, settings, cfg):
    rng = np.random.default_rng(0)
    data.split = Split((), tuple(range(12)))
    # The right poses, but that the label of one tail is far away, towards the other animal.
    poses = np.full((12, 2, 3, 3), 0.9, np.float32)
    poses[..., :2] = data.labels.keypoints + rng.normal(0, 1, (12, 2, 3, 2))
    data.labels.keypoints[5, 0, 2] += [60, 0]
    found = Evaluation({"test": {}}, {"test": poses}, {"test": data.labels.names})
    found = replace(found, records=pose_records(found, data, settings))
    report = evaluation_report(found, data, cfg, FACTS)
    page = Page(report.page.replace(get_plotlyjs(), ""))
    caption = "labeled-data/video/img5.png, one: tail misplaced (6"
    captions = [v for tag, name, v in page.attributes if (tag, name) == ("img", "alt")]
    assert sum(each.startswith(caption) for each in captions) == 1
    assert "1 of 69 labels of 12 frames" in page.text
    (listed,) = report.numbers["labels_to_check"]["listed"]
    assert listed["bodypart"] == "tail"
    json.dumps(report.numbers)


@pytest.mark.slow
def test_in_a_browser_all_charts_are_drawn(report, tmp_path):
    program = browser()
    path = tmp_path / "evaluation.html"
    path.write_text(report.page, encoding="utf-8")
    told = told_by(program, path, "told.title = document.title;")
    assert told == {
        "errors": [], "title": "Evaluation: runs/flies/done", "charts": 8, "wide": False,
    }  # fmt: skip
