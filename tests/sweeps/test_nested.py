"""Studies over folds and seeds: plans whose jobs end as the test says, and real jobs."""

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from sweep_support import space_of

from dlcexp.config.overrides import Override
from dlcexp.errors import ConfigError, UserError
from dlcexp.results.ledger import Job, Ledger, Objective
from dlcexp.results.optimism import optimisms
from dlcexp.results.read_sweep import read_sweep
from dlcexp.runs.status import Status, write_status
from dlcexp.sweeps.nested import NestedStudies, repeats_of
from dlcexp.sweeps.optuna_parts import open_storage

SETTINGS = {
    "n_trials": 3,
    "storage": None,
    "study_name": "dlcexp",
    "sampler": {"_target_": "optuna.samplers.TPESampler", "seed": 0},
    "pruner": {"_target_": "optuna.pruners.NopPruner"},
}
WORDS = ["split=kfold", "split.fold=0,1", "a=tag(log,interval(1e-4,1e-1))"]
VAL = (Objective("val.rmse", "minimize"),)


class Trees:
    """Composes nothing: a tree is its overrides, and no network of it is trained."""

    def tree(self, overrides: list[Override]) -> dict[str, Any]:
        if any(override.text == "split.fold=9" for override in overrides):
            raise ConfigError("split.fold", "must be from 0 to 4")
        return {"overrides": list(map(str, overrides)), "train": {"stages": []}}


def plan(
    folder: Path, words: list[str] = WORDS, objectives: tuple[Objective, ...] = VAL
) -> NestedStudies:
    folder.mkdir(exist_ok=True)
    space = space_of(words, {})
    trees: Any = Trees()
    rest = (trees, Ledger(folder), "failed", objectives, SETTINGS)
    made = NestedStudies(space, repeats_of(space), *rest)
    made.begin()
    return made


def finish(folder: Path, made: NestedStudies, job: Job, value: float) -> None:
    write_status(folder / job.folder, Status("completed"))
    (folder / job.folder / "metrics.json").write_text(json.dumps({"val.rmse": value}))
    made.ended(job)


def test_folds_and_seeds_are_repeats_and_no_values_to_search_among():
    space = space_of([*WORDS, "seed=1,2", "b=x,y"], {})
    found = repeats_of(space)
    assert list(found) == [f"split.fold={fold} seed={seed}" for fold in (0, 1) for seed in (1, 2)]
    assert [each.name for each in found["split.fold=0 seed=1"].dimensions] == ["a", "b"]
    assert list(map(str, found["split.fold=1 seed=2"].fixed))[1:] == ["split.fold=1", "seed=2"]
    assert repeats_of(space_of(["split.fold=1", "b=x,y"], {})) == {}


def test_every_fold_has_a_study_with_as_many_trials_in_turns(tmp_path):
    made = plan(tmp_path)
    assert (made.total, made.missing()) == (6, 6)
    jobs = []
    while (job := made.take()) is not None:
        finish(tmp_path, made, job, float(job.number))
        jobs.append(job)
    assert [job.number for job in jobs] == list(range(6))
    assert [job.study for job in jobs] == ["split.fold=0", "split.fold=1"] * 3
    assert all(job.study in job.overrides for job in jobs)
    storage = open_storage(tmp_path, None)
    for fold, values in ((0, [0.0, 2.0, 4.0]), (1, [1.0, 3.0, 5.0])):
        study = optuna.load_study(study_name=f"dlcexp split.fold={fold}", storage=storage)
        assert [trial.value for trial in study.trials] == values
        assert {name for trial in study.trials for name in trial.params} == {"a"}
    # Each study begins with the same values, so that recipes compare over folds.
    assert [job.overrides[-1] for job in jobs[:2]] == [jobs[0].overrides[-1]] * 2


def test_it_resumes_where_each_study_was(tmp_path):
    made = plan(tmp_path)
    done, cut = made.take(), made.take()
    finish(tmp_path, made, done, 1.0)
    write_status(tmp_path / cut.folder, Status("running"))
    made = plan(tmp_path)
    assert made.missing() == 5
    further = []
    while (job := made.take()) is not None:
        finish(tmp_path, made, job, 2.0)
        further.append(job)
    assert sorted(job.number for job in further) == [1, 2, 3, 4, 5]
    (again,) = [job for job in further if job.number == cut.number]
    assert (again.study, again.overrides) == (cut.study, cut.overrides)
    assert plan(tmp_path).missing() == 0


def test_a_fold_that_is_invalid_is_reported_before_any_job(tmp_path):
    with pytest.raises(ConfigError, match="from 0 to 4"):
        plan(tmp_path, ["split.fold=0,9", "b=x,y"])


def test_mistakes_name_what_to_type(tmp_path):
    with pytest.raises(ConfigError, match="seed: list its values"):
        repeats_of(space_of(["seed=int(interval(0,9))", "b=x,y"], {}))
    with pytest.raises(ConfigError, match=r"split\.fold: cannot vary"):
        repeats_of(space_of(["b=x,y"], {}, {"b=x": {"split.fold": "0,1"}}))
    Ledger(tmp_path).add(Job(0, "0", ("split.fold=0", "a=0.1"), "", 0))
    with pytest.raises(UserError, match=r"hydra\.sweep\.dir=DIR begins one study for each"):
        plan(tmp_path)


def test_choosing_by_the_test_frames_of_the_folds_is_a_warning(tmp_path, caplog):
    plan(tmp_path / "val")
    assert "optimistic" not in caplog.text
    plan(tmp_path / "test", objectives=(Objective("test.rmse", "minimize"),))
    assert "split.val_fraction=0.2" in caplog.text


@pytest.mark.slow
def test_a_study_for_each_fold_is_trained_and_reported(sweeps):
    words = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra/sweeper/pruner=median"]
    words += ["split=kfold", "split.k=2", "split.fold=0,1", "split.val_fraction=0.3"]
    words += ["sweep.metric=val.rmse", "optimizer.lr=tag(log,interval(1e-4,1e-2))"]
    assert sweeps.main(*words, "hydra/launcher=basic", "hydra.sweep.dir=nested") == 0
    sweep = read_sweep(sweeps.folder("nested"))
    assert len(sweep.jobs) == 4
    (found,) = optimisms(sweep)
    assert (found.folds, found.recipes) == (2, 2)
    for fold, winner in enumerate(found.winners):
        scores = [job.metric("val.rmse") for job in sweep.jobs if job.values["split.fold"] == fold]
        assert min(scores) in winner.scores("val.rmse")
