"""A sweep from its space to its table: find or begin its folder, launch what is missing, log."""

import copy
import hashlib
import json
import logging
import shlex
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from dlcexp.config.build import plain
from dlcexp.config.options import conf_folder
from dlcexp.config.resolvers import tree_hash
from dlcexp.errors import ConfigError
from dlcexp.files import expanded
from dlcexp.results.ledger import (
    Job,
    Ledger,
    SweepRecord,
    check_same,
    left_by,
    unfinished,
)
from dlcexp.results.objective import objectives
from dlcexp.runs.status import FAILED, KILLED, MISTAKE
from dlcexp.runs.trained_frames import check_jobs_have_same_frames
from dlcexp.signals import interrupted_once, termination
from dlcexp.sweeps.devices import groups_of_machine, with_devices
from dlcexp.sweeps.experiments import Experiments
from dlcexp.sweeps.frozen import settled
from dlcexp.sweeps.launching import launch
from dlcexp.sweeps.plan import Plan
from dlcexp.sweeps.progress import Progress
from dlcexp.sweeps.space import Space
from dlcexp.vocabulary import AUTO

logger = logging.getLogger(__name__)

# Keys of the tree that change how a job runs, not what it computes: not part of its identity.
_VOLATILE = ("trainer.progress_bar", "trainer.num_workers", "trainer.display_iters")


@dataclass(frozen=True)
class Command:
    """The command line of a sweep.

    Attributes:
        line: the command as it was typed.
        overrides: all of them as typed, those of Hydra included.
        config_dir: a folder with the user's options.
        sweeper, launcher: names of their options.
    """

    line: str
    overrides: tuple[str, ...]
    config_dir: Path | None
    sweeper: str
    launcher: str


@dataclass(frozen=True)
class HydraSettings:
    """The arguments of a sweeper from Hydra, for the launcher that the sweep starts.

    Attributes:
        context: Hydra's context.
        task_function: runs one job.
        settings: the composed tree of a first job, with Hydra's node.
        n_jobs: jobs at the same time, for launchers that have no such setting.
    """

    context: HydraContext
    task_function: TaskFunction
    settings: DictConfig
    n_jobs: int | None


class Sweep:
    """One start of a sweep: its folder, found or new, and what its jobs are made of.

    Args:
        hydra: for the launcher.
        space: what varies.
        command: how it was asked for.

    Attributes:
        ledger: the folder of the sweep.
        experiments: composes jobs, from the options as they were when the sweep began.
        tree: the resolved tree of a first job.
        objectives: what decides.

    Raises:
        ConfigError: the first job is invalid.
        UserError: the folder holds another sweep.
    """

    def __init__(self, hydra: HydraSettings, space: Space, command: Command) -> None:
        self.space = space
        self._hydra, self._command = hydra, command
        self._live = Experiments(conf_folder(), command.config_dir)
        self.ledger = Ledger(self._folder())
        self._before = self.ledger.record()
        frozen = Experiments(*self.ledger.config_folders) if self._before else self._live
        self.experiments = frozen
        self.tree = frozen.draft(space.representative())
        self.objectives = objectives(_measured(self.tree))
        self._identity = self.identity(self.tree)
        if self._before is not None:
            check_same(self._before, self._identity, self.ledger.folder)

    def run(self, plan: Plan) -> int:
        """Run the jobs of a plan that are missing.

        Returns:
            The exit code: 0, or 1 where a job failed, or 2 where all that failed were mistakes.

        Raises:
            UserError: another process runs this sweep.
        """
        ledger, resumed = self.ledger, self._before is not None
        with ledger.held():
            if self.tree.sweep.rerun != "always":
                check_jobs_have_same_frames(ledger.folder, map(ledger.path, ledger.jobs()))
            ledger.begin(self._record(), conf_folder(), self._command.config_dir)
            plan.begin()
            progress = Progress(ledger, self.space, self.objectives, plan, resumed=resumed)
            progress.log_beginning(str(self.tree.trainer.key_metric))
            if plan.missing():
                self._launch(plan, progress)
            progress.print_results()
        return exit_code(ledger)

    def identity(self, tree: DictConfig) -> str:
        """Return eight hexadecimal digits of what is swept, the same for the same command."""
        plain = copy.deepcopy(tree)
        for key in _VOLATILE:
            OmegaConf.update(plain, key, None, merge=False)
        project = str(tree.project)
        parts: dict[str, Any] = {
            "sweeper": self._command.sweeper,
            "space": [str(each) for each in self.space.dimensions],
            "where": [str(each) for each in self.space.where],
            "variants": [list(map(str, variant)) for variant in self.space.variants],
            "tree": tree_hash(OmegaConf.to_container(plain)),  # type: ignore[arg-type]
            "project": project if project == "demo" else str(expanded(project).resolve()),
        }
        if self._command.sweeper == "optuna":  # its study has learned from what was measured
            parts["objectives"] = [[each.metric, each.direction] for each in objectives(tree)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]

    def _folder(self) -> Path:
        """Return the folder that was named, or where this sweep stopped, or a new one."""
        given = self._hydra.settings.hydra.sweep.dir
        if not given:
            raise ConfigError("hydra.sweep.dir", f"{given!r} names no folder.")
        if given != "auto":
            return expanded(str(given))
        tree = self._live.draft(self.space.representative())
        parent = Path("multirun", str(tree.metadata.project_name or "project"))
        identity = self.identity(tree)
        found = unfinished(parent, identity)
        if found is None and self._command.config_dir:
            edited = left_by(parent, self._command.line)
            if edited is not None:
                logger.warning(
                    "%s was begun by the same command, with options that have been edited since: "
                    "this is another sweep. hydra.sweep.dir=%s resumes that one as it was.",
                    edited,
                    shlex.quote(str(edited)),
                )
        if found is None or tree.sweep.rerun == "always":
            return parent / f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{identity}"
        return found

    def _record(self) -> SweepRecord:
        if self._before is not None:
            return replace(self._before, objectives=self.objectives)
        from dlcexp.runs.environment import describe_environment

        return SweepRecord(
            id=self._identity,
            command=self._command.line,
            overrides=self._command.overrides,
            swept=tuple(self.space.swept),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            objectives=self.objectives,
            sweeper=self._command.sweeper,
            launcher=self._command.launcher,
            environment=describe_environment(str(self.tree.device)),
        )

    def _launch(self, plan: Plan, progress: Progress) -> None:
        from hydra.core.plugins import Plugins

        settings = self._hydra.settings
        groups = groups_of_machine(int(settings.trainer.devices))
        config = settled(settings, str(self.ledger.folder))
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self._hydra.context,
            task_function=self._hydra.task_function,
            config=with_devices(config, self._command.launcher, groups),
        )
        with interrupted_once():
            try:
                with termination():
                    launch(launcher, _LoggedPlan(plan, progress), self.ledger, self._hydra.n_jobs)
            except (KeyboardInterrupt, SystemExit):
                progress.log_interrupt()
                raise


def _measured(tree: DictConfig) -> dict[str, Any]:
    """Return the tree of a job with metrics of frames that there are, as its run will have it."""
    whole: dict[str, Any] = plain(tree)
    if whole["split"].get("val_fraction") != AUTO:
        return whole
    from dlcexp.data.loading import PoseData
    from dlcexp.training.key_metric import without_validation

    return without_validation(whole, PoseData(tree).split)


class _LoggedPlan:
    """A plan whose jobs are logged as they start and end."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self._plan, self._progress = plan, progress
        self.at_once: int | None = plan.at_once

    def take(self) -> Job | None:
        job = self._plan.take()
        if job is not None:
            self._progress.log_start(job)
        return job

    def ended(self, job: Job) -> None:
        self._plan.ended(job)
        self._progress.log_end_of(job)


def exit_code(ledger: Ledger) -> int:
    """Return 0 where no job failed, 2 where all failures were a user's mistakes, else 1."""
    states = [ledger.status(job) for job in ledger.jobs()]
    kinds = [state.kind for state in states if state.status in (FAILED, KILLED)]
    if not kinds:
        return 0
    return 2 if set(kinds) == {MISTAKE} else 1
