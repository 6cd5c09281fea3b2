"""What a sweep costs beside its jobs, and what Optuna with pruning saves beside a grid.

    python benchmarks/sweep.py overhead [jobs=4] [key=value ...]
    python benchmarks/sweep.py optuna [seeds=1] [folder=DIR] [key=value ...]

`overhead` runs an experiment again and again under `hydra/launcher=basic` and prints the CPU time
of a job, from the second one on, that is not spent in the call that trains, evaluates and reports;
that of composing and checking it is told apart. `optuna` runs a full grid of optimizers, learning
rates and schedules, each job until its error no longer falls, then studies with pruning over the
same values, each with a sampler of another seed, and prints the best metric and the epochs of all.
What is done in `folder` is not done again. Further words, such as `epochs=40`, go to all.

On crops of the demo's animals, and on the open field data of DeepLabCut's examples:

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
SHARE = 5 / 6  # of the grid's jobs that a study may try
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
    command, *words = sys.argv[1:] or [""]
    if command not in commands:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        commands[command](words, Path(folder))


def option(name: str, default: str, words: list[str]) -> tuple[str, list[str]]:
    """The value of a word of ours, and the other words."""
    given = [word.partition("=")[2] for word in words if word.startswith(f"{name}=")]
    return [default, *given][-1], [word for word in words if not word.startswith(f"{name}=")]


def overhead(words: list[str], folder: Path) -> None:
    """CPU seconds a job takes beside the call that a single run makes, too."""
    jobs, words = option("jobs", "4", words)
    composed = measured(Experiments, "tree")
    ended = moments(launching, "settle")
    trained = measured(dlcexp.training, "train")
    seeds = [f"seed=range({jobs})", "epochs=1", "save_epochs=1", "split.train_fraction=0.1"]
    target = ["hydra/launcher=basic", f"hydra.sweep.dir={folder}"]
    main(["-m", *NETWORK, *CROPS, *seeds, *words, *target])
    whole = [after - before for before, after in pairwise(ended)]
    beside = [job - train for job, train in zip(whole, trained[1:], strict=True)]
    print(f"training, scoring, figures {mean(trained[1:]):.2f} s of CPU a job")
    print(f"composing and checking     {mean(composed[1:]):.2f} s")
    print(f"launching and recording    {mean(beside):.2f} s")


def measured(owner: Any, name: str) -> list[float]:
    """The CPU seconds of each call of a function from now on."""
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
    """The CPU time at which a function is called, from now on."""
    function = getattr(owner, name)
    seconds: list[float] = []

    def noted(*args: Any, **kwargs: Any) -> Any:
        seconds.append(time.process_time())
        return function(*args, **kwargs)

    setattr(owner, name, noted)
    return seconds


def optuna(words: list[str], folder: Path) -> None:
    """Best metric and epochs of a grid, and of studies with pruning."""
    seeds, words = option("seeds", "1", words)
    place, words = option("folder", str(folder), words)
    size = FRAMES if any(word.startswith("project=") for word in words) else CROPS
    common = [*NETWORK, *size, *LENGTH, *GRID, *words, "hydra/launcher=basic"]
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


def swept(words: list[str], folder: Path) -> tuple[float, int]:
    """The best metric of a sweep, and the epochs that its jobs trained."""
    main(["-m", *words, f"hydra.sweep.dir={folder}"])
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
