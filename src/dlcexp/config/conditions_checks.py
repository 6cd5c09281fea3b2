"""Whose poses a conditional top-down model corrects: what the key `conditions` may be."""

from pathlib import Path
from typing import Any

from dlcexp.config.schema import PREDICTION_FILES, TREE
from dlcexp.errors import ConfigError, nearest
from dlcexp.files import expanded, names_in
from dlcexp.yaml_files import read_yaml

CONDITIONS = TREE["conditions"]


def check_conditions(conditions: Any, method: str) -> None:
    """Check the key `conditions` of a tree.

    A shuffle is looked up where it is needed: an export may name one that is yet to be made.

    Raises:
        ConfigError: a value without method=ctd, of the wrong kind, or a path that is not there.
    """
    if conditions is None:
        return
    if method != "ctd":
        raise ConfigError(
            "conditions",
            f"{conditions!r} is for a model that corrects poses, and method={method} finds them "
            "itself. Add method=ctd.",
        )
    if isinstance(CONDITIONS.read(conditions, "conditions"), int):
        return
    path = expanded(conditions)
    if not path.exists():
        hint = nearest(path.name, names_in(path.parent))
        raise ConfigError("conditions", f"there is no {conditions!r}.{hint}")
    if path.is_dir():
        _check_run(path, conditions)
    elif path.suffix.lower() not in PREDICTION_FILES:
        raise ConfigError(
            "conditions", f"{conditions!r} is not allowed. Allowed: {CONDITIONS.text}."
        )


def _check_run(folder: Path, conditions: str) -> None:
    """A folder is that of a run whose model finds poses itself, and all of them."""
    config = folder / "config.yaml"
    run = read_yaml(config) if config.is_file() else None
    if not isinstance(run, dict) or "method" not in run:
        raise ConfigError(
            "conditions",
            f"{conditions!r} is not a dlcexp run folder. Allowed: {CONDITIONS.text}.",
        )
    if run["method"] != "bu":
        raise ConfigError(
            "conditions",
            f"{conditions!r} is a run of method={run['method']}; the poses to correct come from a "
            "bottom-up model, method=bu.",
        )
