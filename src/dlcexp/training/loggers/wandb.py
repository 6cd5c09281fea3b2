"""Weights & Biases."""

import netrc
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from dlcexp.config.build import arguments
from dlcexp.errors import ConfigError, nearest
from dlcexp.training.loggers.naming import name_of, sweep_of
from dlcexp.training.loggers.run_logger import RunLogger

# Arguments of `wandb.init` that are filled in here, partly under other names.
_NOT_IN_A_NAME = "/\\#?%:"
_FILLED = ("dir", "id", "name", "project", "reinit", "resume", "settings")
# Folder of the run's files on W&B for copies from the run folder.
_COPIES = "dlcexp"


class WandbLogger(RunLogger):
    """One Weights & Biases run for each job, its files in the run folder.

    Without `mode` and without the environment variable WANDB_MODE, the run is online where an API
    key is set (WANDB_API_KEY or a netrc entry) and offline elsewhere; `wandb sync` uploads it. A
    run that a W&B agent has started is the one that the agent asked for.

    Args:
        project_name: project on W&B.
        run_name: name of the run; None takes that of the run folder.
        entity: team or user; None is the default of the key.
        group: what W&B groups the run under; None takes the name of the sweep.
        tags: labels of the run.
        mode: online, offline or disabled.
        save_dir: the run folder.
        kwargs: further arguments of `wandb.init`.
    """

    package = "wandb"

    def __init__(
        self,
        project_name: str = "dlcexp",
        run_name: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        mode: str | None = None,
        save_dir: str | Path = ".",
        **kwargs: Any,
    ) -> None:
        super().__init__(save_dir)
        self._settings = {
            "project": project_name,
            "name": run_name or name_of(self.folder),
            "entity": entity,
            "group": group or sweep_of(self.folder),
            "tags": list(tags) or None,
            "mode": mode or _default_mode(),
            **kwargs,
        }
        self._run: Any = None

    @classmethod
    def check_arguments(cls, given: Mapping[str, Any], key: str) -> None:
        """Refuse what `wandb.init` does not take; wandb is imported only for its arguments."""
        super().check_arguments(given, key)
        name = str(given.get("project_name") or "")
        if forbidden := sorted(set(name) & set(_NOT_IN_A_NAME)):
            entity, _, rest = name.rpartition("/")
            hint = f" Write {key}.project_name={rest} {key}.entity={entity}." if entity else ""
            raise ConfigError(
                f"{key}.project_name",
                f"{name!r} is not allowed: a project of W&B has no {' '.join(forbidden)}.{hint}",
            )
        own, _ = arguments(cls)
        further = given.keys() - own
        if not further:
            return
        import wandb

        accepted, _ = arguments(wandb.init)  # type: ignore[arg-type]
        accepted = {name: each for name, each in accepted.items() if name not in _FILLED}
        for name in sorted(further):
            if name not in accepted:
                known = {**own, **accepted}
                raise ConfigError(
                    f"{key}.{name}",
                    f"neither WandbLogger nor wandb.init has such an argument (its value is "
                    f"{given[name]!r}); they take {', '.join(known)}.{nearest(name, known)}",
                )
            if problem := accepted[name].problem(given[name]):
                raise ConfigError(f"{key}.{name}", problem)

    @property
    def name(self) -> str:
        """Project on W&B."""
        return str(self._settings["project"])

    @property
    def experiment(self) -> Any:
        """The `wandb.Run`, begun at the first call."""
        if self._run is None:
            self._run = self._begin()
        return self._run

    def _begin(self) -> Any:
        import wandb

        self.folder.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(silent=True, symlink=False)
        online = self._settings["mode"] == "online"
        run = wandb.init(
            dir=str(self.folder),
            id=self.record.run or secrets.token_hex(4),
            # Offline, W&B merges the pieces of a resumed run by their common id when it syncs.
            resume="allow" if online else None,
            reinit="create_new",
            settings=settings,
            **self._settings,
        )
        self.record.run = run.id
        self.remember()
        run.define_metric("*", step_metric="epoch")
        run.define_metric("detector/*", step_metric="detector/epoch")
        return run

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Send the resolved tree as the configuration of the run."""
        self.experiment.config.update(params, allow_val_change=True)

    def send_epoch(self, row: Mapping[str, float], axis: str, epoch: int) -> None:
        """Log one row of the run's history."""
        self.experiment.log({axis: epoch, **row})

    def send_summary(self, metrics: Mapping[str, Any]) -> None:
        """Update the run's summary."""
        self.experiment.summary.update(metrics)

    def send_images(self, images: Mapping[str, Path]) -> None:
        """Log pictures under their names in the history."""
        import wandb

        if images:
            self.experiment.log({name: wandb.Image(str(path)) for name, path in images.items()})

    def send_files(self, paths: Iterable[Path]) -> None:
        """Add copies to the files of the run, in a separate folder.

        A link would not do: W&B writes its own `config.yaml` there, over that of the run folder.
        """
        files = Path(self.experiment.dir)
        for path in paths:
            copy = files / _COPIES / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            self.experiment.save(str(copy), base_path=str(files), policy="now")

    def close(self, *, failed: bool) -> None:
        """End the run, with exit code 1 if the job failed."""
        if self._run is not None:
            self._run.finish(exit_code=int(failed))
            self._run = None


def _default_mode() -> str:
    """WANDB_MODE if it is set, else online where there is a key, else offline."""
    return os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")


def _has_key() -> bool:
    """Return whether W&B would find an API key; the key itself is not read out."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    named = os.environ.get("NETRC")
    candidates = [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]
    for path in candidates:
        try:
            if netrc.netrc(path).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False
