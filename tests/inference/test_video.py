"""Videos beside OpenCV, and what becomes of damaged ones."""

import struct
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from dlcexp.errors import ProjectError
from dlcexp.inference.video import Video

# 16.16 fixed point, as in the track header of an .mp4: a quarter turn clockwise.
ONE = 0x10000
QUARTER = (0, ONE, 0, -ONE, 0, 0, 0, 0, 0x40000000)


def by_opencv(path: Path, count: int) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    return [capture.read()[1][..., ::-1] for _ in range(count)]


def test_frames_are_those_that_opencv_decodes(openfield: Path) -> None:
    path = openfield / "videos" / "m3v1mp4.mp4"
    video = Video(path)
    capture = cv2.VideoCapture(str(path))
    assert video.frames == capture.get(cv2.CAP_PROP_FRAME_COUNT)
    assert video.fps == pytest.approx(capture.get(cv2.CAP_PROP_FPS))
    assert video.size == (640, 480)
    for ours, theirs in zip(video.read(), by_opencv(path, 20), strict=False):
        np.testing.assert_array_equal(ours, theirs)


def test_reading_begins_anywhere(video: Path) -> None:
    opened = Video(video)
    whole = list(opened.read())
    assert len(whole) == opened.frames == 24
    for start in (1, 6, 17, 23, 24):
        rest = list(opened.read(start))
        assert len(rest) == 24 - start
        for ours, theirs in zip(rest, whole[start:], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_lost_frame_does_not_shift_those_behind_it(
    video: Path, damaged: Callable[[int], Path]
) -> None:
    intact = list(Video(video).read())
    found = list(Video(damaged(8)).read())
    assert len(found) == len(intact)
    assert found[8] is None
    # From the next frame that stands alone on, all is as it was.
    for ours, theirs in zip(found[12:], intact[12:], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(found[:8], intact[:8], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_frames_are_turned_as_the_file_says(video: Path, tmp_path: Path) -> None:
    content = bytearray(video.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40  # after version, times, ids and volume
    content[matrix : matrix + 36] = struct.pack(">9i", *QUARTER)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(content)
    opened = Video(turned)
    (first,) = islice(opened.read(), 1)
    (expected,) = by_opencv(turned, 1)
    np.testing.assert_array_equal(first, expected)
    assert opened.size == first.shape[1::-1]
    assert not np.array_equal(first, next(iter(Video(video).read())))


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100])
def test_what_is_no_video_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(ProjectError, match=r"broken\.mp4"):
        Video(path)
    with pytest.raises(ProjectError, match=r"absent\.mp4"):
        Video(tmp_path / "absent.mp4")
