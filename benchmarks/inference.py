"""Compare the inference speed and the poses of dlcexp and DeepLabCut on a video.

    python benchmarks/inference.py run=DIR frames=200
    python benchmarks/inference.py project=PATH net_types=[resnet_50,hrnet_w32,dekr_w18]

Arguments are NAME=VALUE; `DEFAULTS` below lists them. The run is installed as a shuffle of a copy
of its project, so that both tools have the same weights. Each tool analyses the first frames of a
video in a separate process, with the code of `dlcexp predict` and with
`deeplabcut.analyze_videos`, from loading the weights to writing the poses. The processes take
turns. For each tool, the script prints the median frames per second over the turns, their ratio to
DeepLabCut's (the median of the ratios within a turn), and the distance to DeepLabCut's poses for
keypoints with high confidence. It also prints the milliseconds per frame of each stage on its own.

Without `run`, the networks have random weights. They are as fast as trained ones, but their maps
have no clear peaks, so that the poses are meaningless. With part-affinity fields, random maps have
so many peaks that DeepLabCut runs out of memory: use a trained run. `make interop` creates the
environment of DeepLabCut.
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
    "project": None,  # folder of a DeepLabCut project; null: the project of the run
    "net_types": ["resnet_50", "hrnet_w32", "dekr_w18"],  # without a run
    "video": None,  # null: the first video of the project
    "frames": 60,
    "modes": ["torch 32", "torch bf16"],  # backend and precision of dlcexp
    "batch_size": None,  # of DeepLabCut; null: the default of the project
    "threads": 2,
    "turns": 3,
    "sure": 0.4,  # minimum confidence of the keypoints of DeepLabCut to compare
}
DEEPLABCUT = "DeepLabCut"
WARM_UP = 1  # turns that are not counted
STAGE_FRAMES = 12  # frames to time the stages with


def main() -> None:
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    unknown = ", ".join(set(given) - set(DEFAULTS))
    if unknown or not PYTHON_OF_DEEPLABCUT.exists():
        sys.exit(f"unknown argument: {unknown}" if unknown else "run make interop first")
    settings = {**DEFAULTS, **{name: yaml.safe_load(value) for name, value in given.items()}}
    if not (settings["run"] or settings["project"]):
        sys.exit("run=DIR or project=PATH is required")
    print(", ".join(f"{name} {settings[name]}" for name in ("frames", "threads", "turns")))
    for name in [settings["run"]] if settings["run"] else settings["net_types"]:
        with tempfile.TemporaryDirectory() as folder:
            compare(str(name), settings, Path(folder))


def compare(name: str, settings: dict[str, Any], folder: Path) -> None:
    """Analyse the clip with each tool in turn, and print speeds and distances."""
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
    """Print the frames per second of each tool, its ratio to DeepLabCut, and the pose distance."""
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
    """Describe the distance between the poses in two folders."""
    first, second = found_in(Path(ours)), found_in(Path(theirs))
    apart = []
    for frame in sorted(second):
        apart += [paired(first.get(frame), second[frame], sure)]
    pixels = np.concatenate(apart) if apart else np.zeros(0)
    if not pixels.size:
        return f"no keypoint with a confidence of at least {sure}"
    low, high = np.percentile(pixels, [50, 99])
    return (
        f"distance: median {low:.3f} px, 99 % {high:.3f} px, maximum {pixels.max():.3f} px "
        f"({pixels.size} keypoints)"
    )


def paired(ours: Any, theirs: np.ndarray, sure: float) -> np.ndarray:
    """Return distances, px, of keypoints (n, k, 3) where the score of `theirs` is at least `sure`.

    Animals are paired by the smallest sum of distances.
    """
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
    """Read the poses (n, k, 3) of each frame from the files that DeepLabCut's tracking reads."""
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
    """Write a clip of the first frames of a video, without re-encoding."""
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
    """Write a run folder with random weights, as training would."""
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
    """Install the run as a shuffle; return the numbers of the shuffle and training fraction."""
    from dlcexp.commands.install import install_run

    call_of_deeplabcut = install_run(run, None, str(project))[-1]
    shuffle, fraction = re.findall(r"(?:shuffle|trainingsetindex)=(\d+)", call_of_deeplabcut)
    return int(shuffle), int(fraction)


def command(python: Path | str, task: str, given: dict[str, Any]) -> list[str]:
    return [str(python), "-W", "ignore", __file__, f"--{task}", json.dumps(given)]


def call(task: str, given: dict[str, Any]) -> None:
    """Run a task of dlcexp in a separate process."""
    sys.stdout.flush()
    subprocess.run(
        command(sys.executable, task, given), env=environment(given["threads"]), check=True
    )


def in_turns(analyze: Callable[[], Any]) -> None:
    """Call `analyze` once for each line on standard input, and print the seconds it took."""
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
    """Print the milliseconds per frame of each stage on its own, in float32."""
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
        finder.network(samples[0].to(finder.device))  # warm-up
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
    print("ms per frame: " + ", ".join(f"{name} {1000 * each[name]:.1f}" for name in each))


if __name__ == "__main__":
    if "--help" in sys.argv:
        sys.exit(__doc__)
    if sys.argv[1:] and sys.argv[1].startswith("--"):
        globals()[sys.argv[1][2:]](json.loads(sys.argv[2]))
    else:
        main()
