"""Frames per second in a video beside the real DeepLabCut's, and how far the poses are apart.

    python benchmarks/inference.py run=DIR frames=200
    python benchmarks/inference.py project=PATH net_types=[resnet_50,hrnet_w32,dekr_w18]

All arguments are NAME=VALUE; their defaults stand in `DEFAULTS` below. A run is installed as a
shuffle of a copy of its project, so that both tools have the same weights; each then analyses the
first frames of a video of the project by its own public call (`dlcexp predict`'s,
`deeplabcut.analyze_videos`), from opening the weights to the files of poses, in a process of its
own. The processes take turns. Printed are medians over the turns, how many times DeepLabCut's
frames/s that is (the median of the ratio within a turn), the distance of the poses from
DeepLabCut's where it is sure of a keypoint, and the seconds a frame that each stage takes alone.

Without `run`, net types have random weights: their speed is that of trained ones, but their maps
have no clear peaks, and poses mean little. Of part-affinity fields they have so many peaks that
DeepLabCut runs out of memory: give it a run that was trained. The environment of the real
DeepLabCut is made by `make interop`.
"""

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from training import copy_project
from turns import PYTHON_OF_DEEPLABCUT, Worker, environment

DEFAULTS: dict[str, Any] = {
    "run": None,  # folder of a finished run
    "project": None,  # folder of a DeepLabCut project; null: that of the run
    "net_types": ["resnet_50", "hrnet_w32", "dekr_w18"],  # without a run
    "video": None,  # null: the first of the project
    "frames": 60,
    "modes": ["torch 32", "torch bf16"],  # backend and precision of dlcexp
    "batch_size": None,  # of DeepLabCut; null: the project's
    "threads": 2,
    "turns": 3,
    "sure": 0.4,  # confidence from which DeepLabCut's keypoints are compared
}
DEEPLABCUT = "DeepLabCut"
WARM_UP = 1  # turns that do not count
STAGE_FRAMES = 12  # by which the stages are timed


def main() -> None:
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    unknown = ", ".join(set(given) - set(DEFAULTS))
    if unknown or not PYTHON_OF_DEEPLABCUT.exists():
        sys.exit(f"no such argument: {unknown}" if unknown else "run make interop first")
    settings = {**DEFAULTS, **{name: yaml.safe_load(value) for name, value in given.items()}}
    if not (settings["run"] or settings["project"]):
        sys.exit("run=DIR or project=PATH is needed")
    print(", ".join(f"{name} {settings[name]}" for name in ("frames", "threads", "turns")))
    for name in [settings["run"]] if settings["run"] else settings["net_types"]:
        with tempfile.TemporaryDirectory() as folder:
            compare(str(name), settings, Path(folder))


def compare(name: str, settings: dict[str, Any], folder: Path) -> None:
    """Let each tool analyse the clip in turn, and print how fast and how alike they were."""
    from dlcexp.training import Run

    source = settings["project"] or Run.open(name).cfg.project
    project = copy_project(str(source), folder / "project")
    clip = first_frames(video_of(settings, Path(str(source))), settings["frames"], folder)
    run = Path(name) if settings["run"] else random_run(name, project, folder / "run")
    shuffle, fraction = install(run, project)
    given = {"run": str(run), "clip": str(clip), "threads": settings["threads"]}
    theirs = given | {
        "config": str(project / "config.yaml"),
        "output": str(folder / "theirs"),
        "shuffle": shuffle,
        "trainingsetindex": fraction,
        "batch_size": settings["batch_size"],
    }
    threads, outputs = settings["threads"], {DEEPLABCUT: theirs["output"]}
    analyze = command(PYTHON_OF_DEEPLABCUT, "analyze_by_deeplabcut", theirs)
    workers = {DEEPLABCUT: Worker(analyze, threads)}
    for number, mode in enumerate(settings["modes"]):
        backend, precision = mode.split()
        ours = given | {"output": str(folder / f"ours{number}")}
        ours |= {"backend": backend, "precision": precision}
        outputs[mode] = ours["output"]
        workers[mode] = Worker(command(sys.executable, "analyze_by_dlcexp", ours), threads)
    for _ in range(WARM_UP + settings["turns"]):
        for worker in workers.values():
            worker.take_turn()
    for worker in workers.values():
        worker.end()
    report(Path(name).name, workers, outputs, settings)
    call("print_stages", given)


def report(
    name: str, workers: dict[str, Worker], outputs: dict[str, str], settings: dict[str, Any]
) -> None:
    """Frames per second of each, its ratio to DeepLabCut, and the distance of its poses."""
    reference = workers[DEEPLABCUT]
    for mode, worker in workers.items():
        seconds = worker.seconds[WARM_UP:]
        ratio = statistics.median(
            b / a for a, b in zip(seconds, reference.seconds[WARM_UP:], strict=True)
        )
        line = (
            f"{name:<14}{mode:<14}{settings['frames'] / statistics.median(seconds):8.2f} frames/s"
        )
        line += f"{ratio:7.2f} x"
        if worker is not reference:
            line += f"   {distance(outputs[mode], outputs[DEEPLABCUT], settings['sure'])}"
        print(line, flush=True)


def distance(ours: str, theirs: str, sure: float) -> str:
    """How far the poses of two folders of files are apart."""
    first, second = found_in(Path(ours)), found_in(Path(theirs))
    apart = []
    for frame in sorted(second):
        apart += [paired(first.get(frame), second[frame], sure)]
    pixels = np.concatenate(apart) if apart else np.zeros(0)
    if not pixels.size:
        return f"no keypoint of confidence {sure} to compare"
    low, high = np.percentile(pixels, [50, 99])
    return (
        f"apart: median {low:.3f} px, 99 % {high:.3f} px, most {pixels.max():.3f} px "
        f"({pixels.size} keypoints)"
    )


def paired(ours: Any, theirs: np.ndarray, sure: float) -> np.ndarray:
    """Distances of the keypoints (n, k, 3) of which `theirs` are sure; animals by the nearest."""
    from scipy.optimize import linear_sum_assignment

    if ours is None:
        return np.full(int((theirs[..., 2] >= sure).sum()), np.inf)
    apart = np.linalg.norm(ours[:, None, :, :2] - theirs[None, :, :, :2], axis=-1)
    apart[..., :] = np.where(theirs[None, :, :, 2] >= sure, apart, np.nan)
    cost = np.nan_to_num(np.nanmean(np.nan_to_num(apart, nan=0.0), axis=-1), nan=1e9, posinf=1e9)
    pairs = np.stack(linear_sum_assignment(cost), axis=1)
    distances = np.concatenate([apart[a, b] for a, b in pairs]) if len(pairs) else np.zeros(0)
    return distances[np.isfinite(distances)]


def found_in(folder: Path) -> dict[int, np.ndarray]:
    """Poses (n, k, 3) of each frame in the files that DeepLabCut's tracking reads."""
    import pickle

    import pandas as pd

    assemblies = sorted(folder.glob("*_assemblies.pickle"))
    if assemblies:
        content = pickle.loads(assemblies[0].read_bytes())
        return {
            int(frame): np.asarray(poses)[..., :3]
            for frame, poses in content.items()
            if str(frame).isdigit() and len(poses)
        }
    (table,) = folder.glob("*.h5")
    values = pd.read_hdf(table).to_numpy()
    return dict(enumerate(values.reshape(len(values), 1, -1, 3)))


def video_of(settings: dict[str, Any], project: Path) -> Path:
    folder = project if project.is_dir() else project.parent
    return Path(settings["video"] or sorted((folder / "videos").iterdir())[0])


def first_frames(video: Path, frames: int, folder: Path) -> Path:
    """A clip of the first frames of a video, coded as they are."""
    import av

    clip = folder / f"clip{video.suffix}"
    with av.open(str(video)) as source, av.open(str(clip), "w") as target:
        stream = source.streams.video[0]
        copied = target.add_stream_from_template(stream)
        for packet in islice(source.demux(stream), frames):
            if packet.dts is not None:
                packet.stream = copied
                target.mux(packet)
    return clip


def random_run(net_type: str, project: Path, folder: Path) -> Path:
    """A run folder as training leaves it, with random weights."""
    import dlcexp
    from dlcexp.deeplabcut.snapshots import Snapshot, SnapshotManager
    from dlcexp.runs.folder import RunFolder

    cfg = dlcexp.compose(f"project={project}", f"net_type={net_type}", "device=cpu")
    run = RunFolder(folder)
    run.start(cfg, [], fresh=[], device="cpu")
    manager = SnapshotManager(run.snapshots, key_metric="test.mAP", max_snapshots=1)
    weights = dlcexp.build(cfg.model).state_dict()
    nothing: dict[str, Any] = {"losses": {}, "scheduler": None, "optimizer": None}
    manager.save(Snapshot(1, weights, metrics={"test.mAP": 1.0}, **nothing), periodic=False)
    return folder


def install(run: Path, project: Path) -> tuple[int, int]:
    """Make the run a shuffle of the project; its number, and that of its training fraction."""
    from dlcexp.commands.install import install_run

    call_of_deeplabcut = install_run(run, None, str(project))[-1]
    shuffle, fraction = re.findall(r"(?:shuffle|trainingsetindex)=(\d+)", call_of_deeplabcut)
    return int(shuffle), int(fraction)


def command(python: Path | str, task: str, given: dict[str, Any]) -> list[str]:
    return [str(python), "-W", "ignore", __file__, f"--{task}", json.dumps(given)]


def call(task: str, given: dict[str, Any]) -> None:
    """Carry out a task of dlcexp in a process of its own."""
    sys.stdout.flush()
    subprocess.run(
        command(sys.executable, task, given), env=environment(given["threads"]), check=True
    )


def in_turns(analyze: Callable[[], Any]) -> None:
    """Call it once for each line on standard input, and say how long it took."""
    for _ in sys.stdin:
        started = time.perf_counter()
        analyze()
        print("turn", time.perf_counter() - started, file=sys.__stdout__, flush=True)


def analyze_by_deeplabcut(given: dict[str, Any]) -> None:
    import deeplabcut

    Path(given["output"]).mkdir()
    sys.stdout = sys.stderr
    in_turns(
        lambda: deeplabcut.analyze_videos(
            given["config"],
            [given["clip"]],
            shuffle=given["shuffle"],
            trainingsetindex=given["trainingsetindex"],
            destfolder=given["output"],
            batch_size=given["batch_size"],
            auto_track=False,
            overwrite=True,
        )
    )


def analyze_by_dlcexp(given: dict[str, Any]) -> None:
    from dlcexp.inference.analyze import Wishes, analyze
    from dlcexp.inference.finder import PoseFinder
    from dlcexp.inference.sources import VideoSource
    from dlcexp.training import Run

    wishes = Wishes(Path(given["output"]), csv=False, overwrite=True)

    def once() -> None:
        finder = PoseFinder(
            Run.open(given["run"]), precision=given["precision"], backend=given["backend"]
        )
        analyze(finder, VideoSource(Path(given["clip"])), wishes)

    in_turns(once)


def print_stages(given: dict[str, Any]) -> None:
    """Milliseconds a frame of each stage alone, in float32: the longest limits them all."""
    import torch

    from dlcexp.data.cache import DecodedImages
    from dlcexp.data.loading import unlabelled_frames
    from dlcexp.inference.finder import PoseFinder
    from dlcexp.inference.sources import VideoSource
    from dlcexp.training import Run

    finder, source = PoseFinder(Run.open(given["run"])), VideoSource(Path(given["clip"]))
    if finder.cfg.method != "bu":
        return
    clock = [time.perf_counter()]
    images = [image for image in source.read() if image is not None]
    clock.append(time.perf_counter())
    decoded = {source.frame_path(number): image for number, image in enumerate(images)}
    frames = unlabelled_frames(finder.cfg, list(decoded), DecodedImages(decoded)).frames("test")
    samples = [frames[number]["image"][None] for number in range(min(len(images), STAGE_FRAMES))]
    clock.append(time.perf_counter())
    with torch.inference_mode():
        finder.network(samples[0].to(finder.device))  # makes it ready
        clock.append(time.perf_counter())
        maps = [finder.network(sample.to(finder.device)) for sample in samples]
        clock.append(time.perf_counter())
        for each in maps:
            finder.model.predict(each)
        clock.append(time.perf_counter())
    decode, prepare, _, network, poses = np.diff(clock)
    each = {"decode": decode / len(images)}
    each |= {"prepare": prepare / len(samples), "network": network / len(samples)}
    each |= {"poses": poses / len(samples)}
    print("ms a frame: " + ", ".join(f"{name} {1000 * each[name]:.1f}" for name in each))


if __name__ == "__main__":
    if "--help" in sys.argv:
        sys.exit(__doc__)
    if sys.argv[1:] and sys.argv[1].startswith("--"):
        globals()[sys.argv[1][2:]](json.loads(sys.argv[2]))
    else:
        main()
