"""Optuna studies as sweeps: real jobs of a second, and plans whose jobs end as the test says."""

import json
import math
import re
from functools import partial
from pathlib import Path

import optuna
import pytest
from omegaconf import OmegaConf
from sweep_support import space_of

from dlcexp.config import resolvers
from dlcexp.config.compose import compose_raw
from dlcexp.config.overrides import parse_overrides
from dlcexp.errors import ConfigError
from dlcexp.results.ledger import Ledger, Objective, SweepRecord
from dlcexp.runs.status import Status, write_status
from dlcexp.sweeps.optuna_parts import build_pruner, build_sampler, open_storage
from dlcexp.sweeps.space import Space
from dlcexp.sweeps.study import StudyPlan
from dlcexp.sweeps.trial_watch import TrialWatch

TPE = {"_target_": "optuna.samplers.TPESampler", "seed": 0}
MEDIAN = {
    "_target_": "optuna.pruners.MedianPruner",
    "n_startup_trials": 1,
    "n_warmup_steps": 0,
}
SETTINGS = {
    "n_trials": 6,
    "storage": None,
    "study_name": "dlcexp",
    "sampler": TPE,
    "pruner": MEDIAN,
}
RMSE = (Objective("test.rmse", "minimize"),)


class Trees:
    """Composes nothing: a tree is its overrides, and no network of it is trained."""

    def tree(self, overrides):
        if any(override.text == "b=impossible" for override in overrides):
            raise ConfigError("b", "cannot be")
        return {"overrides": list(map(str, overrides)), "train": {"stages": []}}


def plan(folder: Path, space: Space, rerun: str = "failed", objectives=RMSE, **changes):
    made = StudyPlan(space, Trees(), Ledger(folder), rerun, objectives, {**SETTINGS, **changes})
    made.begin()
    return made


def begin_record(folder: Path, identity: str) -> None:
    """What the beginning of a sweep leaves in its folder."""
    empty = ("line", (), (), "now", RMSE, "optuna", "basic", {})
    (folder / "options").mkdir(parents=True)
    Ledger(folder).begin(SweepRecord(identity, *empty), folder / "options", None)


def finish(folder: Path, job, status: str = "completed", **metrics: float) -> None:
    write_status(folder / job.folder, Status(status))
    (folder / job.folder / "metrics.json").write_text(json.dumps(metrics))


def study(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="dlcexp", storage=open_storage(folder, None))


SPACE = space_of(["seed=1", "a=tag(log,interval(1e-4,1e-1))", "b=x,y"], {})


def test_a_study_learns_where_the_metric_is_small(tmp_path):
    space = space_of(["a=tag(log,interval(1e-4,1))"], {})
    sampler = {**TPE, "n_startup_trials": 8}
    made = plan(tmp_path, space, n_trials=40, sampler=sampler)
    values = []
    while (job := made.take()) is not None:
        value = float(job.overrides[-1].removeprefix("a="))
        values.append(abs(math.log10(value) + 3))
        finish(tmp_path, job, **{"test.rmse": values[-1]})
        made.ended(job)
    assert len(values) == 40
    assert sum(values[-16:]) / 16 < sum(values[:8]) / 8 / 2


def test_failures_and_numbers_that_are_none_do_not_end_the_study(tmp_path):
    made = plan(tmp_path, SPACE)
    jobs = []
    endings = [("completed", 3.0), ("failed", 0.0), ("completed", None), ("pruned", 0.0)]
    for status, value in endings:
        job = made.take()
        finish(tmp_path, job, status, **{"test.rmse": value})
        made.ended(job)
        jobs.append(job)
    assert made.missing() == 2
    states = [trial.state.name for trial in study(tmp_path).trials]
    assert states == ["COMPLETE", "FAIL", "FAIL", "PRUNED"]
    assert [job.overrides[0] for job in jobs] == ["seed=1"] * 4


def test_what_was_cut_off_is_a_further_trial_with_the_same_values(tmp_path):
    made = plan(tmp_path, SPACE)
    done, unnoticed, cut, failed = (made.take() for _ in range(4))
    finish(tmp_path, done, **{"test.rmse": 2.0})
    made.ended(done)
    finish(tmp_path, unnoticed, **{"test.rmse": 1.0})  # the sweep was killed before it knew
    write_status(tmp_path / cut.folder, Status("running"))
    write_status(tmp_path / failed.folder, Status("failed", "x", "error"))
    made.ended(failed)

    made = plan(tmp_path, SPACE)
    assert made.missing() == 4  # two again, two new
    again = [made.take(), made.take()]
    assert [(job.number, job.folder, job.overrides) for job in again] == [
        (job.number, job.folder, job.overrides) for job in (cut, failed)
    ]
    trials = study(tmp_path).trials
    assert [trial.state.name for trial in trials] == [
        *("COMPLETE", "COMPLETE", "FAIL", "FAIL", "RUNNING", "RUNNING")
    ]
    assert trials[4].params == trials[2].params
    assert trials[1].value == 1.0
    for job in again:
        finish(tmp_path, job, **{"test.rmse": 1.5})
        made.ended(job)
    more = [made.take(), made.take()]
    assert made.take() is None
    assert [job.number for job in more] == [4, 5]
    assert plan(tmp_path, SPACE, rerun="never", n_trials=8).missing() == 4


def test_the_same_values_are_not_computed_twice(tmp_path):
    space = space_of(["b=x,y"], {})
    made = plan(
        tmp_path,
        space,
        n_trials=10,
        sampler={"_target_": "optuna.samplers.RandomSampler", "seed": 1},
    )
    jobs = []
    while (job := made.take()) is not None:
        finish(tmp_path, job, **{"test.rmse": 1.0})
        made.ended(job)
        jobs.append(job)
    assert sorted(job.overrides for job in jobs) == [("b=x",), ("b=y",)]
    assert {trial.state.name for trial in study(tmp_path).trials} == {"COMPLETE"}


@pytest.mark.parametrize("sampler", [TPE, {"_target_": "optuna.samplers.RandomSampler", "seed": 1}])
def test_all_of_few_values_are_tried_and_each_once(tmp_path, sampler):
    made = plan(
        tmp_path,
        space_of(["a=range(4)", "b=x,y,z"], {}),
        n_trials=12,
        sampler=sampler,
    )
    jobs = []
    while (job := made.take()) is not None:
        finish(tmp_path, job, **{"test.rmse": float(len(jobs) != 3)})
        made.ended(job)
        jobs.append(job)
    assert len({job.overrides for job in jobs}) == len(jobs) == 12


def test_values_that_still_run_or_failed_are_not_drawn_again(tmp_path):
    made = plan(tmp_path, space_of(["b=x,y"], {}), n_trials=9)
    first, second = made.take(), made.take()
    finish(tmp_path, first, "failed")
    made.ended(first)
    assert made.take() is None
    assert {first.overrides, second.overrides} == {("b=x",), ("b=y",)}


def test_a_study_is_shared_by_folders_of_one_sweep_and_refused_to_another(tmp_path):
    storage = f"sqlite:///{(tmp_path / 'study.db').as_posix()}"
    plans = {}
    for name, identity in (("one", "a"), ("two", "a"), ("three", "b")):
        begin_record(tmp_path / name, identity)
        make = partial(plan, tmp_path / name, SPACE, storage=storage, n_trials=5)
        if identity == "b":
            with pytest.raises(ConfigError, match="'dlcexp'"):
                make()
        else:
            plans[name] = make()
    taken = [plans[name].take() for name in ("one", "two", "one", "two", "one", "two")]
    assert taken[-1] is None
    assert len({job.overrides for job in taken[:5]}) == 5
    assert sorted(job.trial for job in taken[:5]) == [0, 1, 2, 3, 4]


def test_a_metric_that_is_not_measured_ends_the_study(tmp_path):
    made = plan(tmp_path, SPACE)
    job = made.take()
    finish(tmp_path, job, **{"test.rmsee": 1.0})
    with pytest.raises(ConfigError, match=r"sweep\.metric: 'test\.rmse' .*'test\.rmsee'\?"):
        made.ended(job)


def test_a_grid_ends_when_all_is_done(tmp_path):
    sampler = {"_target_": "optuna.samplers.BruteForceSampler", "seed": 0}
    made = plan(
        tmp_path,
        space_of(["b=x,y", "c=range(3)"], {}),
        n_trials=50,
        sampler=sampler,
    )
    count = 0
    while (job := made.take()) is not None:
        finish(tmp_path, job, **{"test.rmse": 1.0})
        made.ended(job)
        count += 1
    assert count == 6


def test_an_impossible_combination_is_a_failed_trial_and_an_impossible_value_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be"):
        plan(tmp_path / "one", space_of(["b=x,impossible"], {}))
    where = {"a=1": {"b": "y,impossible"}}
    sampler = {"_target_": "optuna.samplers.BruteForceSampler", "seed": 0}
    made = plan(
        tmp_path,
        space_of(["a=range(2)"], {}, where),
        n_trials=9,
        sampler=sampler,
    )
    for job in iter(made.take, None):
        finish(tmp_path, job, **{"test.rmse": 1.0})
        made.ended(job)
    states = {job.overrides: made._ledger.status(job) for job in made._jobs.values()}
    assert states[("a=1", "b=impossible")] == Status("failed", "b: cannot be", "mistake")
    assert [state.status for state in states.values()].count("completed") == 2
    assert sorted(trial.state.name for trial in study(tmp_path).trials) == [
        *("COMPLETE", "COMPLETE", "FAIL")
    ]


def test_keys_under_a_choice_are_asked_for_only_there(tmp_path):
    where = {"optimizer=sgd": {"optimizer.momentum": "interval(0.8,0.99)"}}
    made = plan(tmp_path, space_of(["optimizer=adamw,sgd"], {}, where), n_trials=12)
    for job in iter(made.take, None):
        momentum = [word for word in job.overrides if word.startswith("optimizer.momentum=")]
        assert len(momentum) == ("optimizer=sgd" in job.overrides)
        finish(tmp_path, job, **{"test.rmse": 1.0})
        made.ended(job)


def test_several_metrics(tmp_path):
    wanted = (*RMSE, Objective("speed.images_per_second", "maximize"))
    made = plan(tmp_path, SPACE, objectives=wanted)
    job = made.take()
    finish(tmp_path, job, **{"test.rmse": 2.0, "speed.images_per_second": 30.0})
    made.ended(job)
    assert study(tmp_path).trials[0].values == [2.0, 30.0]
    assert [direction.name for direction in study(tmp_path).directions] == ["MINIMIZE", "MAXIMIZE"]


def test_a_hopeless_trial_is_told_to_stop(tmp_path):
    made = plan(tmp_path, SPACE)
    first = made.take()
    watch = TrialWatch(tmp_path, SETTINGS, first.trial, "test.rmse")
    assert [watch(epoch, {"test.rmse": 10.0 - epoch}) for epoch in (1, 2, 3)] == [None] * 3
    finish(tmp_path, first, **{"test.rmse": 7.0})
    made.ended(first)
    second = made.take()
    watch = TrialWatch(tmp_path, SETTINGS, second.trial, "test.rmse")
    assert watch(1, {"test.mAP": 0.0}) is None
    assert watch(1, {"test.rmse": 9.0}) is None
    assert watch(2, {"test.rmse": math.nan}) is None
    reason = watch(2, {"test_gt_boxes.rmse": 50.0, "test.mAP": 0.0})
    assert re.search(r"\b2\b.*test\.rmse 50", reason)


@pytest.mark.parametrize("name", ["tpe", "random", "grid", "nsga2", "gp"])
def test_samplers_are_built_and_draw_anew_when_a_study_goes_on(name, request):
    folder = request.config.rootpath / "conf" / "hydra" / "sweeper" / "sampler"
    node = OmegaConf.to_container(OmegaConf.load(folder / f"{name}.yaml"))
    assert isinstance(build_sampler(node, 0), optuna.samplers.BaseSampler)
    if name == "random":
        draws = []
        for trials in (0, 0, 7):
            made = optuna.create_study(sampler=build_sampler(node, trials))
            draws.append(made.ask().suggest_float("a", 0, 1))
        assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("name", ["none", "median", "successive_halving", "hyperband"])
def test_pruners_are_built(name, request):
    resolvers.register()
    folder = request.config.rootpath / "conf" / "hydra" / "sweeper" / "pruner"
    node = OmegaConf.load(folder / f"{name}.yaml")
    tree = OmegaConf.create({"epochs": 9, "trainer": {"eval_interval": 1}, "pruner": node})
    plain = OmegaConf.to_container(tree, resolve=True)
    assert isinstance(build_pruner(plain["pruner"]), optuna.pruners.BasePruner)


@pytest.mark.parametrize(("epochs", "interval", "first"), [(60, 5, 10), (200, 10, 33), (12, 4, 4)])
def test_the_first_rung_is_a_sixth_of_the_epochs(epochs, interval, first):
    words = ["hydra/sweeper=optuna", f"epochs={epochs}", f"trainer.eval_interval={interval}"]
    assert compose_raw(parse_overrides(words)).hydra.sweeper.pruner.min_resource == first


def test_a_wrong_argument_of_a_sampler_is_told():
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.sampler\.seeed: .*TPESampler.*'seed'"):
        build_sampler({**TPE, "seeed": 1}, 0)
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.storage: "):
        open_storage(Path(), "nothing://here")


@pytest.mark.slow
def test_a_study_prunes_real_jobs_and_goes_on(sweeps, capfd):
    words = [
        "hydra/launcher=basic",
        "hydra/sweeper=optuna",
        "optimizer.lr=tag(log,interval(1e-7,1e-2))",
        "hydra/sweeper/pruner=median",
        "hydra.sweeper.pruner.n_startup_trials=1",
        "epochs=3",
        "hydra.sweep.dir=sweep",
    ]
    assert sweeps.main(*words, "hydra.sweeper.n_trials=2") == 0
    assert sweeps.main(*words, "hydra.sweeper.n_trials=6") == 0
    states = [state["status"] for state in sweeps.states("sweep").values()]
    assert len(states) == 6
    assert set(states) == {"completed", "pruned"}
    told = capfd.readouterr()
    assert "pruned" in told.err
    trials = study(sweeps.folder("sweep")).trials
    assert [trial.state.name.lower().rstrip("d") for trial in trials] == [
        {"completed": "complete", "pruned": "prune"}[state] for state in states
    ]
