"""Labels of images that exist and inside of them; an image's size is that of its decoded pixels."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from dlcexp.data.cache import read_image
from dlcexp.project.dlc import dlc_project
from dlcexp.project.model import Labels, Project
from dlcexp.project.usable import usable_labels


@pytest.fixture
def project(tmp_path: Path) -> Project:
    config = tmp_path / "config.yaml"
    config.write_text("Task: t\nscorer: me\ndate: d\nbodyparts: [nose, tail]\n")
    return dlc_project(config)


def labels_of(images: list[Path], points: list[list[tuple[float, float]]]) -> Labels:
    names = tuple(f"labeled-data/v/{image.name}" for image in images)
    keypoints = np.array(points, dtype=float)[:, None]
    unique = np.empty((len(images), 0, 2))
    return Labels(names, tuple(images), ("v",) * len(images), keypoints, unique)


def drawn(path: Path, width: int, height: int, orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.new("RGB", (width, height)).save(path, exif=exif)
    return path


def test_labels_outside_do_not_count_and_are_named(
    project: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = [drawn(tmp_path / f"{number}.png", 40, 30) for number in range(3)]
    points = [[(0, 0), (39.9, 29.9)], [(40, 3), (5, 6)], [(3, -0.1), (2519, 3)]]
    with caplog.at_level(logging.WARNING):
        labels = usable_labels(labels_of(images, points), project)
    assert [image.name for image in labels.images] == ["0.png", "1.png"]
    assert np.isfinite(labels.keypoints).all((1, 3)).tolist() == [[True, True], [False, True]]
    assert "3 labels in 2 frames" in caplog.text
    assert "labeled-data/v/1.png, labeled-data/v/2.png" in caplog.text


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_image_is_as_large_as_it_is_decoded(
    project: Project, tmp_path: Path, orientation: int, suffix: str
) -> None:
    image = drawn(tmp_path / f"x.{suffix}", 40, 30, orientation)
    height, width, _ = read_image(image).shape
    assert {width, height} == {40, 30}
    points = [[(width - 1, height - 1), (min(width, 35), min(height, 35))]]
    labels = usable_labels(labels_of([image], points), project)
    assert np.isfinite(labels.keypoints).all((0, 1, 3)).tolist() == [True, False]


def test_a_file_that_is_not_an_image_is_left_to_its_reader(
    project: Project, tmp_path: Path
) -> None:
    image = tmp_path / "x.png"
    image.write_bytes(b"\x89PNG")
    labels = usable_labels(labels_of([image], [[(1, 1), (9e9, 1)]]), project)
    assert np.isfinite(labels.keypoints).all()
