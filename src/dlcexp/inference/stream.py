"""Frames to poses, chunk by chunk, while the next chunk is being decoded."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from dlcexp.data.ahead import ahead
from dlcexp.data.cache import DecodedImages, Image
from dlcexp.data.loading import unlabelled_frames
from dlcexp.inference.finder import PoseFinder
from dlcexp.inference.sources import Source
from dlcexp.vocabulary import UNIQUE_BODYPART

# Frames decoded at once, or as many as make whole batches; three chunks are in memory.
CHUNK = 16


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some consecutive frames of a source.

    Attributes:
        start: number of the first.
        readable: (frames,) whether each could be decoded.
        poses: {head: (frames, individuals, keypoints, 3)}; NaN for unreadable frames too.
    """

    start: int
    readable: NDArray[np.bool_]
    poses: dict[str, NDArray[np.float32]]


def find_poses(finder: PoseFinder, source: Source, start: int = 0) -> Iterator[Chunk]:
    """Yield the poses in the frames of a source, from number `start` on.

    Decoding continues in a separate thread while the networks compute.
    """
    size = CHUNK + -CHUNK % (finder.batch_size or CHUNK)
    for frames in ahead(_chunks(source.read(start), size)):
        yield _find(finder, source, start, frames)
        start += len(frames)


def _chunks(images: Iterator[Image | None], size: int) -> Iterator[list[Image | None]]:
    while chunk := list(islice(images, size)):
        yield chunk


def _find(finder: PoseFinder, source: Source, start: int, frames: list[Image | None]) -> Chunk:
    readable = np.array([frame is not None for frame in frames])
    decoded = {
        source.frame_path(start + place): frame
        for place, frame in enumerate(frames)
        if frame is not None
    }
    found: dict[str, NDArray[np.float32]] = {}
    if decoded:
        data = unlabelled_frames(finder.cfg, list(decoded), DecodedImages(decoded))
        found = finder(data)
    poses = {}
    for head, shape in shapes(finder).items():
        poses[head] = np.full((len(frames), *shape), np.nan, np.float32)
        if head in found:
            poses[head][readable] = found[head]
    return Chunk(start, readable, poses)


def shapes(finder: PoseFinder) -> dict[str, tuple[int, int, int]]:
    """Return {head: (individuals, keypoints, 3)} of the poses in a frame."""
    metadata = finder.cfg.metadata
    individuals = (metadata.num_individuals, metadata.num_bodyparts, 3)
    unique = (1, metadata.num_unique_bodyparts, 3)
    return {head: unique if head == UNIQUE_BODYPART else individuals for head in finder.heads}
