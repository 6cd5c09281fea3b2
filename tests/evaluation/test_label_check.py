"""Faults put into labels are listed, as what they are, and few other labels."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dlcexp.evaluation.evaluate import Evaluation
from dlcexp.evaluation.label_check import (
    COLUMNS,
    LEAST_LABELS,
    check_labels,
    discoveries,
    labels_to_check,
)

BODYPARTS = ("nose", "leftear", "rightear", "tail")
POSE = np.array([[0, 0], [-15, -20], [15, -20], [0, -90]])
ANIMALS = ("one", "two")


def records(frames=100, seed=0, median=3.0):
    """Labels of two mice 150 px apart and predictions: distances grow as confidence falls."""
    rng = np.random.default_rng(seed)
    keys = pd.MultiIndex.from_product(
        [[f"img{n}.png" for n in range(frames)], ANIMALS, BODYPARTS],
        names=["frame", "individual", "bodypart"],
    )
    centres = rng.uniform(100, 300, (frames, 1, 1, 2)) + np.array([[[0, 0]], [[150, 0]]])
    labels = (centres + POSE).reshape(-1, 2)
    confidence = rng.beta(8, 2, len(labels))
    distance = median * (2 - confidence) * rng.weibull(1.7, len(labels))
    angle = rng.uniform(0, 2 * np.pi, len(labels))
    points = labels + distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    rows = keys.to_frame(index=False).assign(split="test", confidence=confidence)
    rows[["label_x", "label_y"]], rows[["x", "y"]] = labels, points
    return measured(rows)


def measured(rows):
    difference = rows[["label_x", "label_y"]].to_numpy() - rows[["x", "y"]].to_numpy()
    return rows.assign(error=np.linalg.norm(difference, axis=1))


def place(rows, frame, individual, bodypart):
    same = (rows.frame == f"img{frame}.png") & (rows.individual == individual)
    return int(np.flatnonzero(same & (rows.bodypart == bodypart))[0])


def exchange(rows, one, two):
    columns = ["label_x", "label_y"]
    rows.loc[[one, two], columns] = rows.loc[[two, one], columns].to_numpy()


def faulty():
    """Ten swaps of the ears, ten labels moved by 30 px, ten noses exchanged between animals."""
    rows = records()
    kinds = {}
    for frame in range(10):
        left, right = (place(rows, frame, "one", ear) for ear in ("leftear", "rightear"))
        exchange(rows, left, right)
        kinds |= {left: "swapped with rightear", right: "swapped with leftear"}
        moved = place(rows, 10 + frame, "two", "tail")
        rows.loc[moved, "label_x"] += 30
        kinds[moved] = "misplaced"
        first, second = (place(rows, 20 + frame, animal, "nose") for animal in ANIMALS)
        exchange(rows, first, second)
        kinds |= {first: "belongs to two", second: "belongs to one"}
    return measured(rows), kinds


def test_faults_are_listed_as_what_they_are():
    rows, kinds = faulty()
    listed = labels_to_check(rows)
    assert tuple(listed.columns) == COLUMNS
    keys = ["frame", "individual", "bodypart"]
    found = {
        place(rows, key[0][3:-4], *key[1:]): kind
        for key, kind in zip(listed[keys].itertuples(index=False), listed.kind, strict=True)
    }
    right = [found[label] == kind for label, kind in kinds.items() if label in found]
    assert np.mean([label in found for label in kinds]) >= 0.95
    assert np.mean(right) >= 0.95
    assert len(found.keys() - kinds.keys()) <= 0.1 * len(found)
    assert listed.p_value.is_monotonic_increasing
    nose = listed[listed.frame == "img20.png"].iloc[0]
    label = rows.loc[place(rows, 20, nose.individual, "nose")]
    assert nose[["label_x", "y", "error"]].tolist() == label[["label_x", "y", "error"]].tolist()


def test_a_label_at_the_place_of_another_is_named_so_and_the_other_is_not_listed():
    rows = records()
    left, right = (place(rows, 0, "one", ear) for ear in ("leftear", "rightear"))
    rows.loc[left, ["label_x", "label_y"]] = rows.loc[right, ["x", "y"]].to_numpy() + 1
    listed = labels_to_check(measured(rows))
    here = listed[(listed.frame == "img0.png") & (listed.individual == "one")]
    assert here[["bodypart", "kind"]].values.tolist() == [["leftear", "on rightear"]]


def test_without_faults_hardly_any_label_is_listed():
    listed = [len(labels_to_check(records(frames=30, seed=seed))) for seed in range(40)]
    assert np.median(listed) == 0
    assert np.mean(listed) <= 0.005 * 240


def test_of_one_animal_with_one_bodypart_a_label_can_be_misplaced():
    rows = records()
    rows = rows[(rows.individual == "one") & (rows.bodypart == "nose")].reset_index(drop=True)
    rows.loc[7, "label_y"] += 100
    listed = labels_to_check(measured(rows))
    assert listed[["frame", "kind"]].values.tolist()[0] == ["img7.png", "misplaced"]


def test_a_prediction_far_from_the_animal_accuses_no_label():
    rows = records()
    lost = rows.index[(rows.frame == "img3.png") & (rows.individual == "one")][:3]
    rows.loc[lost, ["x", "y"]] += 400
    moved = place(rows, 5, "one", "tail")
    rows.loc[moved, ["label_x", "label_y"]] += 400
    rows.loc[lost, "confidence"] = rows.loc[moved, "confidence"] = 0.95
    listed = labels_to_check(measured(rows))
    assert "img3.png" not in set(listed.frame)
    assert listed.iloc[0][["frame", "bodypart"]].tolist() == ["img5.png", "tail"]


def test_discoveries_are_those_of_benjamini_and_hochberg():
    # Their own example, of 15 hypotheses at 0.05: the first four.
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
    p_values += [0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert discoveries(np.array(p_values), 0.05).tolist() == [True] * 4 + [False] * 11


@pytest.fixture
def evaluation():
    """Faults in frames of three parts of a split."""
    rows, _ = faulty()
    number = rows.frame.str.extract(r"(\d+)")[0].astype(int)
    rows["split"] = np.select([number < 5, number < 15], ["train", "val"], "test_gt_boxes")
    scores = {split: {} for split in ("train", "val", "test_gt_boxes")}
    return Evaluation(scores, {}, {}, records=rows)


def test_labels_that_trained_are_not_judged(evaluation):
    trained = {f"img{n}.png" for n in (*range(5), 20, 21)}
    check = check_labels(evaluation, trained)
    assert not trained & set(check.listed.frame)
    assert {"img5.png", "img14.png", "img22.png"} <= set(check.listed.frame)
    assert (check.judged, check.frames, check.trained) == (93 * 8, 93, 7)
    numbers = check.numbers()
    assert numbers["judged"] == 93 * 8
    assert numbers["listed"][0] == check.listed.iloc[0].to_dict()


def test_labels_without_a_prediction_and_few_labels_are_not_judged(evaluation):
    rows = evaluation.records[evaluation.records.split == "val"].copy()
    lost = rows.index[: len(rows) - LEAST_LABELS]
    rows.loc[lost, ["x", "y", "confidence", "error"]] = np.nan
    assert check_labels(replace(evaluation, records=rows), set()).judged == LEAST_LABELS
    check = check_labels(replace(evaluation, records=rows.iloc[:-1]), set())
    assert (check.judged, len(check.listed), check.numbers()["listed"]) == (0, 0, [])
    assert check_labels(Evaluation({}, {}, {}), set()).listed.empty
