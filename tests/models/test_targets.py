"""Targets, worked by hand; what DeepLabCut draws is compared in test_parity.py."""

import math

import pytest
import torch

from dlcexp.errors import ConfigError
from dlcexp.models.predictors import SimCCPredictor
from dlcexp.models.targets import (
    DEKRGenerator,
    HeatmapGaussianGenerator,
    HeatmapPlateauGenerator,
    PartAffinityFieldGenerator,
    SimCCGenerator,
)

HEATMAP = {"heatmap": torch.zeros(1, 2, 20, 20)}


def labels(*individuals, area=None):
    """Labels of one image: per individual, per keypoint x, y, visibility."""
    keypoints = torch.tensor([individuals], dtype=torch.float32)
    areas = torch.tensor([area or [100.0] * len(individuals)])
    ids = torch.arange(len(individuals))[None]
    return {"keypoints": keypoints, "area": areas, "individual_ids": ids}


def test_dekr_draws_the_keypoint_sharper_than_the_centre():
    generator = DEKRGenerator(num_joints=1, pos_dist_thresh=16)
    targets = generator(4, HEATMAP, labels([[22, 22, 2], [42, 42, 2]]))
    heatmap = targets["heatmap"]["target"][0]
    assert heatmap[0, 5, 5] == 1
    assert heatmap[1, 10, 10] == 1
    assert heatmap[0, 5, 7].item() == pytest.approx(math.exp(-4 / (2 * 2**2)))
    assert heatmap[1, 10, 12].item() == pytest.approx(math.exp(-4 / (2 * 4**2)))
    assert targets["heatmap"]["weights"].unique().tolist() == pytest.approx([0.1, 1.0])


def test_dekr_offsets_point_from_the_keypoint_to_the_pixel():
    generator = DEKRGenerator(num_joints=1, pos_dist_thresh=16)
    offset = generator(4, HEATMAP, labels([[22, 26, 2], [42, 42, 2]]))["offset"]
    assert offset["target"][0, :, 11, 10].tolist() == [10 - 5, 11 - 6]
    drawn = offset["weights"][0, 0] > 0
    assert drawn[6:14, 6:14].all()
    assert drawn.sum() == 64
    assert offset["weights"].max().item() == pytest.approx(0.1)


def test_the_smaller_animal_is_on_top():
    near, far = [[22, 22, 2], [42, 42, 2]], [[62, 62, 2], [42, 42, 2]]
    generator = DEKRGenerator(num_joints=1, pos_dist_thresh=16)
    for order in ((near, far), (far, near)):
        area = [25.0 if animal is far else 400.0 for animal in order]
        offset = generator(4, HEATMAP, labels(*order, area=area))["offset"]
        assert offset["target"][0, 0, 10, 10] == 10 - 15
        assert offset["weights"].max().item() == pytest.approx(1 / 5)


def test_a_single_keypoint_without_area_has_a_finite_weight():
    generator = DEKRGenerator(num_joints=1, pos_dist_thresh=16)
    targets = generator(4, HEATMAP, labels([[42, 42, 2], [42, 42, 2]], area=[0.0]))
    assert targets["offset"]["weights"].max() == 1


@pytest.mark.parametrize(
    "individuals",
    [[[[0, 0, 0], [0, 0, 0]]], [[[-30, 5, 2], [-30, 5, 2]]]],
    ids=["no animal", "outside the image"],
)
def test_dekr_draws_nothing_where_there_is_nothing(individuals):
    targets = DEKRGenerator(num_joints=1, pos_dist_thresh=16)(4, HEATMAP, labels(*individuals))
    assert not targets["heatmap"]["target"].any()
    assert not targets["offset"]["weights"].any()


def test_gaussians_have_two_thirds_of_the_distance_as_deviation():
    generator = HeatmapGaussianGenerator(num_heatmaps=1, pos_dist_thresh=15)
    targets = generator(4, HEATMAP, labels([[22, 22, 2]]))
    assert targets["heatmap"]["target"][0, 0, 5, 7].item() == pytest.approx(math.exp(-64 / 200))
    locref = targets["locref"]
    assert locref["target"][0, :, 4, 7].tolist() == pytest.approx([-8 / 7.2801, 4 / 7.2801])
    assert locref["weights"][0, 0].sum() == 45  # map pixels within a radius of 3.75


def test_plateaus_are_one_inside_and_zero_outside():
    generator = HeatmapPlateauGenerator(1, 15, generate_locref=False)
    targets = generator(4, HEATMAP, labels([[22, 22, 2]], [[0, 0, 0]]))
    assert targets["heatmap"]["target"].sum() == 45
    assert set(targets) == {"heatmap"}


def test_a_missing_keypoint_masks_its_map():
    generator = HeatmapPlateauGenerator(2, 15, gradient_masking=True)
    weights = generator(4, HEATMAP, labels([[22, 22, 2], [0, 0, 0]]))["heatmap"]["weights"]
    assert weights.amin((2, 3)).tolist() == [pytest.approx([1.0, 0.1])]
    assert weights.amax((2, 3)).tolist() == [pytest.approx([1.0, 0.1])]


def test_identity_maps_show_all_keypoints_of_one_animal():
    generator = HeatmapPlateauGenerator(2, 5, heatmap_mode="INDIVIDUAL", generate_locref=False)
    data = labels([[10, 10, 2], [30, 10, 2]], [[50, 50, 2], [0, 0, 0]])
    data["individual_ids"] = torch.tensor([[1, 0]])
    heatmap = generator(4, HEATMAP, data)["heatmap"]["target"][0]
    assert heatmap[1, 2, [2, 7]].tolist() == [1, 1]
    assert heatmap[0, 12, 12] == 1
    assert not heatmap[0, :10].any()


def test_unique_bodyparts_have_their_own_labels():
    generator = HeatmapPlateauGenerator(1, 5, label_keypoint_key="keypoints_unique")
    data = {"keypoints_unique": torch.tensor([[[22.0, 22.0, 2.0]]])}
    assert generator(4, HEATMAP, data)["heatmap"]["target"][0, 0, 5, 5] == 1


def test_an_unknown_heatmap_mode_is_named():
    with pytest.raises(ConfigError, match=r"'KEYPOINTS'.*'KEYPOINT'"):
        HeatmapPlateauGenerator(1, 5, heatmap_mode="KEYPOINTS")


def test_fields_follow_the_limb_and_fade_beside_it():
    generator = PartAffinityFieldGenerator(graph=[[0, 1]], width=20)
    field = generator(4, HEATMAP, labels([[10, 22, 2], [50, 22, 2]]))["paf"]["target"][0]
    assert field[:, 5, 7].tolist() == [1, 0]
    assert field[:, 7, 7].tolist() == [pytest.approx(0.6), 0]
    assert not field[:, 5, 13].any()
    assert not field[:, 11, 7].any()


@pytest.mark.parametrize("end", [[50, 22, 0], [10, 22, 2]], ids=["half missing", "no length"])
def test_a_limb_that_is_not_there_has_no_field(end):
    generator = PartAffinityFieldGenerator(graph=[[0, 1]], width=20)
    field = generator(4, HEATMAP, labels([[10, 22, 2], end]))["paf"]["target"]
    assert not field.any()


LOGITS = {"x": torch.zeros(1, 2, 120), "y": torch.zeros(1, 2, 80)}


def simcc(**kwargs):
    """Labels for images of 60x40 px, two bins per px."""
    return SimCCGenerator([60, 40], sigma=[4.0, 6.0], **{"normalize": False, **kwargs})


def test_fields_are_the_same_where_nothing_may_be_read(monkeypatch):
    """On a GPU those of all images are drawn at once, also what turns out not to be there."""
    keypoints = 80 * torch.rand(3, 4, 5, 3, generator=torch.Generator().manual_seed(0))
    keypoints[..., 2] = (keypoints[..., 2] > 30).float() * 2  # a third is missing
    keypoints[1, 2] = 0
    keypoints[0, 0, 1] = keypoints[0, 0, 0]  # an edge without length
    graph = [[0, 1], [1, 2], [2, 3], [3, 4], [4, 0]]
    generator = PartAffinityFieldGenerator(graph=graph, width=9.0)
    drawn = []
    for on_cpu in (True, False):
        monkeypatch.setattr("dlcexp.models.targets.paf._on_cpu", lambda _, here=on_cpu: here)
        drawn.append(generator(4, HEATMAP, {"keypoints": keypoints})["paf"]["target"])
    assert drawn[0].count_nonzero() > 1000
    assert torch.equal(*drawn)


def test_simcc_labels_are_gaussians_around_the_bin_of_the_keypoint():
    targets = simcc()(32, LOGITS, labels([[10.2, 20.4, 2], [0, 0, 0]]))
    x, y = (targets[axis]["target"][0, 0] for axis in "xy")
    assert x.shape == (2, 120)
    assert y.shape == (2, 80)
    assert x[0, [20, 24]].tolist() == pytest.approx([1, math.exp(-1 / 2)])
    assert y[0, [41, 47]].tolist() == pytest.approx([1, math.exp(-1 / 2)])
    assert not x[1].any()
    assert targets["x"]["weights"].tolist() == targets["y"]["weights"].tolist() == [[[1, 0]]]


def test_normalized_simcc_labels_sum_to_one():
    targets = simcc(normalize=True)(32, LOGITS, labels([[30, 20, 2], [30, 20, 1]]))
    for axis in "xy":
        sums = targets[axis]["target"].sum(dim=-1).flatten()
        assert sums.tolist() == pytest.approx([1, 1], abs=1e-2)


@pytest.mark.parametrize("x", [3.1, 17.26, 42.74, 59.4])
@pytest.mark.parametrize("smoothing", ["gaussian", "standard"])
def test_decoded_simcc_labels_give_the_keypoint_within_half_a_bin(x, smoothing):
    point = torch.tensor([x, 40 - x / 2])
    targets = simcc(smoothing_type=smoothing)(32, LOGITS, labels([[*point, 2], [0, 0, 0]]))
    predictor = SimCCPredictor(2.0, [4.0, 6.0])
    pose = predictor(32, {axis: targets[axis]["target"][:, 0] for axis in "xy"})["poses"][0, 0]
    assert (pose[0, :2] - point).abs().max() <= 0.25
    assert pose[1, :2].tolist() == [-0.5, -0.5]


@pytest.mark.parametrize(
    ("smoothing", "x", "weight"),
    [
        ("gaussian", -6, 1),
        ("gaussian", -7, 0),
        ("gaussian", 65, 1),
        ("gaussian", 66, 0),
        ("standard", -1, 0),
        ("standard", 0, 1),
        ("standard", 59, 1),
        ("standard", 60, 0),
    ],
)
def test_keypoints_whose_label_misses_the_image_do_not_count(smoothing, x, weight):
    targets = simcc(smoothing_type=smoothing)(32, LOGITS, labels([[x, 20, 2], [0, 0, 0]]))
    for axis in "xy":
        assert targets[axis]["weights"][0, 0, 0] == weight
        assert bool(targets[axis]["target"][0, 0, 0].any()) == bool(weight)


def test_standard_simcc_labels_share_the_smoothing_among_the_other_bins():
    generator = simcc(smoothing_type="standard", label_smooth_weight=0.1)
    label = generator(32, LOGITS, labels([[10, 20, 2], [0, 0, 0]]))["x"]["target"][0, 0, 0]
    assert label[20].item() == pytest.approx(0.9)
    assert label.sum().item() == pytest.approx(1)
    assert label.unique().numel() == 2


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"smoothing_type": "gausian"}, "'gausian'.*'gaussian'"),
        ({"label_smooth_weight": 0.1}, "label_smooth_weight: .*smoothing_type=standard"),
    ],
)
def test_simcc_settings_that_make_no_sense_are_named(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        simcc(**kwargs)


def test_a_background_weight_of_zero_leaves_missing_keypoints_out():
    generator = HeatmapGaussianGenerator(2, 15, gradient_masking=True, background_weight=0.0)
    weights = generator(4, HEATMAP, labels([[22, 22, 2], [0, 0, 0]]))["heatmap"]["weights"]
    assert weights[0, 0].all()
    assert not weights[0, 1].any()
