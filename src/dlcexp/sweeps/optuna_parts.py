"""The parts of an Optuna study, as the tree names them: storage, sampler and pruner."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning

from dlcexp.config.build import allowing, build, find_class
from dlcexp.errors import ConfigError
from dlcexp.text import first_line

# Storage of a study by default, in the folder of its sweep.
JOURNAL = "study.journal"

# Random numbers of a resumed study do not repeat those of its beginning.
_STRIDE = 1_000_003


def open_storage(folder: Path, url: str | None) -> optuna.storages.BaseStorage:
    """Open the storage of a study: an Optuna URL, or the journal file of a sweep's folder.

    Raises:
        ConfigError: the URL cannot be opened.
    """
    if url is None:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        path = str(folder / JOURNAL)
        # The default lock is a symbolic link, which not every system has.
        return JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
    try:
        return optuna.storages.get_storage(url)
    except Exception as error:  # of any database driver
        problem = f"cannot be opened ({first_line(error)})."
        raise ConfigError("hydra.sweeper.storage", problem) from error


def study_name(name: str, repeat: str | None) -> str:
    """Return the name of a study in its storage: of one of several, with its fold or seed."""
    return f"{name} {repeat}" if repeat else name


def build_sampler(node: Any, trials: int) -> optuna.samplers.BaseSampler:
    """Build the sampler of a study that has `trials` behind it.

    Raises:
        ConfigError: there is no such sampler, or it has no such argument.
    """
    settings = {**node}
    if settings.get("seed") is not None:
        settings["seed"] = (int(settings["seed"]) + trials * _STRIDE) % 2**32
    with allowing(["optuna."]), quiet():
        sampler: optuna.samplers.BaseSampler = build(settings, key="hydra.sweeper.sampler")
    return sampler


def is_exhaustive(node: Any) -> bool:
    """Return True for a sampler that tries every combination of values.

    Raises:
        ConfigError: there is no such sampler.
    """
    with allowing(["optuna."]):
        cls = find_class(node["_target_"], "hydra.sweeper.sampler._target_")
    return issubclass(cls, optuna.samplers.BruteForceSampler)


def build_pruner(node: Any) -> optuna.pruners.BasePruner:
    """Build the pruner of a study.

    Raises:
        ConfigError: there is no such pruner, or it has no such argument.
    """
    with allowing(["optuna."]):
        pruner: optuna.pruners.BasePruner = build({**node}, key="hydra.sweeper.pruner")
    return pruner


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's log: what matters of it is logged by dlcexp."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ExperimentalWarning)
        yield
