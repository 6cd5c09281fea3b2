"""Targets, worked by hand; what DeepLabCut draws is compared in test_parity.py."""

import math

import pytest
import torch

from dlcexp.errors import ConfigError
from dlcexp.models.targets import (
    DEKRGenerator,
    HeatmapGaussianGenerator,
    HeatmapPlateauGenerator,
    PartAffinityFieldGenerator,
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
    with pytest.raises(ConfigError, match=r"'KEYPOINTS'.*Did you mean 'KEYPOINT'"):
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
