"""Hand-worked cases of what the records come to."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dlcexp.evaluation.records import pose_records
from dlcexp.evaluation.summary import (
    bodypart_errors,
    by_confidence,
    by_pcutoff,
    mixed_up,
    pck_curves,
    summarize,
    taken_for,
)


def table(**columns):
    """Records of as many keypoints; what is not said is the same for all."""
    rows = len(next(iter(columns.values())))
    usual = {
        "frame": [f"{n}.png" for n in range(rows)],
        "individual": ["one"] * rows,
        "bodypart": ["nose"] * rows,
        "confidence": [0.9] * rows,
        "size": [100.0] * rows,
        "predicted_as": ["one"] * rows,
        "nearest": ["one"] * rows,
    }
    made = pd.DataFrame({**usual, **columns})
    if "error" in made:
        made["normalized_error"] = made.error / made["size"]
    return made


# Errors of four noses and of two tails, of which one was not found.
ERRORS = table(
    error=[1.0, 2.0, 4.0, 13.0, 6.0, np.nan],
    bodypart=["nose"] * 4 + ["tail"] * 2,
    confidence=[0.95, 0.85, 0.62, 0.1, 0.3, np.nan],
)


def test_errors_of_each_bodypart_and_of_all():
    errors = bodypart_errors(ERRORS, [0.05, 0.1])
    assert list(errors) == ["all", "nose", "tail"]
    nose, tail, every = errors["nose"], errors["tail"], errors["all"]
    assert (nose["labels"], nose["found"], nose["mean"], nose["median"], nose["max"]) == (
        4, 4, 5, 3, 13,
    )  # fmt: skip
    assert nose["p95"] == pytest.approx(4 + 0.85 * 9)
    assert (tail["labels"], tail["found"], tail["mean"], tail["confidence"]) == (2, 1, 6, 0.3)
    assert (nose["pck_0.05"], tail["pck_0.05"], tail["pck_0.1"]) == (0.75, 0, 0.5)
    assert every["mean"] == pytest.approx(26 / 5)
    assert every["pck_0.1"] == pytest.approx(4 / 6)


def test_pck_counts_what_is_within_and_what_was_not_found_is_wrong():
    curves = pck_curves(ERRORS, [0, 1, 2, 5, 20])
    assert curves["pixels"]["bodyparts"] == {
        "all": pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 5 / 6]),
        "nose": [0, 0.25, 0.5, 0.75, 1],
        "tail": [0, 0, 0, 0, 0.5],
    }
    size = curves["size"]
    at = dict(zip(size["thresholds"], size["bodyparts"]["nose"], strict=True))
    assert (at[0.005], at[0.01], at[0.04], at[0.125], at[0.13]) == (0, 0.25, 0.75, 0.75, 1)


def test_points_of_animals_without_a_size_enter_the_pixels_only():
    rows = table(error=[1.0, 1.0], size=[100.0, np.nan])
    curves = pck_curves(rows, [0.5, 1])
    assert curves["pixels"]["bodyparts"]["all"] == [0, 1]
    assert curves["size"]["bodyparts"]["all"][-1] == 1
    assert bodypart_errors(rows, [0.05])["all"]["pck_0.05"] == 1


def test_errors_by_confidence():
    bins = by_confidence(ERRORS)
    assert [each["n"] for each in bins] == [0, 1, 0, 1, 0, 0, 1, 0, 1, 1]
    assert (bins[1]["low"], bins[1]["high"], bins[1]["median"]) == (0.1, 0.2, 13)
    assert by_confidence(table(error=[1.0, 2.0], confidence=[1.0, 1.2]))[9]["mean"] == 1.5


def test_what_a_cutoff_leaves():
    left = by_pcutoff(ERRORS)
    at = {t: (k, m) for t, k, m in zip(*left.values(), strict=True)}
    assert at[0.0] == pytest.approx((5 / 6, 26 / 5))
    assert at[0.3] == pytest.approx((4 / 6, 13 / 4))
    assert at[0.9] == pytest.approx((1 / 6, 1))
    assert at[1.0][0] == 0
    assert np.isnan(at[1.0][1])


def test_who_was_taken_for_whom_counts_animals():
    rows = table(
        frame=["a", "a", "a", "b", "b", "c"],
        individual=["one", "one", "two", "one", "two", "one"],
        predicted_as=["two", "two", "one", "one", None, "one"],
    )
    assert taken_for(rows, ["one", "two"]) == {
        "rows": ["one", "two"],
        "columns": ["one", "two", "not found"],
        "counts": [[2, 1, 0], [1, 0, 1]],
    }


def test_points_on_another_animal_count_where_several_have_the_bodypart():
    rows = table(
        frame=["a", "a", "b", "b", "c"],
        individual=["one", "two", "one", "two", "one"],
        nearest=["one", "one", "one", None, "two"],
    )
    assert mixed_up(rows, ["one", "two"])["counts"] == [[2, 0], [1, 0]]


def test_the_summary_is_plain_and_its_numbers_are_the_metrics(evaluation, data, settings):
    cfg = SimpleNamespace(evaluation=settings, model=SimpleNamespace(heads=["identity"]))
    records = pose_records(evaluation, data, settings)
    summary = summarize(evaluation, data, cfg, records)
    json.dumps(summary)
    for split, scores in evaluation.metrics.items():
        told = summary[split]
        assert told["bodyparts"]["all"]["mean"] == pytest.approx(scores["rmse"])
        assert told["bodyparts"]["all"]["pck_0.1"] == pytest.approx(scores["pck_0.1"])
        thresholds = told["pck"]["size"]["thresholds"]
        curve = told["pck"]["size"]["bodyparts"]["all"]
        assert curve[thresholds.index(0.1)] == pytest.approx(scores["pck_0.1"])
    test = summary["test"]
    assert (test["frames"], test["animals"]["missed"]) == (5, 1)
    assert test["worst_frames"][0]["frame"].endswith("img11.png")
    assert test["worst_frames"][0]["missed"] == 1
    assert test["individuals"]["taken_for"]["counts"] == [[5, 0, 0], [0, 4, 1]]
    assert test["individuals"]["errors"]["two"]["found"] == 12
    # A keypoint lies no nearer to another animal than to its own, some 160 px apart.
    assert test["individuals"]["mixed_up"]["counts"][0][1] == 0
