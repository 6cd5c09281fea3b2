"""A run with random weights, and short videos of the demo project's frames."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from dlcexp import build, compose
from dlcexp.data.draw_demo import demo_project
from dlcexp.deeplabcut.snapshots import Snapshot, SnapshotManager
from dlcexp.runs.folder import RunFolder
from dlcexp.training import Run

FRAMES = 24
RATE = 10
# Frames between two that need no other to be decoded.
GROUP = 6


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, tiny: list[str]) -> Run:
    """A run folder of the demo project as training leaves it, with the weights of epoch 3."""
    import torch

    torch.manual_seed(0)
    cfg = compose("model=dekr", *tiny)
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.start(cfg, [], fresh=[], device="cpu")
    manager = SnapshotManager(folder.snapshots, key_metric="test.mAP", max_snapshots=1)
    state = build(cfg.model).state_dict()
    manager.save(
        Snapshot(3, state, metrics={"test.mAP": 50.0}, losses={}, scheduler=None, optimizer=None),
        periodic=False,
    )
    return Run.open(folder.path)


@pytest.fixture(scope="session")
def frames() -> list[np.ndarray]:
    """Frames of the demo project, uint8 RGB, and darker ones of them."""
    images = sorted(demo_project().glob("labeled-data/*/*.png"))[:8]
    decoded = [cv2.imread(str(image))[..., ::-1] for image in images]
    return [np.ascontiguousarray(decoded[i % 8] // (1 + i // 8)) for i in range(FRAMES)]


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory, frames: list[np.ndarray]) -> Path:
    """An H.264 video of `frames`."""
    path = tmp_path_factory.mktemp("videos") / "mice.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", Fraction(RATE))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "10", "g": str(GROUP), "bf": "0"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def damaged(video: Path, tmp_path: Path) -> Callable[[int], Path]:
    """Copies of the video in which a frame has been overwritten by zeros."""

    def make(number: int) -> Path:
        with av.open(str(video)) as container:
            packets = [each for each in container.demux(video=0) if each.size]
            place, size = packets[number].pos, packets[number].size
        content = bytearray(video.read_bytes())
        content[place : place + size] = bytes(size)
        path = tmp_path / "damaged.mp4"
        path.write_bytes(content)
        return path

    return make
