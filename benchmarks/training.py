"""Compare the training speed of dlcexp and DeepLabCut.

    python benchmarks/training.py project=PATH net_types=[resnet_50,hrnet_w32,dekr_w18] threads=2

Arguments are NAME=VALUE; `DEFAULTS` below lists them. Each tool trains in a separate process, with
its public function (`dlcexp.train`, `deeplabcut.train_network`), on the same shuffle of a copy of
the project and with the `pytorch_config.yaml` that dlcexp exports. The processes take turns of a
few steps each, so that noise of the machine affects all of them. The time of a step includes
loading its batch. For each tool, the script prints the median and the quartiles of the images per
second, their ratio to DeepLabCut's (the median of the ratios within a turn), and the peak memory.

`make interop` creates the environment of DeepLabCut.
"""

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from turns import PYTHON_OF_DEEPLABCUT, Worker, environment

DEFAULTS: dict[str, Any] = {
    "project": "demo",  # folder of a DeepLabCut project
    "net_types": ["resnet_50", "hrnet_w32", "dekr_w18"],
    "precisions": ["32-true", "bf16-mixed"],  # of dlcexp; DeepLabCut uses float32 only
    "crop": 448,  # px
    "batch_size": 8,
    "threads": 1,
    "steps": 2,  # per turn
    "turns": 5,
    "clock": "wall",  # or cpu: CPU time, which is more stable on a busy machine
    "overrides": [],  # additional ones for dlcexp, such as trainer.memory_format=contiguous
}
DEEPLABCUT = "DeepLabCut"
WEIGHTS = "snapshot-000.pt"
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
WARM_UP = 1  # turns that are not counted
ENDLESS = 10**6  # epochs


def main() -> None:
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    unknown = ", ".join(set(given) - set(DEFAULTS))
    if unknown or not PYTHON_OF_DEEPLABCUT.exists():
        sys.exit(f"unknown argument: {unknown}" if unknown else "run make interop first")
    settings = {**DEFAULTS, **{name: yaml.safe_load(value) for name, value in given.items()}}
    print(", ".join(f"{name} {settings[name]}" for name in ("crop", "batch_size", "threads")))
    for net_type in settings["net_types"]:
        with tempfile.TemporaryDirectory() as folder:
            compare(net_type, settings, Path(folder))


def compare(net_type: str, settings: dict[str, Any], folder: Path) -> None:
    """Train with each tool in turn and print their speeds."""
    project = copy_project(settings["project"], folder / "project")
    call(PYTHON_OF_DEEPLABCUT, "create_shuffle", project, settings["threads"])
    (config,) = project.glob("dlc-models-pytorch/iteration-0/*/train/pytorch_config.yaml")
    overrides = experiment(net_type, settings, project)
    export = [*overrides, f"export.file={config}"]
    call(sys.executable, "write_config_and_weights", export, settings["threads"])
    turns, threads = [str(settings["steps"]), settings["clock"]], settings["threads"]
    theirs = command(PYTHON_OF_DEEPLABCUT, "train_deeplabcut", project)
    workers = {DEEPLABCUT: Worker([*theirs, *turns], threads)}
    for precision in settings["precisions"]:
        train = [*overrides, f"trainer.precision={precision}", f"hydra.run.dir={folder}"]
        ours = command(sys.executable, "train_dlcexp", train)
        workers[f"dlcexp {precision}"] = Worker([*ours, *turns], threads)
    for _ in range(WARM_UP + settings["turns"]):
        for worker in workers.values():
            worker.take_turn()
    for worker in workers.values():
        worker.end()
    report(net_type, workers, settings["batch_size"] * settings["steps"])


def experiment(net_type: str, settings: dict[str, Any], project: Path) -> list[str]:
    """Return the overrides of the experiment; DeepLabCut trains with its export."""
    crop = settings["crop"]
    overrides = [
        f"project={project}",
        f"net_type={net_type}",
        f"batch_size={settings['batch_size']}",
        f"data.train.crop_sampling.width={crop}",
        f"data.train.crop_sampling.height={crop}",
        "split=dlc_shuffle",
        "split.shuffle=1",
        f"epochs={ENDLESS}",
        f"save_epochs={ENDLESS}",
        f"trainer.eval_interval={ENDLESS}",
        "device=cpu",
    ]
    if "hrnet" in net_type:
        # Otherwise training from random weights diverges, and NaNs change the run time.
        overrides.append("model.backbone.freeze_bn_stats=false")
    return [*overrides, *settings["overrides"]]


def copy_project(source: str, target: Path) -> Path:
    """Copy a project, and list its videos in config.yaml so that DeepLabCut finds the frames."""
    if source == "demo":
        from dlcexp.data.draw_demo import write_demo_project

        write_demo_project(target)
        return target
    folder = Path(source).expanduser()
    folder = folder if folder.is_dir() else folder.parent
    frames = shutil.ignore_patterns("videos", "dlc-models*", "training-datasets", "runs")
    shutil.copytree(folder, target, copy_function=shutil.copyfile, ignore=frames)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    config = yaml.safe_load((target / "config.yaml").read_text(encoding="utf-8"))
    names = [path.name for path in (target / "labeled-data").iterdir()]
    config |= {
        "project_path": str(target),
        "video_sets": {f"{target}/videos/{name}.mp4": {"crop": "0, 9, 0, 9"} for name in names},
        "iteration": 0,
    }
    (target / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return target


def report(net_type: str, workers: dict[str, Worker], images: int) -> None:
    """Print the images per second of each tool, its ratio to DeepLabCut, and its peak memory."""
    reference = workers[DEEPLABCUT].seconds[WARM_UP:]
    for name, worker in workers.items():
        seconds = worker.seconds[WARM_UP:]
        speeds = [images / each for each in seconds]
        low, _, high = statistics.quantiles(speeds, n=4) if len(speeds) > 1 else speeds * 3
        ratio = statistics.median(b / a for a, b in zip(seconds, reference, strict=True))
        print(
            f"{net_type:<12}{name:<20}{statistics.median(speeds):7.3f} images/s "
            f"[{low:.3f}, {high:.3f}]{ratio:7.2f} x{worker.numbers[0]:7.1f} GB",
            flush=True,
        )


def command(python: Path | str, task: str, argument: Any) -> list[str]:
    return [str(python), "-W", "ignore", __file__, f"--{task}", json.dumps(argument, default=str)]


def call(python: Path | str, task: str, argument: Any, threads: int) -> None:
    """Run a task in a separate process."""
    done = subprocess.run(
        command(python, task, argument), env=environment(threads), capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{task}: {done.stdout}{done.stderr}")


def create_shuffle(project: str) -> None:
    """Create shuffle 1 of the project with DeepLabCut."""
    import deeplabcut

    config = str(Path(project) / "config.yaml")
    deeplabcut.create_training_dataset(config, Shuffles=[1], net_type="resnet_50")


def write_config_and_weights(overrides: list[str]) -> None:
    """Write the configuration for DeepLabCut and random weights, so that it downloads none."""
    import dlcexp
    from dlcexp.deeplabcut.snapshots import Snapshot, save_snapshot

    cfg = dlcexp.compose(*overrides)
    config = Path(cfg.export.file)
    config.write_text(dlcexp.export(cfg), encoding="utf-8")
    weights = dlcexp.build(cfg.model).state_dict()
    save_snapshot(config.with_name(WEIGHTS), Snapshot(epoch=0, model=weights))


def train_dlcexp(overrides: list[str], steps: str, clock: str) -> None:
    import dlcexp

    folder = next(each for each in overrides if each.startswith("hydra.run.dir="))
    cfg = dlcexp.compose(*(each for each in overrides if each != folder))
    take_turns(int(steps), CLOCKS[clock])
    dlcexp.train(cfg, folder.partition("=")[2] + f"/{cfg.trainer.precision}")


def train_deeplabcut(project: str, steps: str, clock: str) -> None:
    import deeplabcut

    config = str(Path(project) / "config.yaml")
    (weights,) = Path(project).glob(f"dlc-models-pytorch/*/*/train/{WEIGHTS}")
    take_turns(int(steps), CLOCKS[clock])
    deeplabcut.train_network(config, shuffle=1, device="cpu", snapshot_path=str(weights))


def take_turns(steps: int, clock: Callable[[], float]) -> None:
    """Make data loaders wait before each turn for a line on standard input.

    The time of a turn excludes this wait and the time between two epochs.
    """
    from torch.utils.data import DataLoader

    iterate = DataLoader.__iter__
    turn = Turn(steps, clock)

    def in_turns(loader: Any) -> Iterator[Any]:
        turn.begin_step()
        for batch in iterate(loader):
            yield batch
            turn.end_step()
            turn.begin_step()

    DataLoader.__iter__ = in_turns  # type: ignore[assignment, method-assign]


class Turn:
    """Count the steps of a turn and their seconds."""

    def __init__(self, steps: int, clock: Callable[[], float]) -> None:
        self.steps = steps
        self.clock = clock
        self.seconds: list[float] = []
        self.started = 0.0

    def begin_step(self) -> None:
        """Start the clock; wait for the turn before its first step."""
        if not self.seconds and not sys.stdin.readline():
            sys.exit("no more turns")
        self.started = self.clock()

    def end_step(self) -> None:
        """Stop the clock; after the last step, print the seconds of the turn."""
        self.seconds.append(self.clock() - self.started)
        if len(self.seconds) == self.steps:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            print("turn", sum(self.seconds), memory, file=sys.__stdout__, flush=True)
            self.seconds = []


if __name__ == "__main__":
    if "--help" in sys.argv:
        sys.exit(__doc__)
    if sys.argv[1:] and sys.argv[1].startswith("--"):
        task, argument, *rest = sys.argv[1:]
        globals()[task[2:]](json.loads(argument), *rest)
    else:
        main()
