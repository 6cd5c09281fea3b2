"""A sweep from what varies to its table: find or begin its folder, launch what is missing, tell."""

import copy
import hashlib
import json
import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from dlcexp.config.choices import conf_folder, group_of, groups
from dlcexp.config.composition import (
    compose_tree,
    put_values,
    resolve,
    validated,
)
from dlcexp.config.expansion import expand
from dlcexp.config.resolvers import tree_hash
from dlcexp.config.validation import check_keys
from dlcexp.errors import ConfigError
from dlcexp.files import expanded
from dlcexp.signals import termination
from dlcexp.status import FAILED, KILLED, MISTAKE
from dlcexp.sweeps.devices import groups_of_machine, with_devices
from dlcexp.sweeps.frozen import settled
from dlcexp.sweeps.launching import launch
from dlcexp.sweeps.ledger import (
    Job,
    Ledger,
    SweepRecord,
    check_same,
    left_by,
    unfinished,
)
from dlcexp.sweeps.objective import objectives
from dlcexp.sweeps.progress import Progress
from dlcexp.sweeps.space import Space

if TYPE_CHECKING:
    from hydra_plugins.dlcexp_sweeps.sweepers import DlcexpSweeper

logger = logging.getLogger(__name__)

# Keys of the tree that say how a job runs, not what it computes: the same sweep with others.
_VOLATILE = ("trainer.progress_bar", "trainer.num_workers", "trainer.display_iters")


@dataclass(frozen=True)
class Command:
    """How a sweep was asked for.

    Attributes:
        line: the command as it was typed.
        words: its overrides, Hydra's own included.
        config_dir: a folder with options of the user's own.
        sweeper, launcher: names of their options.
    """

    line: str
    words: tuple[str, ...]
    config_dir: Path | None
    sweeper: str
    launcher: str


class Experiments:
    """Composes jobs from config folders, which may be copies.

    Args:
        packaged: dlcexp's options.
        own: those of the user.
    """

    def __init__(self, packaged: Path, own: Path | None) -> None:
        self._packaged, self._own = packaged, own
        self._composed: dict[tuple[str, ...], DictConfig] = {}  # by the options that are chosen
        self._told: set[str] = set()  # warnings, of which all jobs may have the same

    def tree(self, words: Sequence[str]) -> dict[str, Any]:
        """The resolved tree of a job, checked, in plain containers.

        Raises:
            ConfigError: it cannot be.
        """
        return validated(self._raw(words), self._told)

    def draft(self, words: Sequence[str]) -> DictConfig:
        """The same, its keys checked and not its targets; imports nothing heavy."""
        return DictConfig(check_keys(resolve(self._raw(words))))

    def _raw(self, words: Sequence[str]) -> DictConfig:
        """The tree before it is resolved; jobs that differ in values alone share the composing."""
        words = expand(words, self._own)
        choices = tuple(word for word in words if self._decides_options(word))
        values = [word for word in words if word not in choices]
        if choices not in self._composed:
            self._composed[choices] = self._whole(choices)
        tree = copy.deepcopy(self._composed[choices])
        try:
            put_values(tree, values)
        except ConfigError:
            return self._whole(words)  # Hydra's own refusal is told in full
        return tree

    def _decides_options(self, word: str) -> bool:
        group = group_of(word)
        own = self._own is not None and (self._own / group).is_dir()
        return own or group in (*groups(), "project") or group.startswith("hydra")

    def _whole(self, words: Sequence[str]) -> DictConfig:
        return compose_tree(words, self._own, self._packaged)


class Sweep:
    """One start of a sweep.

    Args:
        sweeper: says which jobs there are, and knows Hydra's settings.
        space: what varies.
        command: how it was asked for.
    """

    def __init__(self, sweeper: "DlcexpSweeper", space: Space, command: Command) -> None:
        self.sweeper, self.space, self.command = sweeper, space, command
        self.live = Experiments(conf_folder(), command.config_dir)

    def run(self) -> int:
        """Run what is missing.

        Returns:
            The exit code: 0, or 1 where a job failed, or 2 where all that failed were mistakes.

        Raises:
            ConfigError: a job that cannot be, before any runs.
            UserError: the folder holds another sweep, or another process runs this one.
        """
        ledger = Ledger(self._folder())
        record = ledger.record()
        frozen = self.live if record is None else Experiments(*ledger.config_folders)
        tree = frozen.draft(self.space.representative())
        identity = self.identity(tree)
        if record is not None:
            check_same(record, identity, ledger.folder)
        wanted = objectives(tree)
        plan = self.sweeper.plan(self.space, frozen, ledger, tree)
        with ledger.held():
            new = self._record(identity, tree, record)
            ledger.begin(new, conf_folder(), self.command.config_dir)
            plan.begin()
            progress = Progress(ledger, self.space, wanted, plan, resumed=record is not None)
            progress.tell_beginning(str(tree.trainer.key_metric))
            if plan.missing():
                self._launch(ledger, plan, progress)
            progress.tell_end()
        return exit_code(ledger)

    def identity(self, tree: DictConfig) -> str:
        """Eight hexadecimal digits of what is swept, the same for the same command."""
        plain = copy.deepcopy(tree)
        for key in _VOLATILE:
            OmegaConf.update(plain, key, None, merge=False)
        project = str(tree.project)
        parts: dict[str, Any] = {
            "sweeper": self.command.sweeper,
            "space": [str(each) for each in self.space.dimensions],
            "where": [str(each) for each in self.space.where],
            "variants": self.space.variants,
            "tree": tree_hash(OmegaConf.to_container(plain)),  # type: ignore[arg-type]
            "project": project if project == "demo" else str(expanded(project).resolve()),
        }
        if self.command.sweeper == "optuna":  # its study has learned from what was measured
            parts["objectives"] = [[each.metric, each.direction] for each in objectives(tree)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]

    def _folder(self) -> Path:
        """The folder that was named, or where this sweep stopped, or a new one."""
        given = self.sweeper.settings.hydra.sweep.dir
        if not given:
            raise ConfigError("hydra.sweep.dir", f"{given!r} names no folder.")
        if given != "auto":
            return expanded(str(given))
        tree = self.live.draft(self.space.representative())
        parent = Path("multirun", str(tree.metadata.project_name or "project"))
        identity = self.identity(tree)
        found = unfinished(parent, identity)
        if found is None and self.command.config_dir:
            edited = left_by(parent, self.command.line)
            if edited is not None:
                logger.warning(
                    "%s was begun by the same command, with options that have been edited since: "
                    "this is another sweep. hydra.sweep.dir=%s goes on with that one as it was.",
                    edited,
                    shlex.quote(str(edited)),
                )
        if found is None or tree.sweep.rerun == "always":
            return parent / f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{identity}"
        return found

    def _record(self, identity: str, tree: DictConfig, before: SweepRecord | None) -> SweepRecord:
        if before is not None:
            return replace(before, objectives=objectives(tree))
        from dlcexp.training.run import describe_environment

        return SweepRecord(
            id=identity,
            command=self.command.line,
            overrides=self.command.words,
            swept=tuple(self.space.swept),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            objectives=objectives(tree),
            sweeper=self.command.sweeper,
            launcher=self.command.launcher,
            environment=describe_environment(str(tree.device)),
        )

    def _launch(self, ledger: Ledger, plan: Any, progress: Progress) -> None:
        from hydra.core.plugins import Plugins

        config = settled(self.sweeper.settings, str(ledger.folder))
        groups = groups_of_machine(int(self.sweeper.settings.trainer.devices))
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.sweeper.context,
            task_function=self.sweeper.task_function,
            config=with_devices(config, self.command.launcher, groups),
        )
        try:
            with termination():
                launch(launcher, _Told(plan, progress), ledger, self.sweeper.n_jobs)
        except (KeyboardInterrupt, SystemExit):
            progress.tell_interrupt()
            raise


class _Told:
    """A plan whose jobs are told of as they come and go."""

    def __init__(self, plan: Any, progress: Progress) -> None:
        self._plan, self._progress = plan, progress
        self.at_once: int | None = plan.at_once

    def take(self) -> Job | None:
        job: Job | None = self._plan.take()
        if job is not None:
            self._progress.tell_start(job)
        return job

    def ended(self, job: Job) -> None:
        self._plan.ended(job)
        self._progress.tell_job(job)


def exit_code(ledger: Ledger) -> int:
    """0 where no job failed, 2 where all that did were a user's mistakes, else 1."""
    states = [ledger.status(job) for job in ledger.jobs()]
    kinds = [state.kind for state in states if state.status in (FAILED, KILLED)]
    if not kinds:
        return 0
    return 2 if set(kinds) == {MISTAKE} else 1
