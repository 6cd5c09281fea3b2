"""Augmentations that albumentations lacks, or has with another meaning.

All of them draw from the generators that albumentations hands to each transform, so one seed per
sample decides everything. Keypoints arrive as rows (x, y, ..., owner, part): `part` from 0 up is a
labelled bodypart of the individual `owner`; part -1 are corners of boxes and reference points,
which follow the image but steer nothing.
"""

from collections.abc import Mapping
from typing import Any

import albumentations as A
import cv2
import numpy as np
from albumentations.augmentations.crops.transforms import BaseCrop
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

# Points closer than this fraction of the crop's shorter side count as neighbours.
_NEIGHBOURHOOD = 0.1

# Steps of the fixed-point search for where an elastic map takes a point; it gains a digit per step.
_INVERSION_STEPS = 8


class FitWithin(A.DualTransform):
    """Resize to the largest size with the same aspect ratio that fits within width x height pixels.

    The size is rounded down, as DeepLabCut does; a point is multiplied by new size / old size.

    Args:
        width, height: limits in pixels; one of them may be None, for no limit.
    """

    def __init__(self, width: int | None, height: int | None) -> None:
        super().__init__(p=1.0)
        self.width, self.height = width, height

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        height, width = params["shape"][:2]
        if self.height is None or (self.width and self.width * height <= self.height * width):
            size = self.width, max(1, height * (self.width or 1) // width)
        else:
            size = max(1, width * self.height // height), self.height
        return {"size": size, "factors": (size[0] / width, size[1] / height)}

    def apply(self, img: NDArray[Any], *, size: tuple[int, int], **params: Any) -> NDArray[Any]:
        return cv2.resize(img, size, interpolation=cv2.INTER_LINEAR)

    def apply_to_keypoints(
        self, keypoints: NDArray[Any], *, factors: tuple[float, float], **params: Any
    ) -> NDArray[Any]:
        scaled = keypoints.copy()
        scaled[:, :2] *= factors
        return scaled


class SymmetricFlip(A.HorizontalFlip):
    """Mirror left and right (x becomes width - 1 - x) and exchange the labels of paired points.

    Args:
        exchange: for each bodypart that has a counterpart, the number of that counterpart.
        p: probability.
    """

    def __init__(self, exchange: Mapping[int, int], p: float = 0.5) -> None:
        super().__init__(p=p)
        self.exchange = dict(exchange)

    def apply_to_keypoints(self, keypoints: NDArray[Any], **params: Any) -> NDArray[Any]:
        flipped = super().apply_to_keypoints(keypoints, **params)
        flipped[:, -1] = [self.exchange.get(int(part), part) for part in flipped[:, -1]]
        return flipped


class Pad(A.PadIfNeeded):
    """Padding that only shifts points.

    With a reflecting border albumentations copies points into the padding and drops others.
    """

    def apply_to_keypoints(
        self, keypoints: NDArray[Any], pad_top: int, pad_left: int, **params: Any
    ) -> NDArray[Any]:
        shifted = keypoints.copy()
        shifted[:, :2] += (pad_left, pad_top)
        return shifted


class KeypointAwareCrop(BaseCrop):
    """Cut out width x height pixels around a centre that the labelled points help to choose.

    The methods of DeepLabCut (Lauer et al., Nature Methods 2022): `uniform` over the image, a
    random one of the `keypoints`, one weighted by the `density` of points around it, or `hybrid`,
    which tosses a coin between uniform and density. The image must not be smaller than the crop.

    Args:
        width, height: size of the crop in pixels.
        max_shift: largest shift of a keypoint-based centre, as a fraction of the crop's sides.
        method: uniform, keypoints, density or hybrid.
    """

    def __init__(self, width: int, height: int, max_shift: float, method: str) -> None:
        super().__init__(p=1.0)
        self.size = np.array([width, height])
        self.max_shift = max_shift
        self.method = method

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        image_size = np.array(params["shape"][1::-1])
        rows = data["keypoints"]
        inside = np.all((rows[:, :2] >= 0) & (rows[:, :2] < image_size), axis=1)
        points = rows[inside & (rows[:, -1] >= 0), :2]
        room = image_size - self.size
        corner = np.clip(np.rint(self._corner(points, room)), 0, room).astype(int)
        x, y = corner.tolist()
        return {"crop_coords": (x, y, x + int(self.size[0]), y + int(self.size[1]))}

    def _corner(self, points: NDArray[Any], room: NDArray[Any]) -> NDArray[Any]:
        """Top left corner (x, y) of the crop; may lie outside the room there is."""
        method = self.method
        if method == "hybrid":
            method = str(self.random_generator.choice(["uniform", "density"]))
        if method == "uniform" or not len(points):
            return self.random_generator.integers(0, room, endpoint=True).astype(float)
        centre = points[self.random_generator.choice(len(points), p=self._weights(points, method))]
        shift = self.random_generator.uniform(-self.max_shift, self.max_shift, size=2)
        return centre + shift * self.size - self.size / 2

    def _weights(self, points: NDArray[Any], method: str) -> NDArray[Any] | None:
        """Probability of each point: as many shares as there are points in its neighbourhood."""
        if method == "keypoints":
            return None
        neighbours = (cdist(points, points) <= _NEIGHBOURHOOD * self.size.min()).sum(axis=1)
        return neighbours / neighbours.sum()


class Elastic(A.ElasticTransform):
    """Elastic deformation (Simard et al., ICDAR 2003) that takes points along exactly.

    albumentations' own keypoint mapping drops points or takes seconds per image.
    """

    def __init__(self, alpha: float = 20.0, sigma: float = 5.0, p: float = 0.5) -> None:
        super().__init__(alpha=alpha, sigma=sigma, approximate=True, same_dxdy=True, p=p)

    def apply_to_keypoints(
        self, keypoints: NDArray[Any], map_x: NDArray[Any], map_y: NDArray[Any], **params: Any
    ) -> NDArray[Any]:
        """Solve map(q) = p for q; the map gives the input pixel p shown at each output pixel q."""
        source = keypoints[:, :2].astype(np.float32)
        target = source.copy()
        limit = np.array(map_x.shape[::-1], dtype=np.float32) - 1
        for _ in range(_INVERSION_STEPS):
            inside = np.clip(target, 0, limit)
            seen = [
                cv2.remap(axis, inside[:, :1], inside[:, 1:], cv2.INTER_LINEAR).reshape(-1)
                for axis in (map_x, map_y)
            ]
            target = source - (np.stack(seen, axis=1) - inside)
        moved = keypoints.copy()
        moved[:, :2] = target
        return moved


class Grayscale(A.ImageOnlyTransform):
    """Blend the image with its grey version; alpha = 1 is all grey.

    Args:
        alpha: smallest and largest share of grey.
        p: probability.
    """

    def __init__(self, alpha: tuple[float, float] = (0.5, 1.0), p: float = 0.5) -> None:
        super().__init__(p=p)
        self.alpha = alpha

    def get_params(self) -> dict[str, Any]:
        return {"alpha": float(self.random_generator.uniform(*self.alpha))}

    def apply(self, img: NDArray[Any], *, alpha: float, **params: Any) -> NDArray[Any]:
        grey = cv2.cvtColor(cv2.cvtColor(img, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return cv2.addWeighted(grey, alpha, img, 1 - alpha, 0)
