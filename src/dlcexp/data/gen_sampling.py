"""Poses with the errors that pose models make, drawn from labels (Moon et al., CVPR 2019).

Each keypoint is good, jittered, inverted (at its counterpart of the same animal), swapped (at
another animal) or missed (Ronchi and Perona, ICCV 2017). Which of them a position is follows from
the keypoint similarity exp(-d^2 / (2 area (2 sigma)^2)) to the labels around it: above 0.85 a
keypoint is good, above 0.5 jittered; above 0.5 to a wrong label it is inverted or swapped, and
below 0.5 to every label missed, though not by more than to 0.1.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Keypoint similarities between the kinds of error.
GOOD, JITTER, MISS = 0.85, 0.5, 0.1

# Places of a keypoint in `_centres`; further ones are those of other animals, in turn.
_LABEL, _COUNTERPART, _FIRST_OTHER = 0, 1, 2

# Misses around the label itself, to one around each kind of wrong label.
_MISSES_AT_LABEL = 4

# Positions tried for each keypoint and each kind of error; the first one possible is taken.
_TRIES = 32


class GenerativeSampler:
    """Makes wrong poses from labels.

    Args:
        num_keypoints: bodyparts.
        keypoint_sigmas: fall-off of the similarity, of all bodyparts or of each.
        keypoints_symmetry: pairs of bodyparts, by number, that are taken for each other. Without
            any, each bodypart may be taken for any other, a new one in each pose.
        jitter_prob, swap_prob, inv_prob, miss_prob: of each kind of error; the others are good.
            A kind that is impossible, as there is one animal, leaves its share to the others.

    Raises:
        ValueError: the probabilities sum to more than 1, or there are not as many sigmas as
            keypoints.
    """

    def __init__(
        self,
        num_keypoints: int,
        keypoint_sigmas: float | Sequence[float] = 0.1,
        keypoints_symmetry: Sequence[Sequence[int]] | None = None,
        jitter_prob: float = 0.16,
        swap_prob: float = 0.08,
        inv_prob: float = 0.03,
        miss_prob: float = 0.1,
    ) -> None:
        errors = (jitter_prob, inv_prob, swap_prob, miss_prob)
        if sum(errors) > 1 + 1e-9:
            raise ValueError(f"the probabilities of errors sum to {sum(errors):g}, more than 1")
        self.probabilities = np.array([max(1 - sum(errors), 0.0), *errors])
        self.sigmas = np.broadcast_to(np.asarray(keypoint_sigmas, dtype=float), (num_keypoints,))
        self.counterparts = None
        if keypoints_symmetry:
            self.counterparts = np.full(num_keypoints, -1)
            for left, right in keypoints_symmetry:
                self.counterparts[[left, right]] = right, left

    def distance(self, similarity: float, area: float) -> NDArray[np.float64]:
        """Return the distance (bodyparts,) px of keypoints that have this similarity to labels."""
        variance = (2 * self.sigmas) ** 2
        far: NDArray[np.float64] = np.sqrt(-2 * area * variance * np.log(similarity))
        return far

    def __call__(
        self,
        keypoints: NDArray[np.float64],
        others: NDArray[np.float64],
        area: float,
        limit: Sequence[float],
        generator: np.random.Generator,
    ) -> NDArray[np.float64]:
        """One wrong pose.

        Args:
            keypoints: (bodyparts, 2) px, NaN where unlabelled; those stay away.
            others: (animals, bodyparts, 2) px, of the other animals in the image.
            area: of the animal's box, px².
            limit: (width, height) of the image, px; no keypoint leaves it.
            generator: equal ones give equal poses.

        Returns:
            (bodyparts, 3) x, y, and 1 or, where there is no keypoint, 0; NaN x, y there.
        """
        centres = self._centres(keypoints, others, generator)
        choice = self._choose_centres(centres, generator)
        positions, possible = self._positions(centres, choice, area, generator)
        kind = self._choose_kinds(np.asarray(possible.any(axis=-1)), generator)
        row = np.arange(len(keypoints))
        chosen = positions[row, kind, possible[row, kind].argmax(axis=-1)]
        visible = _known(keypoints)
        chosen = np.where(visible[:, None], np.clip(chosen, 0, np.asarray(limit)), np.nan)
        return np.concatenate([chosen, visible[:, None].astype(float)], axis=1)

    def _centres(
        self,
        keypoints: NDArray[np.float64],
        others: NDArray[np.float64],
        generator: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Labels that a keypoint may be mistaken for, (bodyparts, 2 + 2 animals, 2); NaN for none.

        The label itself, that of its counterpart; for each other animal the same two.
        """
        count = len(keypoints)
        if self.counterparts is None:
            there = _known(keypoints)
            chance = np.where(there & ~np.eye(count, dtype=bool), generator.random((count,) * 2), 0)
            counterparts = np.where(chance.any(axis=1), chance.argmax(axis=1), -1)
        else:
            counterparts = self.counterparts
        animals = np.concatenate([keypoints[None], others])
        mistaken = np.where((counterparts >= 0)[:, None], animals[:, counterparts], np.nan)
        return np.stack([animals, mistaken], axis=1).reshape(-1, count, 2).swapaxes(0, 1)

    @staticmethod
    def _choose_centres(
        centres: NDArray[np.float64], generator: np.random.Generator
    ) -> NDArray[np.int64]:
        """Return the label around which each kind of error lies, (bodyparts, 5); 0 for none."""
        count, labels = centres.shape[:2]
        there = _known(centres)
        same, mistaken = there.copy(), there.copy()
        same[:, 1::2] = same[:, :_FIRST_OTHER] = False
        mistaken[:, ::2] = mistaken[:, :_FIRST_OTHER] = False
        # The two kinds of swap are equally likely, however many labels there are of each.
        swaps = _shares(same) + _shares(mistaken)
        misses = swaps + there * (np.arange(labels) == _COUNTERPART)
        misses[:, _LABEL] = _MISSES_AT_LABEL
        choice = np.zeros((count, 5), dtype=np.int64)
        choice[:, 2] = np.where(there[:, _COUNTERPART], _COUNTERPART, 0)
        choice[:, 3] = _draw(swaps, generator)
        choice[:, 4] = _draw(misses, generator)
        return choice

    def _positions(
        self,
        centres: NDArray[np.float64],
        choice: NDArray[np.int64],
        area: float,
        generator: np.random.Generator,
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Positions (bodyparts, 5, tries, 2) px, and which are what they are meant to be."""
        count = len(centres)
        good, jitter, miss = (self.distance(each, area) for each in (GOOD, JITTER, MISS))
        nothing = np.zeros(count)
        low = np.stack([nothing, good, nothing, nothing, jitter], axis=1)
        high = np.stack([good, jitter, jitter, jitter, miss], axis=1)
        radius = generator.uniform(low[..., None], high[..., None], (count, 5, _TRIES))
        angle = generator.uniform(0, 2 * np.pi, radius.shape)
        around = np.take_along_axis(centres, choice[..., None], axis=1)
        steps = radius[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        positions = around[:, :, None] + steps
        apart = positions[..., None, :] - centres[:, None, None]
        distances = np.where(
            np.isfinite(apart[..., 0]), np.hypot(*np.moveaxis(apart, -1, 0)), np.inf
        )
        possible: NDArray[np.bool_] = distances.argmin(axis=-1) == choice[..., None]
        possible[:, 4] = distances[:, 4].min(axis=-1) >= jitter[:, None]
        possible[:, 2:4] &= choice[:, 2:4, None] > 0
        return positions, possible

    def _choose_kinds(
        self, possible: NDArray[np.bool_], generator: np.random.Generator
    ) -> NDArray[np.int64]:
        """Draw the error of each keypoint (bodyparts,) among the possible ones (bodyparts, 5)."""
        return _draw(self.probabilities * possible, generator)


def _known(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which of points (..., 2) are finite."""
    return np.asarray(np.isfinite(points).all(axis=-1))


def _shares(members: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Equal shares of 1 for the members of each row; zeros where there is none."""
    shares: NDArray[np.float64] = members / np.maximum(members.sum(axis=1, keepdims=True), 1)
    return shares


def _draw(weights: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Return a column of each row, as likely as its weight; the first where all weights are 0."""
    bounds = np.cumsum(weights, axis=1)
    shot = generator.random(len(weights))[:, None] * bounds[:, -1:]
    return np.argmax(shot < bounds, axis=1)
