"""Labels made by hand, with images that show a dot under each keypoint."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dlcexp.project import Labels


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    """Seven frames of 96 x 128 pixels; two animals, three bodyparts, one unique bodypart."""
    generator = np.random.default_rng(0)
    keypoints = generator.uniform(20, 76, size=(7, 2, 3, 2))
    unique = generator.uniform(20, 76, size=(7, 1, 2))
    keypoints[1, 0, 2] = np.nan
    keypoints[2, 1] = np.nan
    unique[3] = np.nan
    paths = tuple(tmp_path / f"img{number}.png" for number in range(7))
    for path, points, corner in zip(paths, keypoints, unique, strict=True):
        image = generator.integers(0, 50, size=(96, 128, 3), dtype=np.uint8)
        for point in np.concatenate([points.reshape(-1, 2), corner]):
            if np.isfinite(point).all():
                cv2.circle(image, np.rint(point).astype(int).tolist(), 3, (255, 200, 100), -1)
        cv2.imwrite(str(path), image)
    return Labels(
        names=tuple(f"labeled-data/v/{path.name}" for path in paths),
        images=paths,
        folders=("v",) * 7,
        keypoints=keypoints,
        unique=unique,
    )
