"""`hydra/sweeper=grid`, `random`, `paired`, `optuna`."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from dlcexp.config.overrides import Override
    from dlcexp.sweeps.plan import Plan
    from dlcexp.sweeps.space import Space
    from dlcexp.sweeps.sweep import Command, Sweep


class DlcexpSweeper(Sweeper):
    """The base class of sweepers: a space, and a folder that remembers.

    `command` is set by `dlcexp.sweeps.start`, which knows the command line.

    Args:
        params: key to values, in addition to those of the command line.
        where: condition to such params that exist only under it.
        n_jobs: jobs at the same time, for launchers without such a setting (submitit, and batches
            of trials under joblib and Ray).
    """

    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        where: Mapping[str, Mapping[str, Any]] | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_jobs = n_jobs
        self.variants: list[str | None] = []
        self.params, self.where = _plain(params), _plain(where)
        self.command: Command

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Remember what jobs are made of."""
        from dlcexp.sweeps.sweep import HydraSettings

        self._hydra = HydraSettings(hydra_context, task_function, config, self.n_jobs)

    def sweep(self, arguments: Sequence[str]) -> int:  # type: ignore[override]
        """Run all jobs; the exit code of the command."""
        from dlcexp.config.overrides import parse_overrides
        from dlcexp.sweeps.space import parse_space
        from dlcexp.sweeps.sweep import Sweep

        space = parse_space(parse_overrides(arguments), self.params, self.where, self.variants)
        sweep = Sweep(self._hydra, space, self.command)
        return sweep.run(self.plan(sweep))

    @abstractmethod
    def plan(self, sweep: "Sweep") -> "Plan":
        """Return the jobs of a sweep."""


class ListSweeper(DlcexpSweeper):
    """All jobs are known before the first one starts."""

    def plan(self, sweep: "Sweep") -> "Plan":
        """Return all jobs, without those that are done."""
        from dlcexp.sweeps.plan import ListPlan

        jobs, rerun = self.jobs(sweep.space), sweep.tree.sweep.rerun
        return ListPlan(jobs, sweep.experiments, sweep.ledger, rerun, sweep.space.swept)

    @abstractmethod
    def jobs(self, space: "Space") -> "Iterator[list[Override]]":
        """Yield the overrides of each job."""


class GridSweeper(ListSweeper):
    """Every value with every other.

    Args:
        variants: overrides that go together; all else is run with each of these, None: with none.
        params, where, n_jobs: as above.
    """

    def __init__(self, variants: Sequence[str | None] = (), **space: Any) -> None:
        super().__init__(**space)
        self.variants = list(variants)

    def jobs(self, space: "Space") -> "Iterator[list[Override]]":
        """Yield the overrides of each job."""
        from dlcexp.sweeps.space import grid

        return grid(space)


class PairedSweeper(ListSweeper):
    """The first values together, then the second, and so on."""

    def jobs(self, space: "Space") -> "Iterator[list[Override]]":
        """Yield the overrides of each job."""
        from dlcexp.sweeps.space import paired

        return paired(space)


class RandomSweeper(ListSweeper):
    """Jobs drawn at random.

    Args:
        n_trials: how many.
        seed: the same seed draws the same jobs.
        params, where, n_jobs: as above.
    """

    def __init__(self, n_trials: int, seed: int, **space: Any) -> None:
        super().__init__(**space)
        self.n_trials, self.seed = n_trials, seed

    def jobs(self, space: "Space") -> "Iterator[list[Override]]":
        """Yield the overrides of each job."""
        from dlcexp.sweeps.space import drawn

        return drawn(space, self.n_trials, self.seed)


class OptunaSweeper(DlcexpSweeper):
    """Trials of an Optuna study.

    Args:
        n_trials: how many, those of earlier starts included.
        storage: an Optuna URL; None: a journal file in the folder of the sweep.
        study_name: the study in that storage.
        sampler, pruner: nodes with the `_target_` of a class of Optuna.
        params, where, n_jobs: as above.
    """

    def __init__(
        self,
        n_trials: int,
        storage: str | None,
        study_name: str,
        sampler: DictConfig,
        pruner: DictConfig,
        **space: Any,
    ) -> None:
        super().__init__(**space)
        self._settings = {
            "n_trials": n_trials,
            "storage": storage,
            "study_name": study_name,
            "sampler": _plain(sampler),
            "pruner": _plain(pruner),
        }

    def plan(self, sweep: "Sweep") -> "Plan":
        """Return the trials that are left: of one study, or of one for each fold and seed."""
        from dlcexp.sweeps.nested import NestedStudies, repeats_of
        from dlcexp.sweeps.study import StudyPlan

        rest = (
            sweep.experiments,
            sweep.ledger,
            sweep.tree.sweep.rerun,
            sweep.objectives,
            self._settings,
        )
        repeats = repeats_of(sweep.space)
        plan: StudyPlan | NestedStudies
        if repeats:
            plan = NestedStudies(sweep.space, repeats, *rest)
        else:
            plan = StudyPlan(sweep.space, *rest)
        plan.at_once = self.n_jobs or 1
        return plan


def _plain(node: Any) -> dict[str, Any]:
    """Return a mapping of the tree, or none, as a plain one."""
    plain: Any = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    return dict(plain or {})
