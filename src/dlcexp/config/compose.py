"""From override strings to a validated tree."""

import copy
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from dlcexp.config import resolvers
from dlcexp.config.checks import (
    check_keys,
    check_tree,
    check_weights_file,
    for_deeplabcut_only,
    late_milestones,
    never_measured,
)
from dlcexp.config.hydra_errors import diagnose, readable, unfit
from dlcexp.config.mistakes import all_mistakes
from dlcexp.config.options import (
    CONFIG_MODULE,
    CONFIG_NAME,
    OVERLAYS,
    ComposedFile,
    conf_folder,
    groups,
    options,
)
from dlcexp.config.overrides import Override
from dlcexp.config.rewrite import expand
from dlcexp.errors import ConfigError, not_one_of
from dlcexp.files import expanded
from dlcexp.vocabulary import SNAPSHOTS
from dlcexp.yaml_files import refuse_excess

logger = logging.getLogger(__name__)

# Groups of settings for Hydra's own application: a sixth of the time of composing.
_HYDRAS_OWN = ("env", "help", "hydra_help", "hydra_logging", "job_logging", "output")


def compose_run(
    overrides: Sequence[Override], config_dir: Path | None = None
) -> tuple[DictConfig, Path]:
    """The validated tree, and the run folder that Hydra's settings give it."""
    raw = compose_raw(overrides, config_dir)
    try:
        folder = expanded(raw.hydra.run.dir)
        tree = DictConfig(checked(_without_hydra(raw)))
        if tree.resume == "never" or not (folder / SNAPSHOTS / "last.ckpt").is_file():
            check_weights_file(tree.weights.path)
    except OmegaConfBaseException as error:
        raise readable(error, raw) from error
    return tree, folder


def checked(tree: DictConfig) -> dict[str, Any]:
    """Return a composed tree resolved and checked, in plain containers."""
    plain = check_keys(resolve(tree))
    check_tree(plain)
    return plain


def log_warnings(tree: Mapping[str, Any], logged: set[str] | None = None) -> None:
    """Log what a checked tree allows and what has no effect in it, unless it is in `logged`."""
    logged = set() if logged is None else logged
    for warning in (*late_milestones(tree), *never_measured(tree), *for_deeplabcut_only(tree)):
        if warning not in logged:
            logger.warning("%s", warning)
            logged.add(warning)


def resolve(tree: DictConfig) -> dict[str, Any]:
    """Return plain containers with every interpolation filled in, or raise a `ConfigError`."""
    try:
        container = OmegaConf.to_container(tree, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise readable(error, tree) from error
    if not isinstance(container, dict):
        raise ConfigError("", "the tree is not a mapping.")
    return {str(name): value for name, value in container.items()}


def compose_tree(
    overrides: Sequence[Override], config_dir: Path | None = None, packaged: Path | None = None
) -> DictConfig:
    """Return the experiment as Hydra composes it, unresolved.

    Args:
        overrides: as on the command line.
        config_dir: a folder with further options.
        packaged: a copy of `conf/` to take instead of that of dlcexp.

    Raises:
        ConfigError: Hydra refuses an override or the file of an option.
    """
    whole = any(override.is_hydras for override in overrides)
    fewer = [] if whole else [Override(f"hydra/{group}", prefix="~") for group in _HYDRAS_OWN]
    return _without_hydra(compose_raw(overrides, config_dir, packaged, fewer))


def composed_files(
    overrides: Sequence[Override], config_dir: Path | None = None
) -> list[ComposedFile]:
    """Return the files that a tree is composed from, in the order in which they are merged."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    with _initialized():
        loader = GlobalHydra.instance().config_loader()
        lines = _lines(overrides, config_dir)
        merged = loader.compute_defaults_list(CONFIG_NAME, lines, RunMode.RUN).defaults
    hydras = Path(str(resources.files("hydra.conf")))
    folders = [hydras, conf_folder(), *([config_dir.resolve()] if config_dir else [])]
    files = []
    for each in merged:
        paths = (folder / f"{each.config_path}.yaml" for folder in folders)
        if path := next(filter(Path.is_file, paths), None):  # as Hydra finds it
            group = each.config_path.rpartition("/")[0]
            files.append(ComposedFile(path, group, each.package or ""))
    return files


def compose_raw(
    overrides: Sequence[Override],
    config_dir: Path | None = None,
    packaged: Path | None = None,
    settings: Sequence[Override] = (),
) -> DictConfig:
    """Return the tree as `compose_tree`, with Hydra's own settings, its `hydra` node."""
    from hydra import compose as hydra_compose
    from hydra.errors import HydraException

    resolvers.register()
    if config_dir is not None:
        _check_aliases(config_dir)
    with _initialized(packaged):
        try:
            lines = _lines([*settings, *overrides], config_dir)
            return hydra_compose(CONFIG_NAME, lines, return_hydra_config=True)
        except MarkedYAMLError as error:
            where = error.problem_mark
            place = f"{where.name}, line {where.line + 1}: " if where else ""
            raise ConfigError("", f"{place}is not valid YAML: {error.problem}.") from error
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise diagnose([*_search_path(config_dir), *overrides], error, config_dir) from error


@cache
def _check_aliases(folder: Path) -> None:
    """Refuse files of the user's options whose aliases amount to more than memory holds.

    Raises:
        ProjectError: names the file and the line.
    """
    for path in folder.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8", errors="replace")
        if "&" in text and "*" in text:
            with suppress(YAMLError):  # Hydra names the place
                refuse_excess(text, path, with_tags=True)


def _initialized(packaged: Path | None = None) -> AbstractContextManager[None]:
    """Return Hydra ready to compose the options of dlcexp, or those of a copy of `conf/`."""
    from hydra import initialize_config_dir, initialize_config_module
    from hydra.core.utils import setup_globals

    setup_globals()
    if packaged:
        return initialize_config_dir(str(packaged.resolve()), version_base="1.3", job_name="dlcexp")
    return initialize_config_module(CONFIG_MODULE, version_base="1.3", job_name="dlcexp")


def _lines(overrides: Sequence[Override], config_dir: Path | None) -> list[str]:
    """Return overrides for Hydra, which takes texts alone in a list of options."""
    for each in overrides:
        names = each.value if each.key in groups() and isinstance(each.value, list) else []
        for name in names:
            if not isinstance(name, str):
                raise not_one_of(each.key, name, options(each.key))
    return list(map(str, [*_search_path(config_dir), *expand(overrides, config_dir)]))


def _search_path(config_dir: Path | None) -> list[Override]:
    return [Override("hydra.searchpath", [str(config_dir.resolve())])] if config_dir else []


def _without_hydra(raw: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(raw, [str(key) for key in raw if key != "hydra"])


def modified(cfg: DictConfig, overrides: Sequence[Override]) -> DictConfig:
    """Return a resolved tree, such as that of a finished run, with overrides put on top, validated.

    A group choice (`split=kfold`, `optimizer@detector.optimizer=sgd`) takes the place of the
    whole node; one that chooses the options of others is refused.
    """
    # The options of a finished run stay, whatever is asked for: nothing rests on the overrides.
    return all_mistakes(overrides, lambda left: _modified(cfg, left), decisive=())


def _modified(cfg: DictConfig, overrides: Sequence[Override]) -> DictConfig:
    tree = copy.deepcopy(cfg)
    OmegaConf.set_readonly(tree, False)
    choices = [override for override in overrides if override.key in groups()]
    values = [override for override in overrides if override not in choices]
    for choice in choices:
        if choice.key in OVERLAYS:
            raise ConfigError(
                choice.key, "cannot change in a finished run; start a new one with it."
            )
    if choices:
        common = [Override("method", tree.method), Override("project", tree.project)]
        composed = compose_tree([*common, *choices])
        for place in {choice.place for choice in choices}:
            OmegaConf.update(tree, place, OmegaConf.select(composed, place), merge=False)
    put_values(tree, values)
    return DictConfig(checked(tree))


def put_values(tree: DictConfig, overrides: Iterable[Override]) -> None:
    """Change a tree in place by overrides of keys, as Hydra does, or raise a `ConfigError`."""
    OmegaConf.set_struct(tree, True)
    for override in overrides:
        if override.is_sweep:
            problem = f"'{override}' has several values, and a finished run takes one."
            raise ConfigError(override.key, problem)
        if mismatch := unfit(tree, override):
            raise mismatch
        try:
            override.apply(tree)
        except (OmegaConfBaseException, TypeError, AttributeError, ValueError) as error:
            raise readable(error) from error
