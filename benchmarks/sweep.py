"""Measure the overhead of a sweep, and the epochs that Optuna with pruning saves over a grid.

    python benchmarks/sweep.py overhead [jobs=4] [key=value ...]
    python benchmarks/sweep.py optuna [seeds=1] [folder=DIR] [key=value ...]

`overhead` runs the jobs of a sweep with `hydra/launcher=basic`. It prints the CPU time per job,
from the second job on, of training, evaluation and figures; of composition and validation; and of
the rest.

`optuna` runs a full grid of optimizers, learning rates and schedulers, in which each job trains
until its error no longer decreases. Then it runs studies with pruning over the same values, each
with a different seed of the sampler, and prints the best metric and the number of epochs of each.
Completed jobs in `folder` are skipped. Further overrides, such as `epochs=40`, apply to all jobs.

Examples, on crops of the demo project's animals and on frames of a different project:

    python benchmarks/sweep.py optuna seeds=3
    python benchmarks/sweep.py optuna seeds=3 project=PATH
"""

import csv
import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import dlcexp.training
from dlcexp.cli import main
from dlcexp.runs.metric_names import spelling
from dlcexp.sweeps import launching
from dlcexp.sweeps.sweep import Experiments

GRID = [
    "optimizer=adamw,rmsprop,sgd",
    "optimizer.lr=3e-4,1e-3,3e-3,1e-2",
    "scheduler=cosine_annealing_lr,none",
]
STUDY = ["hydra/sweeper=optuna", "hydra.sweeper.sampler.n_startup_trials=5"]
SHARE = 5 / 6  # trials of a study, as a fraction of the jobs of the grid
LENGTH = [
    "epochs=60",
    "trainer.eval_interval=5",
    "trainer.key_metric=test.rmse",
    "sweep.metric=test.rmse",
    "split.train_fraction=0.5",
    "evaluation.examples=0",
]
NETWORK = [
    "model=heatmap",
    "model/backbone=timm",
    "model.backbone.model_name=test_resnet.r160_in1k",
    "model.backbone.feature_level=2",
    "data.train.crop_sampling=null",
    "device=cpu",
    "trainer.progress_bar=false",
]
CROPS = ["method=td", "train.stages=[pose]", "data.top_down_crop={width: 64, height: 64}"]
FRAMES = ["data.resize={width: 128, height: 96}"]


def run() -> None:
    commands = {"overhead": overhead, "optuna": optuna}
    command, *overrides = sys.argv[1:] or [""]
    if command not in commands:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        commands[command](overrides, Path(folder))


def option(name: str, default: str, overrides: list[str]) -> tuple[str, list[str]]:
    """Return the value of a setting of this script, and the other overrides."""
    given = [
        override.partition("=")[2] for override in overrides if override.startswith(f"{name}=")
    ]
    return [default, *given][-1], [
        override for override in overrides if not override.startswith(f"{name}=")
    ]


def overhead(overrides: list[str], folder: Path) -> None:
    """Print the CPU seconds per job of training, of composition, and of the rest."""
    jobs, overrides = option("jobs", "4", overrides)
    composed = measured(Experiments, "tree")
    ended = moments(launching, "settle")
    trained = measured(dlcexp.training, "train")
    seeds = [f"seed=range({jobs})", "epochs=1", "save_epochs=1", "split.train_fraction=0.1"]
    target = ["hydra/launcher=basic", f"hydra.sweep.dir={folder}"]
    main(["-m", *NETWORK, *CROPS, *seeds, *overrides, *target])
    whole = [after - before for before, after in pairwise(ended)]
    beside = [job - train for job, train in zip(whole, trained[1:], strict=True)]
    print(f"training, scoring, figures {mean(trained[1:]):.2f} s of CPU time per job")
    print(f"composition and validation {mean(composed[1:]):.2f} s")
    print(f"launching and recording    {mean(beside):.2f} s")


def measured(owner: Any, name: str) -> list[float]:
    """Return a list to which each later call of a function appends its CPU seconds."""
    function = getattr(owner, name)
    seconds: list[float] = []

    def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            seconds.append(time.process_time() - started)

    setattr(owner, name, timed)
    return seconds


def moments(owner: Any, name: str) -> list[float]:
    """Return a list to which each later call of a function appends its CPU time."""
    function = getattr(owner, name)
    seconds: list[float] = []

    def noted(*args: Any, **kwargs: Any) -> Any:
        seconds.append(time.process_time())
        return function(*args, **kwargs)

    setattr(owner, name, noted)
    return seconds


def optuna(overrides: list[str], folder: Path) -> None:
    """Print the best metric and the epochs of a grid and of studies with pruning."""
    seeds, overrides = option("seeds", "1", overrides)
    place, overrides = option("folder", str(folder), overrides)
    size = FRAMES if any(override.startswith("project=") for override in overrides) else CROPS
    common = [*NETWORK, *size, *LENGTH, *GRID, *overrides, "hydra/launcher=basic"]
    grid_best, grid_spent = swept(common, Path(place, "grid"))
    jobs = len([*Path(place, "grid").glob("*/status.json")])
    lines = [f"grid      best test.rmse {grid_best:.2f} px in {grid_spent} epochs of {jobs} jobs"]
    trials = round(SHARE * jobs)
    for seed in range(int(seeds)):
        study = [*STUDY, f"hydra.sweeper.n_trials={trials}", f"hydra.sweeper.sampler.seed={seed}"]
        best, spent = swept([*common, *study], Path(place, f"study-{seed}"))
        lines.append(
            f"study {seed}   best test.rmse {best:.2f} px in {spent} epochs: "
            f"{best / grid_best:.3f} of the metric, {spent / grid_spent:.2f} of the epochs"
        )
    print("\n".join(lines))


def swept(overrides: list[str], folder: Path) -> tuple[float, int]:
    """Run a sweep; return its best metric, and the epochs that its jobs trained."""
    main(["-m", *overrides, f"hydra.sweep.dir={folder}"])
    spent, best = 0, float("inf")
    for table in sorted(folder.glob("*/metrics.csv")):
        with table.open(newline="") as file:
            spent += len(list(csv.DictReader(file)))
        final = table.parent / "metrics.json"
        if final.is_file():
            metrics = json.loads(final.read_text())
            best = min(best, metrics[spelling("test.rmse", metrics)] or best)
    return best, spent


if __name__ == "__main__":
    run()
