"""Results of a sweep, read from its folder: jobs, the differences between them, repeats.

Reads the folder of a sweep, finished or not, and any folder of runs. What is damaged there is one
job with the status `unreadable`, never an error.
"""

import csv
import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dlcexp.errors import ProjectError, UserError, nearest
from dlcexp.files import expanded, has_ended
from dlcexp.results.factors import SPLIT_KEYS, Factor, find_factors, values_by_key
from dlcexp.results.ledger import TREES, Objective
from dlcexp.results.objective import gain, natural
from dlcexp.runs.metric_names import CHOSEN_BY, PARTS, spelling
from dlcexp.runs.started_from import recorded_start
from dlcexp.runs.status import COMPLETED, FAILED, KILLED, QUEUED, RUNNING
from dlcexp.text import listed
from dlcexp.trees import ABSENT, select
from dlcexp.vocabulary import HISTORY, METRICS, OVERRIDES, SNAPSHOTS, STATUS, SWEEP_FILE, TREE_FILE
from dlcexp.yaml_files import read_json, read_yaml

logger = logging.getLogger(__name__)

UNREADABLE = "unreadable"

# The objective where neither sweep nor trees set one: the first of these that any job has.
_USUAL_METRICS = tuple(
    f"{split}.{name}" for split in PARTS for name in ("mAP", "rmse", "rmse_detections")
)
# Between jobs that are equal in the objective.
_TIE_BREAKER = "test.rmse"
# What training writes of its speed, and what is measured when a run ends.
TRAINING_SPEED, INFERENCE_SPEED = "images_per_second", "speed.images_per_second"

# How deep runs may lie below the folder that is read: sweeps of a project, their jobs.
_DEPTH = 3


@dataclass(frozen=True, eq=False)
class Job:
    """One run.

    Attributes:
        number: its place in the sweep, from 0.
        name: its folder, relative to what was read.
        folder: its run folder.
        status: queued, running, completed, failed, pruned, killed, or unreadable.
        kind: of a failure: error, diverged, out of memory, killed, mistake, interrupted; or None.
        error: one line; None while all is well.
        seconds: wall clock of training and evaluation; NaN before.
        epochs: whole epochs done.
        planned: epochs asked for; None where the experiment cannot be read.
        metrics: final numbers that are numbers.
        history: metric to its values by epoch, as in `metrics.csv`.
        tree: the resolved experiment; empty where it cannot be read.
        overrides: as they were typed.
        typed: values of the overrides, by key.
        values: value of each factor of the sweep, by its key.
        snapshot: file of the weights that the metrics are of.
        chosen_by: the metric that chose it; None where nothing did, or it is not known.
    """

    number: int
    name: str
    folder: Path
    status: str
    kind: str | None = None
    error: str | None = None
    seconds: float = math.nan
    epochs: int = 0
    planned: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    tree: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    typed: Mapping[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    snapshot: Path | None = None
    chosen_by: str | None = None

    def metric(self, name: str) -> float:
        """Return a final number; for a job that did not end, the last that it logged."""
        if name in self.metrics:
            return self.metrics[name]
        logged = self.history.get(spelling(name, self.history), {})
        return logged[max(logged)] if logged and self.status != COMPLETED else math.nan

    @cached_property
    def start(self) -> str | None:
        """The start of its networks as text; None where it is not known, or not settled yet."""
        return recorded_start(self.tree)

    @property
    def images_per_second(self) -> float:
        """Speed of the trained network, else the speed in training; NaN if unknown."""
        if INFERENCE_SPEED in self.metrics:
            return self.metrics[INFERENCE_SPEED]
        speeds = sorted(self.history.get(TRAINING_SPEED, {}).values())
        return speeds[len(speeds) // 2] if speeds else math.nan


@dataclass(frozen=True, eq=False)
class Recipe:
    """Jobs that differ in nothing but seed or split: repeats of the same.

    Attributes:
        values: what makes it another recipe than the others, by the key of the factor.
        jobs: its repeats, completed or not.
    """

    values: Mapping[str, Any]
    jobs: tuple[Job, ...]

    @property
    def completed(self) -> tuple[Job, ...]:
        """Jobs that came to their end."""
        return tuple(job for job in self.jobs if job.status == COMPLETED)

    def scored(self, metric: str) -> list[Job]:
        """Return the completed repeats that have a metric."""
        return [job for job in self.completed if not math.isnan(job.metric(metric))]

    def scores(self, metric: str) -> list[float]:
        """Return the metric of each completed repeat that has it."""
        return [job.metric(metric) for job in self.scored(metric)]

    def mean(self, metric: str) -> float:
        """Return the mean over the completed repeats; NaN without any."""
        scores = self.scores(metric)
        return sum(scores) / len(scores) if scores else math.nan

    def deviation(self, metric: str) -> float:
        """Return the standard deviation of the completed repeats (n - 1); NaN of fewer than two."""
        scores = self.scores(metric)
        if len(scores) < 2:
            return math.nan
        mean = sum(scores) / len(scores)
        return math.sqrt(sum((score - mean) ** 2 for score in scores) / (len(scores) - 1))


@dataclass(frozen=True, eq=False)
class Sweep:
    """The runs of a folder.

    Attributes:
        folder: what was read.
        jobs: every run, by its number.
        factors: what differs between them, in the order in which it was swept.
        objectives: what decides; the first ranks.
        command: the command line of the sweep; empty where none was kept.
    """

    folder: Path
    jobs: tuple[Job, ...]
    factors: tuple[Factor, ...]
    objectives: tuple[Objective, ...]
    command: str = ""

    @property
    def objective(self) -> Objective:
        """The objective that ranks jobs."""
        return self.objectives[0]

    @cached_property
    def recipe_factors(self) -> tuple[Factor, ...]:
        """The factors that make another recipe: all but seed and split, and weights of a fold."""
        others = (factor for factor in self.factors if not factor.repeat)
        return tuple(factor for factor in others if not self._is_of_fold(factor))

    @property
    def repeat_factors(self) -> tuple[Factor, ...]:
        """The factors in which repeats of one recipe differ."""
        return tuple(factor for factor in self.factors if factor.repeat)

    def drawn_by(self, job: Job) -> tuple[str, ...]:
        """Return what the frames of a job are drawn by, if that was swept: fold, seed of folds."""
        keys = [factor.key for factor in self.repeat_factors if factor.key in SPLIT_KEYS]
        return tuple(repr(job.values.get(key, ABSENT)) for key in keys)

    @property
    def starts(self) -> list[str]:
        """The different starts of the jobs, in the order in which they come."""
        return list(dict.fromkeys(job.start for job in self.jobs if job.start))

    @cached_property
    def recipes(self) -> tuple[Recipe, ...]:
        """The repeats together, the best recipe first, those without a result last."""
        groups: dict[str, list[Job]] = {}
        for job in self.jobs:
            if job.status != UNREADABLE:
                values = [job.values.get(factor.key, ABSENT) for factor in self.recipe_factors]
                groups.setdefault(repr(values), []).append(job)
        recipes = [
            Recipe(
                {f.key: jobs[0].values.get(f.key, ABSENT) for f in self.recipe_factors}, (*jobs,)
            )
            for jobs in groups.values()
        ]
        worth = self._by_mean if self._share_frames(recipes) else self._by_lead
        return tuple(sorted(recipes, key=worth, reverse=True))

    @property
    def on_same_frames(self) -> bool:
        """True if all recipes with a result have one on the same folds, so that means compare."""
        return self._share_frames(self.recipes)

    @property
    def best(self) -> Recipe | None:
        """The first recipe; None where nothing was completed."""
        first = self.recipes[0] if self.recipes else None
        return first if first and first.scores(self.objective.metric) else None

    @property
    def ranked(self) -> tuple[Job, ...]:
        """The completed jobs, the best first, then the others as they come."""
        done = [job for job in self.jobs if job.status == COMPLETED]
        done.sort(key=lambda job: self._rank(job.metric), reverse=True)
        return (*done, *(job for job in self.jobs if job.status != COMPLETED))

    @property
    def best_job(self) -> Job | None:
        """The best repeat of the best recipe; None where nothing was completed."""
        best = self.best
        if best is None:
            return None
        return max(best.completed, key=lambda job: self._rank(job.metric))

    @property
    def metrics(self) -> list[str]:
        """The names of all final numbers, in the order in which they come."""
        return list(dict.fromkeys(name for job in self.jobs for name in job.metrics))

    @property
    def failed(self) -> tuple[Job, ...]:
        """The jobs that ended without a result."""
        return tuple(job for job in self.jobs if job.status in (FAILED, KILLED, UNREADABLE))

    def front(self) -> set[int]:
        """Return numbers of the completed jobs that none surpasses in every objective (Pareto)."""
        done = [job for job in self.jobs if job.status == COMPLETED]
        gains = {
            job.number: [gain(o, job.metric(o.metric)) for o in self.objectives] for job in done
        }
        return {
            number
            for number, own in gains.items()
            if -math.inf not in own
            and not any(
                other != own and all(a >= b for a, b in zip(other, own, strict=True))
                for other in gains.values()
            )
        }

    def _is_of_fold(self, factor: Factor) -> bool:
        """Return True for `weights` of which each fold has its own, trained on its frames."""
        values: dict[tuple[str, ...], set[str]] = {}
        for job in self.jobs:
            value = repr(job.values.get(factor.key, ABSENT))
            values.setdefault(self.drawn_by(job), set()).add(value)
        of_start = factor.key in ("weights", "weights.path")
        return of_start and len(values) > 1 and all(len(each) == 1 for each in values.values())

    def _share_frames(self, recipes: Iterable[Recipe]) -> bool:
        scored = (recipe.scored(self.objective.metric) for recipe in recipes)
        return len({frozenset(map(self.drawn_by, jobs)) for jobs in scored if jobs}) < 2

    def _by_mean(self, recipe: Recipe) -> tuple[float, float]:
        return self._rank(recipe.mean)

    def _by_lead(self, recipe: Recipe) -> tuple[float, float]:
        """Rank by the mean lead over all jobs of the same fold, as folds are not equally hard."""
        metric = self.objective.metric
        jobs = recipe.scored(metric)
        if not jobs:
            return -math.inf, -math.inf
        leads = [
            gain(self.objective, job.metric(metric)) - self._mean_gains[self.drawn_by(job)]
            for job in jobs
        ]
        return sum(leads) / len(leads), _descending(recipe.mean(_TIE_BREAKER))

    @cached_property
    def _mean_gains(self) -> Mapping[tuple[str, ...], float]:
        """The mean objective of the completed jobs of each fold, larger for the better."""
        metric = self.objective.metric
        gains: dict[tuple[str, ...], list[float]] = {}
        for job in self.jobs:
            if job.status == COMPLETED and not math.isnan(job.metric(metric)):
                value = gain(self.objective, job.metric(metric))
                gains.setdefault(self.drawn_by(job), []).append(value)
        return {frames: sum(values) / len(values) for frames, values in gains.items()}

    def _rank(self, value: Any) -> tuple[float, float]:
        return gain(self.objective, value(self.objective.metric)), _descending(value(_TIE_BREAKER))


def read_sweep(
    folder: str | Path, metric: str | None = None, direction: str | None = None
) -> Sweep:
    """Read the folder of a sweep, or any folder with runs in it.

    Args:
        metric: what ranks jobs; None: the sweep's objective, else the key metric of its runs.
        direction: maximize or minimize; None: as the metric wants.

    Raises:
        UserError: there is no such folder, no run in it, or no such metric.
    """
    root = expanded(folder)
    if not root.is_dir():
        raise UserError(f"{root} is not a folder.")
    record = _mapping(_read_yaml(root / SWEEP_FILE))
    jobs = tuple(_jobs(root))
    if not jobs:
        raise UserError(f"{root} holds no run: no folder in it has a status.json.")
    swept = [str(key) for key in _list(record.get("swept"))]
    factors = find_factors([job.tree for job in jobs], [job.typed for job in jobs], swept)
    for job in jobs:
        job.values.update((f.key, f.value(job.tree, job.typed)) for f in factors)
    objectives = _objectives(jobs, record, metric, direction)
    return Sweep(root, jobs, factors, objectives, str(record.get("command") or ""))


def _objectives(
    jobs: Sequence[Job], record: Mapping[str, Any], metric: str | None, direction: str | None
) -> tuple[Objective, ...]:
    known = {name for job in jobs for name in (*job.metrics, *job.history)}
    if metric is not None:
        if known and metric not in known:
            names = sorted(known)
            hint = nearest(metric, names) or f" They have {listed(names)}."
            raise UserError(f"metric: no run has {metric!r}.{hint}")
        return (Objective(metric, direction or natural(metric)),)
    named = [
        Objective(str(each["metric"]), str(each.get("direction") or ""))
        for each in _list(record.get("objectives"))
        if isinstance(each, Mapping) and each.get("metric")
    ]
    if not named:
        keys = (select(job.tree, "trainer.key_metric") for job in jobs)
        named = [Objective(name, "") for name in keys if isinstance(name, str)][:1]
    if not any(objective.metric in known for objective in named):
        usual = [Objective(name, "") for name in _USUAL_METRICS if name in known][:1]
        if usual and named:
            logger.warning("no run has %s: ranked by %s", named[0].metric, usual[0].metric)
        named = usual or named or [Objective(_USUAL_METRICS[0], "")]
    return tuple(Objective(o.metric, direction or o.direction or natural(o.metric)) for o in named)


def _jobs(root: Path) -> Iterator[Job]:
    """Yield the jobs of the ledger, then runs that it does not know."""
    entries = list(_ledger(root / "jobs.jsonl"))
    listed = {str(entry["folder"]) for entry in entries}
    for entry in entries:
        name = str(entry["folder"])
        yield _read_job(root, name, int(entry["number"]), _list(entry.get("overrides")))
    number = max((int(entry["number"]) for entry in entries), default=-1)
    for name in _run_folders(root):
        if name not in listed:
            own = int(name) if name.isdecimal() and not listed else None
            number = number + 1 if own is None else own
            yield _read_job(root, name, number, ())


def _ledger(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the last whole line of each job, by number; torn and foreign lines are left out."""
    found: dict[int, Mapping[str, Any]] = {}
    for line in _text(path).splitlines():
        try:
            entry = json.loads(line)
            found[int(entry["number"])] = {"folder": str(entry["number"]), **entry}
        except (ValueError, TypeError, KeyError):
            continue
    yield from (found[number] for number in sorted(found))


def _run_folders(root: Path) -> list[str]:
    """Return the runs below `root`, relative to it, in the order of their numbers or names."""
    found: list[str] = []

    def walk(folder: Path, depth: int) -> None:
        if _is_run(folder):
            found.append(folder.relative_to(root).as_posix())
        elif depth:
            try:
                children = [child for child in folder.iterdir() if child.is_dir()]
            except OSError:
                return
            for child in sorted(children, key=_natural_order):
                if child.name != "conf" and not child.name.startswith("."):
                    walk(child, depth - 1)

    walk(root, _DEPTH)
    return found


def _is_run(folder: Path) -> bool:
    """Return whether a folder is a run's; a `config.yaml` alone may be that of a project."""
    typed = (folder / TREE_FILE).is_file() and (folder / OVERRIDES).is_file()
    return typed or (folder / STATUS).is_file()


def _natural_order(path: Path) -> tuple[bool, int, str]:
    number = path.name.isdecimal()
    return not number, int(path.name) if number else 0, path.name


def _read_job(root: Path, name: str, number: int, overrides: Iterable[Any]) -> Job:
    """Read a run folder; what of it cannot be read makes it unreadable."""
    folder = root / name
    problems: list[str] = []

    def read(path: Path) -> Mapping[str, Any]:
        try:
            return _checked_mapping(path)
        except ProjectError as error:
            problems.append(str(error))
            return {}

    status = read(folder / STATUS)
    metrics = read(folder / METRICS)
    tree = read(folder / TREE_FILE) or read(root / "conf" / TREES / f"{name}.json")
    overrides = tuple(map(str, _list(_read_yaml(folder / OVERRIDES)) or overrides))
    history = _history(folder / HISTORY)
    epochs = max((epoch for values in history.values() for epoch in values), default=0)
    planned = tree.get("epochs")
    snapshot = metrics.get("snapshot")
    common: dict[str, Any] = {
        "seconds": _number(status.get("seconds")),
        "epochs": epochs,
        "planned": planned if isinstance(planned, int) else None,
        "metrics": _numbers(metrics),
        "history": history,
        "tree": tree,
        "overrides": overrides,
        "typed": values_by_key(overrides),
        "snapshot": folder / SNAPSHOTS / str(snapshot) if snapshot else None,
        "chosen_by": str(metrics[CHOSEN_BY]) if metrics.get(CHOSEN_BY) else None,
    }
    label = folder.resolve().name if name == "." else name
    if problems:
        return Job(number, label, folder, UNREADABLE, UNREADABLE, problems[0], **common)
    state = str(status.get("status") or QUEUED)
    error = status.get("error")
    if state == RUNNING and has_ended(str(status.get("process") or "")):
        state, error = KILLED, "its process is gone"
    kind = status.get("kind") or ("error" if state == FAILED else None)
    return Job(number, label, folder, state, kind, str(error) if error else None, **common)


def _checked_mapping(path: Path) -> Mapping[str, Any]:
    """Return the mapping in a YAML or JSON file; empty if there is no file.

    Raises:
        ProjectError: it cannot be read, or is not a mapping.
    """
    if not path.is_file():
        return {}
    content = read_json(path) if path.suffix == ".json" else read_yaml(path)
    if not isinstance(content, Mapping):
        what = "is empty" if content is None else "is not a mapping"
        raise ProjectError(f"{path}: {what}")
    return {str(key): value for key, value in content.items()}


def _history(path: Path) -> dict[str, dict[int, float]]:
    """Return each column of `metrics.csv` by epoch, without cells that are not numbers."""
    text = _text(path)
    history: dict[str, dict[int, float]] = {}
    for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
        epoch = row.get("epoch") or ""
        if not epoch.isdecimal():
            continue
        for name, cell in row.items():
            value = _number(cell)
            if isinstance(name, str) and name != "epoch" and math.isfinite(value):
                history.setdefault(name, {})[int(epoch)] = value
    return history


def _read_yaml(path: Path) -> Any:
    try:
        return read_yaml(path)
    except ProjectError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError:
        return ""


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    numbers = {name: _number(value) for name, value in metrics.items()}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _number(value: Any) -> float:
    try:
        return float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        return math.nan


def _descending(value: float) -> float:
    return -math.inf if math.isnan(value) else -value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
