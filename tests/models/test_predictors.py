"""Predictors on maps drawn by hand; what DeepLabCut predicts is compared in test_parity.py."""

import pytest
import torch

from dlcexp.errors import ConfigError
from dlcexp.models.predictors import (
    DEKRPredictor,
    HeatmapPredictor,
    IdentityPredictor,
    PartAffinityFieldPredictor,
    SimCCPredictor,
    assign_identities,
    identity_scores,
)
from dlcexp.models.predictors.assembly import Links, assemble
from dlcexp.models.predictors.dekr import suppress_poses

PLAIN = {"apply_sigmoid": False, "use_heatmap": False, "clip_scores": True}


def dekr_maps(*centres, size=(24, 32)):
    """Maps of two keypoints, three pixels left and right of centres (x, y, score)."""
    heatmap = torch.zeros(1, 3, *size)
    offset = torch.zeros(1, 4, *size)
    offset[:, 0], offset[:, 2] = 3, -3
    for x, y, score in centres:
        heatmap[0, 2, y, x] = score
        heatmap[0, 0, y, x - 3] = heatmap[0, 1, y, x + 3] = 0.5
    return {"heatmap": heatmap, "offset": offset}


def test_dekr_poses_are_what_the_offsets_point_to():
    predictor = DEKRPredictor(num_animals=2, apply_pose_nms=False, **PLAIN)
    poses = predictor(4, dekr_maps((8, 6, 0.8), (20, 15, 0.9)))["poses"][0]
    expected = [[[70, 62], [94, 62]], [[22, 26], [46, 26]]]
    assert poses[..., :2].tolist() == expected
    assert poses[..., 2].tolist() == [pytest.approx([0.45] * 2), pytest.approx([0.4] * 2)]


@pytest.mark.parametrize(("kind", "score"), [("center", 0.8), ("heatmap", 0.5), ("combined", 0.4)])
def test_dekr_scores(kind, score):
    predictor = DEKRPredictor(num_animals=1, keypoint_score_type=kind, **PLAIN)
    poses = predictor(4, dekr_maps((8, 6, 0.8)))["poses"]
    assert poses[0, 0, :, 2].tolist() == pytest.approx([score, score])


def test_dekr_scores_pass_through_the_sigmoid_and_are_clipped():
    maps = dekr_maps((8, 6, 3.0))
    kwargs = {"num_animals": 1, "keypoint_score_type": "center", "use_heatmap": False}
    sigmoid = DEKRPredictor(apply_sigmoid=True, **kwargs)(4, maps)["poses"]
    assert sigmoid[0, 0, 0, 2].item() == pytest.approx(torch.tensor(3.0).sigmoid().item())
    assert DEKRPredictor(apply_sigmoid=False, **kwargs)(4, maps)["poses"][0, 0, 0, 2] == 3
    clipped = DEKRPredictor(apply_sigmoid=False, clip_scores=True, **kwargs)(4, maps)["poses"]
    assert clipped[0, 0, 0, 2] == 1


def test_dekr_with_more_peaks_than_animals_keeps_the_best():
    maps = dekr_maps((5, 5, 0.5), (15, 5, 0.9), (25, 5, 0.7), (15, 18, 0.6))
    kwargs = {"keypoint_score_type": "center", "apply_pose_nms": False, **PLAIN}
    poses = DEKRPredictor(num_animals=2, **kwargs)(4, maps)["poses"]
    assert poses[0, :, 0, 2].tolist() == pytest.approx([0.9, 0.7])


def test_dekr_on_an_empty_image_scores_zero():
    poses = DEKRPredictor(num_animals=3, **PLAIN)(4, dekr_maps())["poses"]
    assert poses.shape == (1, 3, 2, 3)
    assert not poses[..., 2].any()


def test_dekr_keypoints_move_to_the_peaks_of_their_heatmap():
    maps = dekr_maps((8, 6, 0.8))
    maps["offset"] += 0.4
    moved = DEKRPredictor(num_animals=1, **{**PLAIN, "use_heatmap": True})(4, maps)["poses"]
    assert moved[0, 0, :, :2].tolist() == [[22, 26], [46, 26]]


def test_an_unknown_score_type_is_named():
    with pytest.raises(ConfigError, match=r"'centre'.*'center'"):
        DEKRPredictor(num_animals=1, keypoint_score_type="centre")


def test_repeated_poses_are_removed():
    pose = torch.tensor([[0.0, 0, 0.9], [30, 40, 0.9]])  # diagonal 50: reach 5 at 0.1
    shifts = torch.tensor([0.0, 4.0, 6.0])
    poses = pose.repeat(1, 3, 1, 1)
    poses[0, :, :, 0] += shifts[:, None]
    kept = suppress_poses(poses, 0.1)[0]
    # The second repeats the first, the third the second; what is left comes first.
    assert torch.equal(kept[0], poses[0, 0])
    assert (kept[1:] == -1).all()
    assert torch.equal(suppress_poses(poses, 0.01)[0], poses[0].flip(0))


def test_heatmap_poses_are_at_the_maximum():
    maps = {"heatmap": torch.zeros(2, 1, 9, 9), "locref": torch.zeros(2, 2, 9, 9)}
    maps["heatmap"][0, 0, 3, 5] = 4.0
    maps["locref"][0, :, 3, 5] = torch.tensor([1.0, -1.0])
    plain = HeatmapPredictor(apply_sigmoid=False, location_refinement=False)(4, maps)["poses"]
    assert plain[0, 0].tolist() == [[22, 14, 4]]
    assert plain[1, 0, 0, 2] == 0  # nothing there
    refined = HeatmapPredictor(apply_sigmoid=False, clip_scores=True)(4, maps)["poses"]
    assert refined[0, 0].tolist() == [pytest.approx([22 + 7.2801, 14 - 7.2801, 1])]
    without = {"heatmap": maps["heatmap"]}
    HeatmapPredictor(location_refinement=False)(4, without)


def paf_maps(*animals, size=(40, 40)):
    """Maps of animals of three keypoints at (x, y) map pixels, with fields along their limbs."""
    heatmap, field = torch.zeros(1, 3, *size), torch.zeros(1, 4, *size)
    for animal in animals:
        for k, (x, y) in enumerate(animal):
            heatmap[0, k, y, x] = 5
        for limb in range(2):
            (x0, y0), (x1, y1) = animal[limb], animal[limb + 1]
            assert y0 == y1
            field[0, 2 * limb, y0, min(x0, x1) : max(x0, x1) + 1] = 1
    return {"heatmap": heatmap, "locref": torch.zeros(1, 6, *size), "paf": field}


def paf_predictor(num_animals, **kwargs):
    return PartAffinityFieldPredictor(
        num_animals=num_animals,
        num_multibodyparts=3,
        num_uniquebodyparts=0,
        graph=[[0, 1], [1, 2]],
        edges_to_keep=[0, 1],
        locref_stdev=7.2801,
        nms_radius=5,
        sigma=1.0,
        min_affinity=0.05,
        apply_sigmoid=False,
        **kwargs,
    )


UPPER = [(4, 10), (16, 10), (30, 10)]
LOWER = [(30, 25), (18, 25), (5, 25)]


@pytest.mark.parametrize("edges", [[0, 1]])
def test_fields_tell_which_keypoints_belong_together(edges):
    result = paf_predictor(num_animals=2)(2, paf_maps(UPPER, LOWER))
    poses = sorted(result["poses"][0].tolist(), key=lambda pose: pose[0][1])
    for pose, animal in zip(poses, (UPPER, LOWER), strict=True):
        assert [point[:2] for point in pose] == [[2 * x + 1, 2 * y + 1] for x, y in animal]
    assert result["affinity"][0].tolist() == pytest.approx([1, 1], abs=1e-3)


def test_the_absent_animal_is_minus_one():
    poses = paf_predictor(num_animals=3)(2, paf_maps(UPPER))["poses"][0]
    assert (poses[0, :, 2] > 0).all()
    assert (poses[1:] == -1).all()


@pytest.mark.parametrize("num_animals", [1, 2])
def test_nothing_is_found_on_an_empty_image(num_animals):
    poses = paf_predictor(num_animals)(2, paf_maps())["poses"]
    assert poses.shape == (1, num_animals, 3, 3)
    assert (poses[..., 2] <= 0).all()


def test_one_animal_needs_no_fields():
    maps = paf_maps(UPPER)
    maps["heatmap"][0, 1] = 0
    poses = paf_predictor(num_animals=1, clip_scores=True)(2, maps)["poses"][0, 0]
    assert poses[1, 2] == 0
    assert poses[1, :2].isnan().all()
    assert poses[0, :2].tolist() == [9, 21]
    assert poses[0, 2] <= 1


def links_of(*links, ranks=2):
    """Links (affinity, (bodypart, rank), (bodypart, rank)) as the assembly takes them."""
    affinities, *ends = zip(*links, strict=True)
    start, end = ([part * ranks + rank for part, rank in each] for each in ends)
    return Links(list(affinities), start, end)


def test_of_equally_strong_links_the_one_that_touched_the_individual_first_counts():
    seed, second = (0.9, (0, 0), (1, 0)), (0.8, (1, 0), (2, 0))
    early, late = (0.5, (1, 0), (3, 0)), (0.5, (2, 0), (3, 1))
    crowd = (0.1, (3, 0), (3, 1))  # makes it more detections than an individual has
    for order in ([late, early], [early, late]):
        links = links_of(*order, crowd, seed, second)
        individual = assemble(links, bodyparts=4, ranks=2)[0]
        assert individual.detections[3] == 3 * 2 + 0


def test_most_keypoints_come_first_then_the_strongest_links():
    few = [(0.9, (0, 0), (1, 0)), (0.9, (1, 0), (2, 0))]
    many = [(0.2, (0, 1), (1, 1)), (0.2, (1, 1), (2, 1)), (0.2, (2, 1), (3, 1))]
    stronger = [(0.3, (0, 2), (1, 2)), (0.3, (1, 2), (2, 2)), (0.3, (2, 2), (3, 2))]
    found = assemble(links_of(*few, *many, *stronger, ranks=3), bodyparts=4, ranks=3)
    assert [individual.detections[0] for individual in found] == [2, 1, 0]


def simcc_logits(x_bin, y_bin, height=4.0):
    """Logits of one keypoint, for images of 60x40 px."""
    logits = {"x": torch.zeros(1, 1, 120), "y": torch.zeros(1, 1, 80)}
    logits["x"][..., x_bin] = logits["y"][..., y_bin] = height
    return logits


def test_simcc_poses_are_at_the_likeliest_column_and_row():
    logits = simcc_logits(31, 42, height=0.1)
    logits["y"] /= 2
    plain = SimCCPredictor(2.0, [1.0, 1.0], decode_beta=10.0, apply_softmax=False)(32, logits)[
        "poses"
    ]
    assert plain[0, 0].tolist() == [pytest.approx([15.5, 21, 0.5])]
    soft = SimCCPredictor(2.0, [4.0, 2.0], decode_beta=10.0, apply_softmax=True)(32, logits)
    odds = torch.tensor(0.05 * 10 * 2).exp().item()  # of y, the less likely of both
    assert soft["poses"][0, 0].tolist() == [pytest.approx([15.5, 21, odds / (odds + 79)])]
    one_sigma = SimCCPredictor(2.0, 2.0, decode_beta=10.0, apply_softmax=False)(32, logits)["poses"]
    assert one_sigma[0, 0, 0, 2].item() == pytest.approx(1)


def test_normalized_simcc_scores_are_between_zero_and_one():
    predictor = SimCCPredictor(apply_softmax=False, normalize_outputs=True)
    for height, score in ((0.3, 0.3), (4.0, 1.0)):
        poses = predictor(32, simcc_logits(31, 42, height))["poses"]
        assert poses[0, 0, 0].tolist() == pytest.approx([15.5, 21, score])


@pytest.mark.parametrize("softmax", [True, False])
def test_a_keypoint_that_an_axis_knows_nothing_of_is_outside(softmax):
    logits = simcc_logits(31, 42)
    logits["y"][:] = 0
    poses = SimCCPredictor(apply_softmax=softmax)(32, logits)["poses"]
    assert poses[0, 0, 0].tolist() == pytest.approx([-0.5, -0.5, 1 / 80 if softmax else 0])


def test_identity_is_told_at_the_resolution_of_the_image():
    maps = torch.tensor([[[[-9.0, -9.0], [9.0, 9.0]]]])
    identity = IdentityPredictor()(4.0, {"heatmap": maps})["heatmap"]
    assert identity.shape == (1, 8, 8, 1)
    assert (identity[0, :2] < 1e-3).all()
    assert (identity[0, 6:] > 0.999).all()
    assert IdentityPredictor(apply_sigmoid=False)(4.0, {"heatmap": maps})["heatmap"].max() == 9


def test_a_keypoint_has_the_identity_of_its_pixel():
    columns = torch.arange(5.0).expand(4, 5)
    rows = torch.arange(4.0)[:, None].expand(4, 5)
    heatmap = torch.stack([columns, rows], dim=-1)[None]
    points = [[2.5, 1.5], [3.5, 0.4], [-1, -1], [99, 99], [torch.nan, torch.nan]]
    poses = torch.tensor([[[*point, 0.9] for point in points]])[None]
    assert identity_scores(poses, heatmap)[0, 0].tolist() == [
        [2, 2],  # halves go to the even pixel
        [4, 0],
        [0, 0],  # outside: the nearest pixel of the border
        [4, 3],
        [0, 0],  # not there
    ]


def test_animals_are_assigned_by_all_keypoints_and_their_scores():
    poses = torch.tensor([[[[0.0, 0, 0.9], [0, 0, 0.1]], [[1.0, 1, 0.9], [1, 1, 0.1]]]])
    scores = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]]])
    assert assign_identities(poses, scores)[0, :, 0, 0].tolist() == [1, 0]
    poses[..., 2] = 1 - poses[..., 2]  # now the other keypoint has the say
    assert assign_identities(poses, scores)[0, :, 0, 0].tolist() == [0, 1]


def test_individuals_that_no_animal_is_left_for_are_absent():
    poses = torch.ones(1, 1, 2, 3)
    scores = torch.tensor([0.1, 0.2, 0.9]).expand(1, 1, 2, 3)
    assert assign_identities(poses, scores)[0, :, 0, 2].tolist() == [-1, -1, 1]
