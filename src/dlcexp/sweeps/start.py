"""`dlcexp -m`: from the overrides of the command line to a sweep."""

import logging
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dlcexp.composition import rewritten
from dlcexp.config.checks import check_keys
from dlcexp.config.compose import compose_raw, compose_tree, resolve
from dlcexp.config.mistakes import all_mistakes
from dlcexp.config.options import check_choices, examples_folder, options, wrong_option
from dlcexp.config.overrides import Override
from dlcexp.errors import ConfigError, nearest, not_one_of
from dlcexp.sweeps.space import parse_space
from dlcexp.text import without_passwords

_INSTALL = "pip install 'dlcexp[sweep]'"
SWEEPER, LAUNCHER = "hydra/sweeper", "hydra/launcher"

# The launchers of Hydra and its plugins: the module of each, and the extra that installs it.
LAUNCHERS = {
    "processes": ("hydra", ""),
    "basic": ("hydra", ""),
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "sweep"),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "ray": ("hydra_plugins.hydra_ray_launcher", "ray"),
}


def start(typed: Sequence[str], config_dir: Path | None) -> int:
    """Run a sweep.

    Args:
        typed: overrides as typed, those of Hydra (`hydra/launcher=joblib`) among them.
        config_dir: a folder with the user's options; None: the examples, if one is asked for.

    Returns:
        The exit code.

    Raises:
        UserError: the sweep is invalid.
    """
    overrides = rewritten(typed, sweep=True)
    own = [override for override in overrides if not override.is_hydras]
    hydras = [override for override in overrides if override.is_hydras]
    _check_options(hydras)
    config_dir = config_dir or _examples(own)
    if config_dir is None:
        all_mistakes(own, _check_first)
    master = _compose(own, hydras, config_dir)
    _check_chosen(master)
    _check_acting(master, {override.key for override in hydras})
    with _shown_logs():
        return _sweep(master, own, overrides, config_dir)


def _examples(own: Sequence[Override]) -> Path | None:
    """Return the folder of the examples, if an experiment is chosen that is not in `conf/`."""
    chosen = [o for each in own if each.key == "experiment" for o in each.alternatives()]
    unknown = any(each.value is not None and wrong_option(each) for each in chosen)
    return examples_folder() if unknown else None


def _check_first(own: Sequence[Override]) -> None:
    """Check the options of a sweep, and the keys of its first job if no file adds dimensions."""
    check_choices(own)
    if not any(override.key == "experiment" for override in own):
        check_keys(resolve(compose_tree(parse_space(own, {}).representative())))


def _compose(
    own: Sequence[Override], hydras: Sequence[Override], config_dir: Path | None
) -> DictConfig:
    """Return the tree of a first job, for the sake of Hydra's own node."""
    first = parse_space(own, {}).representative()
    try:
        return compose_raw([*first, *hydras], config_dir)
    except ConfigError:
        # A key may exist only under a choice that a file sweeps over.
        kept = ("experiment", "project")
        overlays = [each for each in first if each.key in kept or each.key.startswith("sweep.")]
        return compose_raw([*overlays, *hydras], config_dir)


def _sweep(
    master: DictConfig,
    own: Sequence[Override],
    overrides: Sequence[Override],
    config_dir: Path | None,
) -> int:
    from hydra._internal.callbacks import Callbacks
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext
    from hydra.utils import get_class

    from dlcexp.sweeps.frozen import FrozenLoader
    from dlcexp.sweeps.job import run_job
    from dlcexp.sweeps.sweep import Command

    plugins = Plugins.instance()
    # Hydra finds plugins by scanning folders, which an editable installation has none of.
    for node in (master.hydra.sweeper, master.hydra.launcher):
        plugins.register(get_class(node._target_))
    sweeper: Any = plugins.instantiate_sweeper(
        hydra_context=HydraContext(config_loader=FrozenLoader(), callbacks=Callbacks()),
        task_function=run_job,
        config=master,
    )
    named = config_dir and config_dir != examples_folder()
    flags = ["-m", *([f"--config-dir={config_dir}"] if named else [])]
    recorded = tuple(without_passwords(override.text) for override in overrides)
    choices = master.hydra.runtime.choices
    sweeper.command = Command(
        line=shlex.join(["dlcexp", *flags, *recorded]),
        overrides=recorded,
        config_dir=config_dir,
        sweeper=str(choices[SWEEPER]),
        launcher=str(choices[LAUNCHER]),
    )
    return int(sweeper.sweep([override.text for override in own]))


def _check_options(overrides: Sequence[Override]) -> None:
    """Refuse an unknown sweeper, sampler, pruner or launcher, and one that is not installed."""
    for override in overrides:
        group, name = override.key, str(override.value)
        if group == LAUNCHER:
            _check_launcher(name)
        elif group.startswith("hydra/"):
            known = options(group)
            if known and name not in known:
                hint = " 'basic' is Hydra's own, which remembers nothing." * (name == "basic")
                raise ConfigError(
                    group,
                    f"{name!r} is not one of {', '.join(known)}.{hint or nearest(name, known)}",
                )
            if (group, name) == (SWEEPER, "optuna") and find_spec("optuna") is None:
                raise ConfigError(group, f"{name!r} is not installed. Install it: {_INSTALL}")
        elif group == "hydra.searchpath":
            raise ConfigError(group, "a sweep copies its folders: name yours by --config-dir DIR.")


def _check_launcher(name: str) -> None:
    if name not in LAUNCHERS:
        raise not_one_of(LAUNCHER, name, LAUNCHERS)
    module, extra = LAUNCHERS[name]
    try:
        found = find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise ConfigError(
            LAUNCHER, f"{name!r} is not installed. Install it: pip install 'dlcexp[{extra}]'"
        )


def _check_chosen(master: DictConfig) -> None:
    """Check what a file has chosen as `_check_options` does, and the numbers of jobs."""
    chosen = master.hydra.runtime.choices
    _check_options([Override(group, chosen[group]) for group in (SWEEPER, LAUNCHER)])
    _check_count(master, "hydra.sweeper.n_trials")
    _check_count(master, "hydra.sweeper.n_jobs")
    if chosen[LAUNCHER] == "processes":  # that of joblib may be negative
        _check_count(master, "hydra.launcher.n_jobs")


def _check_acting(master: DictConfig, typed: set[str]) -> None:
    """Refuse settings of Hydra in a file that build any class, or change the environment.

    Raises:
        ConfigError: one that differs from Hydra's default and was not typed.
    """
    untouched = compose_raw([])
    for key in ("hydra.job_logging", "hydra.hydra_logging", "hydra.job.env_set"):
        given = OmegaConf.select(master, key)
        by_hand = any(name.replace("/", ".").startswith(key) for name in typed)
        if given != OmegaConf.select(untouched, key) and not by_hand:
            raise ConfigError(key, "a file cannot set it; type it in the command if you need it.")
    for key in (SWEEPER, LAUNCHER):
        target = str(OmegaConf.select(master, f"{key.replace('/', '.')}._target_"))
        if not target.startswith(("hydra_plugins.", "hydra._internal.core_plugins.")):
            raise ConfigError(f"{key}._target_", f"{target!r} is not a plugin of Hydra.")


def _check_count(master: DictConfig, key: str) -> None:
    count = OmegaConf.select(master, key)
    if count is None or (type(count) is int and count > 0):
        return
    raise ConfigError(key, f"{count!r} is not a number of jobs: 1 or more.")


@contextmanager
def _shown_logs() -> Iterator[None]:
    """Show the log of dlcexp on standard error, as bare messages."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    package = logging.getLogger("dlcexp")
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)
