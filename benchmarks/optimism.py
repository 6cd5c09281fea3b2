"""Show that the score of a winner on frames that chose nothing is not too good, and the other is.

    python benchmarks/optimism.py project=PATH [recipes=30] [folds=3] [epochs=2] [folder=DIR]

In each fold, one network is trained on the training frames. From its weights, 30 recipes that are
the same but for their names (the number of periodic snapshots that are kept) are trained for a few
more epochs, each from another seed. Validation frames choose the best of the 30, as in any sweep.
No recipe is better than another one. The script prints, as `dlcexp report` does, the gain of the
winner over the mean of all recipes with its standard error: on validation frames, which chose it;
on test frames, where it contains the luck of its training; and on the test frames of each fold, of
the recipe that the other folds chose, which is 0 but for chance. Completed jobs in `folder` are
skipped. Further overrides apply to all jobs.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from dlcexp.cli import main
from dlcexp.results.optimism import Optimism, optimisms
from dlcexp.results.read_sweep import read_sweep
from dlcexp.results.statistics import CONFIDENCE, Estimate

DEFAULTS = {"recipes": "30", "folds": "3", "epochs": "2", "folder": ""}
NETWORK = [
    "model=heatmap",
    "model/backbone=timm",
    "model.backbone.model_name=test_resnet.r160_in1k",
    "model.backbone.feature_level=2",
    "data.resize={width: 128, height: 96}",
    "data.train.crop_sampling=null",
    "device=cpu",
    "evaluation.examples=0",
    "trainer.progress_bar=false",
    "split=kfold",
    "split.val_fraction=0.2",
]
# The network of each fold: nothing chooses its epoch, so that it knows nothing of other frames.
FIRST = [
    "weights=random",
    "epochs=60",
    "trainer.eval_interval=60",
    "optimizer.lr=3e-3",
    "scheduler=cosine_annealing_lr",
]
FURTHER = [
    "trainer.eval_interval=1",
    "trainer.key_metric=val.rmse",
    "sweep.metric=val.rmse",
    "optimizer.lr=1e-3",
    "scheduler=cosine_annealing_lr",
]


def run() -> None:
    given = {key: value for key, _, value in (word.partition("=") for word in sys.argv[1:])}
    if "project" not in given:
        sys.exit(__doc__)
    settings = {**DEFAULTS, **{key: given.pop(key) for key in DEFAULTS if key in given}}
    overrides = [*NETWORK, *(f"{key}={value}" for key, value in given.items())]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(settings["folder"] or temporary).resolve()
        for each in study(settings, overrides, folder):
            print_gains(each)


def study(settings: dict[str, str], overrides: list[str], folder: Path) -> list[Optimism]:
    """Train the networks of the folds, then the recipes from their weights."""
    folds = [f"split.k={settings['folds']}", f"split.fold=range({settings['folds']})"]
    common = ["-m", *overrides, "hydra/launcher=basic"]
    first = folder / "first"
    main([*common, *FIRST, *folds, f"hydra.sweep.dir={first}"])
    options = folder / "options" / "experiment"
    options.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump({"hydra": {"sweeper": {"variants": jobs(settings, first)}}})
    (options / "equal_recipes.yaml").write_text(f"# @package _global_\n{text}", encoding="utf-8")
    further = [folds[0], f"epochs={settings['epochs']}", "experiment=equal_recipes"]
    target = [f"--config-dir={options.parent}", f"hydra.sweep.dir={folder / 'recipes'}"]
    main([*common, *FURTHER, *further, *target])
    return optimisms(read_sweep(folder / "recipes"))


def jobs(settings: dict[str, Any], first: Path) -> list[str]:
    """Return the overrides of each job: its fold with the weights of that fold, seed and name.

    No two jobs have the same seed, so that a recipe has nothing in common over the folds.
    """
    recipes = int(settings["recipes"])
    return [
        f"split.fold={fold} weights={first / str(fold)} seed={fold * recipes + number} "
        f"trainer.max_snapshots={number + 1}"
        for fold in range(int(settings["folds"]))
        for number in range(recipes)
    ]


def print_gains(found: Optimism) -> None:
    """Print the gain over the mean of all recipes, in standard errors."""
    print(f"{found.recipes} equal recipes, mean gain over their mean in {found.folds} folds, px:")
    for name, gain in (
        (f"inner: the winner by {found.inner_metric}, in that metric", found.inner_gain),
        (f"outer: the same network, in {found.outer_metric}", found.outer_gain),
        (f"outer: the recipe that the other folds chose, in {found.outer_metric}",
         found.recipe_gain),
    ):  # fmt: skip
        error = standard_error(gain, found.folds)
        print(f"{gain.value:6.3f} +- {error:.3f} ({gain.value / error:4.1f} errors)  {name}")


def standard_error(gain: Estimate, folds: int) -> float:
    """Return the standard error that the limits of a gain come from."""
    from scipy.stats import t

    return float((gain.high - gain.value) / t.ppf((1 + CONFIDENCE) / 2, folds - 1))


if __name__ == "__main__":
    run()
