"""Poses drawn from labels have each error as often and as far off as they are meant to."""

import numpy as np
import pytest

from dlcexp.data.gen_sampling import GenerativeSampler

AREA, SIGMA = 3600.0, 0.1
LIMIT = (2000, 2000)
NOTHING = {"jitter_prob": 0.0, "swap_prob": 0.0, "inv_prob": 0.0, "miss_prob": 0.0}
ANIMAL = np.array([[200.0, 500.0], [400.0, 500.0], [700.0, 500.0], [1100.0, 500.0]])
OTHER = ANIMAL + np.array([0, 500])
ALONE = np.zeros((0, 4, 2))
TRIES = 1500


def reach(similarity: float) -> float:
    """Distance at which the keypoint similarity of COCO, k = 2 sigma, has this value."""
    return float(np.sqrt(-2 * AREA * (2 * SIGMA) ** 2 * np.log(similarity)))


def draw(others: np.ndarray = ALONE, symmetry=None, animal: np.ndarray = ANIMAL, **changed):
    """(tries, bodyparts, 3) poses, and their distances to the labels of all animals."""
    sampler = GenerativeSampler(4, SIGMA, symmetry, **{**NOTHING, **changed})
    generator = np.random.default_rng(0)
    poses = np.stack([sampler(animal, others, AREA, LIMIT, generator) for _ in range(TRIES)])
    labels = np.concatenate([animal[None], others])
    distances = np.linalg.norm(poses[:, None, :, None, :2] - labels[None, :, None], axis=-1)
    return poses, distances  # distances: (tries, animals, bodyparts, labels)


def own(distances: np.ndarray) -> np.ndarray:
    return np.einsum("tkk->tk", distances[:, 0])


def test_distances_are_those_of_the_keypoint_similarity() -> None:
    sampler = GenerativeSampler(2, [0.1, 0.2])
    for similarity in (0.85, 0.5, 0.1):
        d = sampler.distance(similarity, AREA)
        np.testing.assert_allclose(
            np.exp(-(d**2) / (2 * AREA * (2 * np.array([0.1, 0.2])) ** 2)), similarity
        )


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [(None, 0, reach(0.85)), ("jitter_prob", reach(0.85), reach(0.5))],
    ids=["good", "jitter"],
)
def test_a_good_keypoint_and_a_jittered_one(kind: str | None, low: float, high: float) -> None:
    distances = own(draw(OTHER[None], **({kind: 1.0} if kind else {}))[1])
    assert low <= distances.min() < distances.max() <= high
    # As near as far: the radius is uniform.
    assert np.median(distances) == pytest.approx((low + high) / 2, rel=0.05)


def test_an_inverted_keypoint_is_at_its_counterpart_and_unpaired_ones_are_good() -> None:
    _, distances = draw(OTHER[None], symmetry=[[0, 1]], inv_prob=0.5)
    counterpart = distances[:, 0, [0, 1], [1, 0]] <= reach(0.5)
    assert counterpart.mean(axis=0) == pytest.approx([0.5, 0.5], abs=0.05)
    assert own(distances)[:, 2:].max() <= reach(0.85)


def test_without_pairs_any_other_bodypart_is_a_counterpart() -> None:
    _, distances = draw(inv_prob=1.0)
    nearest = distances[:, 0, 0].argmin(axis=-1)
    share = np.bincount(nearest, minlength=4) / TRIES
    assert share == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3], abs=0.05)


def test_a_swapped_keypoint_is_at_another_animal() -> None:
    _, distances = draw(OTHER[None], symmetry=[[0, 1]], swap_prob=1.0)
    assert distances[:, 1].min(axis=-1).max() <= reach(0.5)
    same, counterpart = distances[:, 1, 0, 0], distances[:, 1, 0, 1]
    assert (same < counterpart).mean() == pytest.approx(0.5, abs=0.05)
    assert (distances[:, 1, 2, 2] <= reach(0.5)).all()


def test_a_missed_keypoint_is_near_no_label() -> None:
    _, distances = draw(OTHER[None], symmetry=[[0, 1], [2, 3]], miss_prob=1.0)
    nearest = distances.min(axis=(1, 3))
    assert reach(0.5) <= nearest.min() < nearest.max() <= reach(0.1)
    assert (own(distances) <= reach(0.1)).mean() == pytest.approx(4 / 7, abs=0.03)


def test_what_is_impossible_leaves_its_share_to_the_others() -> None:
    probabilities = {"jitter_prob": 0.3, "swap_prob": 0.4, "miss_prob": 0.1}
    distances = own(draw(symmetry=[[0, 1]], **probabilities)[1])
    share = np.histogram(distances, [0, reach(0.85), reach(0.5), np.inf])[0] / distances.size
    assert share == pytest.approx([0.2 / 0.6, 0.3 / 0.6, 0.1 / 0.6], abs=0.02)


def test_a_label_is_good_or_jittered_only_where_it_is_the_nearest() -> None:
    near = ANIMAL + np.array([0, 5])
    poses, distances = draw(near[None], symmetry=[[0, 1]])
    assert (own(distances) < np.einsum("tkk->tk", distances[:, 1])).all()
    assert poses[..., 1].max() < 502.5


def test_missing_keypoints_stay_away_and_none_leaves_the_image() -> None:
    animal = ANIMAL.copy()
    animal[1], animal[2] = np.nan, (2, 3)
    poses, _ = draw(OTHER[None], animal=animal, jitter_prob=1.0)
    assert np.isnan(poses[:, 1, :2]).all()
    assert (poses[:, 1, 2] == 0).all()
    assert (poses[:, [0, 2, 3], 2] == 1).all()
    assert poses[:, 2, :2].min() == 0
    sampler = GenerativeSampler(4)
    pose = sampler(np.full((4, 2), np.nan), OTHER[None], AREA, LIMIT, np.random.default_rng(0))
    assert np.isnan(pose[:, :2]).all()


def test_equal_generators_give_equal_poses() -> None:
    sampler = GenerativeSampler(4)
    first, second, other = (
        sampler(ANIMAL, OTHER[None], AREA, LIMIT, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_more_errors_than_keypoints_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.2"):
        GenerativeSampler(4, jitter_prob=0.6, miss_prob=0.6, swap_prob=0.0, inv_prob=0.0)
    with pytest.raises(ValueError, match="broadcast"):
        GenerativeSampler(4, keypoint_sigmas=[0.1, 0.2])
