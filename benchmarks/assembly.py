"""Measure how many individuals per second dlcexp and DeepLabCut assemble from the same maps.

    python benchmarks/assembly.py [repetitions]

The maps (120x160 pixels, stride 4) are drawn from known poses of 13 bodyparts, with noise, false
peaks and gaps in the part-affinity fields. The time from the maps to the poses is measured on one
thread; the minimum over the repetitions counts. DeepLabCut runs if `make interop` has created its
environment.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from dlcexp.models.predictors import PartAffinityFieldPredictor
from dlcexp.models.targets import PartAffinityFieldGenerator

ANIMALS = (2, 8, 20)
BODYPARTS = 13
FRAMES = 2
HEIGHT, WIDTH, STRIDE = 120, 160, 4
GRAPH = [list(edge) for edge in combinations(range(BODYPARTS), 2)]
OPTIONS = {
    "num_multibodyparts": BODYPARTS,
    "num_uniquebodyparts": 0,
    "graph": GRAPH,
    "edges_to_keep": list(range(len(GRAPH))),
    "locref_stdev": 7.2801,
    "nms_radius": 5,
    "sigma": 1.0,
    "min_affinity": 0.05,
    "apply_sigmoid": True,
}
DEEPLABCUT = Path(__file__).resolve().parents[1] / ".venv-dlc" / "bin" / "python"
# Runs in DeepLabCut's environment: its predictor, built from an exported configuration.
THEIRS = """
import json, sys, time
import numpy as np
import torch
from deeplabcut.pose_estimation_pytorch.models.predictors import PREDICTORS
torch.set_num_threads(1)
maps, options, repetitions = np.load(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
predictor = PREDICTORS.build({"type": "PartAffinityFieldPredictor", **options})
frames = [{n: torch.from_numpy(maps[n][[i]]) for n in maps} for i in range(len(maps["paf"]))]
least = float("inf")
for _ in range(repetitions):
    start = time.perf_counter()
    poses = [predictor(4, dict(frame))["poses"][..., :3].numpy() for frame in frames]
    least = min(least, time.perf_counter() - start)
np.save(sys.argv[4], np.concatenate(poses))
print(json.dumps(least))
"""


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    torch.set_num_threads(1)
    for animals in ANIMALS:
        maps = scenes(animals)
        options = {"num_animals": animals, **OPTIONS}
        seconds, poses = ours(maps, options, repetitions)
        line = f"{animals:3d} animals {animals * FRAMES / seconds:8.0f} individuals/s"
        if DEEPLABCUT.exists():
            other, theirs = deeplabcut(maps, options, repetitions)
            alike = same_individuals(poses, theirs)
            line += f"   DeepLabCut {animals * FRAMES / other:8.0f}/s  {other / seconds:6.1f} x"
            line += f"   {100 * alike:.0f} % of its individuals equal ours within 0.01 px"
        print(line, flush=True)


def scenes(animals: int) -> dict[str, torch.Tensor]:
    """Return maps (frames, channels, h, w) of randomly rotated and placed copies of one animal."""
    draw = torch.Generator().manual_seed(animals)

    def uniform(*size: int) -> torch.Tensor:
        return torch.rand(*size, generator=draw)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=draw)

    angle = 2 * torch.pi * uniform(FRAMES, animals)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1)
    shape = 18 * normal(BODYPARTS, 2)
    frame = torch.tensor([WIDTH * STRIDE, HEIGHT * STRIDE])
    centre = (0.1 + 0.8 * uniform(FRAMES, animals, 1, 2)) * frame
    points = shape @ turn.unflatten(-1, (2, 2)) + centre + 2 * normal(FRAMES, animals, BODYPARTS, 2)
    inside = ((points > 0) & (points < frame)).all(dim=-1)
    visible = inside & (uniform(FRAMES, animals, BODYPARTS) > 0.05)
    keypoints = torch.cat([points, 2.0 * visible.unsqueeze(-1)], dim=-1)
    false = uniform(FRAMES, 2, BODYPARTS, 2) * frame
    heatmap = bumps(torch.cat([points, false], dim=1), torch.cat([visible, visible[:, :2]], dim=1))
    heatmap = heatmap + 0.3 * normal(*heatmap.shape)
    target = PartAffinityFieldGenerator(graph=GRAPH, width=20)
    field = target(STRIDE, {"heatmap": heatmap}, {"keypoints": keypoints})["paf"]["target"]
    field = field + 0.1 * normal(*field.shape)
    locref = 0.1 * normal(FRAMES, 2 * BODYPARTS, HEIGHT, WIDTH)
    return {"heatmap": heatmap, "locref": locref, "paf": field}


def bumps(points: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """Return logits (frames, k, h, w) with an 8 px bump at each visible point (frames, n, k, 2)."""
    x = torch.arange(WIDTH) * STRIDE + STRIDE / 2 - points[..., 0, None, None]
    y = torch.arange(HEIGHT)[:, None] * STRIDE + STRIDE / 2 - points[..., 1, None, None]
    bump = torch.exp(-(x.square() + y.square()) / (2 * 8.0**2)) * visible[..., None, None]
    return 9 * bump.amax(dim=1) - 6


def ours(
    maps: dict[str, torch.Tensor], options: dict[str, object], repetitions: int
) -> tuple[float, np.ndarray]:
    """Return the minimum seconds for all frames, one by one, and the poses."""
    predictor = PartAffinityFieldPredictor(**options)  # type: ignore[arg-type]
    frames = [{name: each[[i]] for name, each in maps.items()} for i in range(FRAMES)]
    least = float("inf")
    for _ in range(repetitions):
        start = time.perf_counter()
        poses = [predictor(STRIDE, frame)["poses"] for frame in frames]
        least = min(least, time.perf_counter() - start)
    return least, torch.cat(poses).numpy()


def deeplabcut(
    maps: dict[str, torch.Tensor], options: dict[str, object], repetitions: int
) -> tuple[float, np.ndarray]:
    """Return the same for DeepLabCut's predictor."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "maps.npz", Path(folder) / "poses.npy"
        np.savez(source, **{name: each.numpy() for name, each in maps.items()})
        arguments = [str(source), json.dumps(options), str(repetitions), str(target)]
        done = subprocess.run(
            [str(DEEPLABCUT), "-W", "ignore", "-c", THEIRS, *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        return float(done.stdout.strip().splitlines()[-1]), np.load(target)


def same_individuals(poses: np.ndarray, theirs: np.ndarray) -> float:
    """Return the fraction of their individuals that equal one of ours in all keypoints."""
    alike = []
    for own, other in zip(np.nan_to_num(poses), np.nan_to_num(theirs), strict=True):
        there = other[(other[..., 2] > 0).any(axis=1)][..., :2]
        distance = np.abs(there[:, None] - own[None, ..., :2]).max(axis=(2, 3))
        alike += list((distance < 0.01).any(axis=1))
    return float(np.mean(alike))


if __name__ == "__main__":
    main()
