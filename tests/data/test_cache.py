"""Decoding of images, and the cache of decoded ones."""

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from dlcexp.data import cache as cache_module
from dlcexp.data.cache import ImageCache, read_image, shared_cache
from dlcexp.errors import ProjectError

RGB = np.array([[[250, 10, 20], [30, 240, 50]], [[60, 70, 230], [90, 100, 110]]], np.uint8)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are decoded, in order."""
    names: list[str] = []

    def record(path: Path) -> np.ndarray:
        names.append(path.name)
        return read_image(path)

    monkeypatch.setattr(cache_module, "read_image", record)
    return names


def images(folder: Path, count: int) -> list[Path]:
    """Files of 10 x 10 pixels, 300 bytes when decoded."""
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((10, 10, 3), number, np.uint8))
    return paths


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (RGB[..., ::-1], RGB),
        (RGB[..., 0], np.repeat(RGB[..., :1], 3, axis=-1)),
        (np.dstack([RGB[..., ::-1], np.full((2, 2), 7, np.uint8)]), RGB),
        (RGB[..., ::-1].astype(np.uint16) * 256, RGB),
        (RGB[..., 0].astype(np.uint16) * 256, np.repeat(RGB[..., :1], 3, axis=-1)),
    ],
    ids=["colour", "grey", "transparent", "16 bits", "16 bits grey"],
)
def test_any_png_becomes_rgb_of_8_bits(
    tmp_path: Path, stored: np.ndarray, expected: np.ndarray
) -> None:
    path = tmp_path / "souris à l'œuvre.png"
    cv2.imencode(".png", stored)[1].tofile(path)
    image = read_image(path)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    content = cv2.imencode(".jpg", np.zeros((16, 32, 3), np.uint8))[1].tobytes()
    # TIFF header with one entry: orientation (0x0112) = 6, a quarter turn.
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    path = tmp_path / "turned.jpg"
    path.write_bytes(
        content[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + content[2:]
    )
    assert read_image(path).shape == (32, 16, 3)


@pytest.mark.parametrize("content", [None, b"", b"no image", b"\x89PNG\r\n\x1a\n broken"])
@pytest.mark.parametrize("budget", [0, 1000])
def test_unusable_files_are_named(tmp_path: Path, content: bytes | None, budget: int) -> None:
    path = tmp_path / "img001.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ProjectError, match=r"img001\.png"):
        ImageCache(budget)(path)


def test_least_recently_used_goes_first(tmp_path: Path, decoded: list[str]) -> None:
    first, second, third = images(tmp_path, 3)
    cache = ImageCache(600)
    for path in (first, second, first, third, first, second):
        cache(path)
    assert decoded == ["0.png", "1.png", "2.png", "1.png"]
    assert cache.bytes == 600


def test_a_budget_of_zero_or_too_small_keeps_nothing(tmp_path: Path, decoded: list[str]) -> None:
    [path] = images(tmp_path, 1)
    for budget in (0, 299):
        cache = ImageCache(budget)
        cache(path), cache(path)
        assert cache.bytes == 0
    assert len(decoded) == 4


def test_a_changed_file_is_decoded_anew(tmp_path: Path) -> None:
    [path] = images(tmp_path, 1)
    cache = ImageCache(10_000)
    assert cache(path).max() == 0
    cv2.imwrite(str(path), np.full((10, 10, 3), 99, np.uint8))
    os.utime(path, ns=(1, 1))
    assert cache(path).max() == 99


def test_cached_images_cannot_be_changed(tmp_path: Path) -> None:
    [path] = images(tmp_path, 1)
    with pytest.raises(ValueError, match="read-only"):
        ImageCache(10_000)(path)[:] = 1


def test_threads_share_a_cache(tmp_path: Path) -> None:
    paths = images(tmp_path, 20)
    cache = ImageCache(10 * 300)
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda path: int(cache(path)[0, 0, 0]), paths * 20))
    assert values == list(range(20)) * 20
    assert cache.bytes == 10 * 300


def test_runs_in_one_process_share_a_cache(tmp_path: Path, decoded: list[str]) -> None:
    paths = images(tmp_path, 4)
    for _run in range(2):
        cache = shared_cache(10_000)
        for path in paths:
            cache(path)
    assert len(decoded) == 4
    assert pickle.loads(pickle.dumps(cache)) is cache
    shared_cache(0)
    assert cache.bytes == 0


def test_processes_share_out_the_budget(tmp_path: Path) -> None:
    cache = ImageCache(1200)
    for path in images(tmp_path, 4):
        cache(path)
    cache.share_out(2)
    assert (cache.budget, cache.bytes) == (600, 600)
