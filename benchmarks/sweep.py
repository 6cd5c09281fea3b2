"""What a sweep costs beside its jobs, and what Optuna with pruning saves beside a grid.

    python benchmarks/sweep.py overhead [jobs=4] [key=value ...]
    python benchmarks/sweep.py optuna [key=value ...]

`overhead` runs an experiment again and again under `hydra/launcher=basic` and prints the CPU time
of a job, from the second one on, that is not spent in the call that trains, evaluates and reports;
that of composing and checking it is told apart. `optuna` runs a full grid of optimizers and
learning rates, then a study with pruning over the same values, and prints the best metric and the
epochs of both. Further words, such as `project=PATH` or `epochs=40`, go to both.
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
from dlcexp.sweeps import launching
from dlcexp.sweeps.sweep import Experiments

GRID = ["optimizer=adamw,sgd", "optimizer.lr=1e-5,1e-4,1e-3,1e-2,1e-1"]
STUDY = [
    "hydra/sweeper=optuna",
    "hydra/sweeper/pruner=successive_halving",
    "hydra.sweeper.n_trials=10",
    "hydra/sweeper/sampler=grid",
]
SMALL = [
    "model/backbone=timm",
    "model.backbone.model_name=test_resnet.r160_in1k",
    "model.backbone.feature_level=2",
    "data.resize.width=96",
    "data.resize.height=96",
    "data.train.crop_sampling=null",
    "device=cpu",
    "trainer.progress_bar=false",
]


def run() -> None:
    command, *words = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        {"overhead": overhead, "optuna": optuna}[command](words, Path(folder))


def overhead(words: list[str], folder: Path) -> None:
    """CPU seconds a job takes beside the call that a single run makes, too."""
    jobs = next((word.removeprefix("jobs=") for word in words if word.startswith("jobs=")), "4")
    words = [word for word in words if not word.startswith("jobs=")]
    composed = measured(Experiments, "tree")
    ended = moments(launching, "settle")
    trained = measured(dlcexp.training, "train")
    seeds = [f"seed=range({jobs})", "epochs=1", "save_epochs=1", "split.train_fraction=0.1"]
    target = ["hydra/launcher=basic", f"hydra.sweep.dir={folder}"]
    main(["-m", *SMALL, *seeds, *words, *target])
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
    """Best metric and epochs of a grid, and of a study with pruning."""
    results = {}
    common = [*SMALL, "epochs=27", "trainer.eval_interval=3", "sweep.metric=test.rmse", *words]
    for name, more in (("grid", []), ("optuna", STUDY)):
        target = folder / name
        here = ["hydra/launcher=basic", f"hydra.sweep.dir={target}"]
        main(["-m", *common, *GRID, *more, *here])
        spent, best = 0, float("inf")
        for run in sorted(target.glob("*/metrics.csv")):
            with run.open(newline="") as file:
                spent += len(list(csv.DictReader(file)))
            final = run.parent / "metrics.json"
            if final.is_file():
                best = min(best, json.loads(final.read_text())["test.rmse"] or float("inf"))
        results[name] = (best, spent)
    (grid_best, grid_spent), (best, spent) = results["grid"], results["optuna"]
    print(f"grid    best test.rmse {grid_best:.2f} px in {grid_spent} epochs")
    print(f"optuna  best test.rmse {best:.2f} px in {spent} epochs")
    print(f"ratio   {best / grid_best:.3f} of the metric, {spent / grid_spent:.2f} of the epochs")


if __name__ == "__main__":
    run()
