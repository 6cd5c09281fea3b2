"""`dlcexp [train]`: one experiment, or with `-m` a sweep of them."""

import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from dlcexp.commands.settings import (
    CONFIG_DIR,
    TEXT,
    Command,
    Row,
    Section,
    Setting,
    one_of,
    switch,
)
from dlcexp.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from dlcexp.config.overrides import Override
    from dlcexp.training import Run

# Keys that are often set, as an override; their meanings are those of their declarations.
_KEYS = (
    "project=PATH",
    "batch_size=8",
    "epochs=200",
    "save_epochs=25",
    "seed=42",
    "device=auto",
    "data.longest_max_size=640",
    "data.train.affine.rotation=90",
    "trainer.precision=bf16-mixed",
    "trainer.accumulate_grad_batches=4",
    "trainer.early_stopping.patience=3",
    "resume=auto",
    "weights.path=PATH",
    "weights.freeze=[backbone]",
    "weights.lr_scale={backbone:0.1}",
    "train.stages=[pose]",
    "detector.epochs=250",
    "detector.snapshot=PATH",
    "conditions=PATH",
    "model.recipe.graph=skeleton",
)
_FURTHER = (
    ("logger=[csv,wandb,tensorboard,mlflow]", "any of them"),
    ("optimizer@detector.optimizer=sgd", "top-down: optimizer or scheduler of the detector"),
    ("pytorch_config=FILE", "start from a file of DeepLabCut"),
    ("hydra.run.dir=DIR", "the run folder; the same folder again resumes the run"),
)
_SWEEPS = (
    ("model=dekr,heatmap 'split.fold=range(5)'", "values to sweep over"),
    ("hydra/sweeper=grid", "which jobs: grid, paired, random, optuna"),
    (
        "hydra/launcher=processes",
        "where: processes, basic, joblib, submitit_local, submitit_slurm, ray",
    ),
    ("sweep.metric=test.rmse", "the metric that decides"),
    ("sweep.rerun=failed", "jobs to repeat: failed, never, always"),
)


def _keys() -> Iterator[Row]:
    """Yield overrides of keys with their meanings."""
    from dlcexp.config.overrides import Override
    from dlcexp.config.schema import declaration

    for override in _KEYS:
        declared = declaration(Override.with_text(override).key)
        if declared:
            yield override, declared.about
    yield from _FURTHER


def _groups() -> Iterator[Row]:
    """Yield the groups with their options."""
    from dlcexp.config.options import groups, options

    for group in groups():
        yield f"{group}=", ", ".join(options(group))


def _sweeps() -> Iterator[Row]:
    """Yield what sweeps take, with the names of the examples."""
    from dlcexp.config.options import examples_folder, options

    yield from _SWEEPS
    yield "experiment=NAME", f"an example: {', '.join(options('experiment', examples_folder()))}"


COMMAND = Command(
    name="train",
    about="""
        Composes an experiment, checks all of it, trains, evaluates on train, val and test frames,
        and leaves runs/PROJECT/TIME-HASH/ with config.yaml, pytorch_config.yaml, metrics.json,
        snapshots/ and figures/. `dlcexp train` and `dlcexp` mean the same.
    """,
    settings=(
        Setting(
            "--cfg",
            one_of("job", "hydra", "all"),
            "show the composed tree, run nothing",
            flags=("-c",),
            shown="job",
        ),
        switch("--resolve", "with --cfg: fill in the interpolations"),
        Setting(
            "--package", TEXT, "with --cfg: show this part of the tree", flags=("-p",), shown="KEY"
        ),
        Setting(
            "--info",
            one_of(
                "all", "config", "defaults", "defaults-tree", "plugins", "searchpath", bare="all"
            ),
            "show how the tree is composed, run nothing",
            flags=("-i",),
            shown="WHAT",
        ),
        switch("--multirun", "sweep over comma-separated values", "-m"),
        CONFIG_DIR,
        switch("--hydra-help", "show Hydra's own flags"),
    ),
    exclusive=("--cfg", "--info", "--multirun", "--hydra-help"),
    takes_overrides=True,
    sections=(
        Section("Groups and their options", _groups),
        Section("Keys that are often set (see dlcexp explain KEY)", _keys),
        Section("Sweeps (-m)", _sweeps),
    ),
    examples=(
        "dlcexp project=~/mouse net_type=dekr_w32 batch_size=4",
        "dlcexp -m project=~/mouse model=dekr,heatmap optimizer.lr=1e-3,1e-4",
        "dlcexp project=~/mouse --cfg job --resolve --package optimizer",
    ),
)


def run(
    cfg: str | None,
    resolve: bool,
    package: str | None,
    info: str | None,
    multirun: bool,
    config_dir: Path | None,
    hydra_help: bool,
    overrides: list[str],
) -> int:
    """Train one experiment, or run a sweep, or show how an experiment is composed."""
    if multirun:
        from dlcexp.sweeps.start import start

        return start(overrides, config_dir)
    if cfg == "job":
        return _show_tree(overrides, config_dir, resolved=resolve, package=package)
    if cfg or info or hydra_help:
        flags = [f"--config-dir={config_dir}"] if config_dir else []
        flags += [f"--package={package}"] if package else []
        flags += ["--resolve"] if resolve else []
        flags += [f"--cfg={cfg}"] if cfg else [f"--info={info}"] if info else ["--hydra-help"]
        return _show_by_hydra(overrides, config_dir, flags)
    return _train(overrides, config_dir)


def _train(overrides: list[str], config_dir: Path | None) -> int:
    from dlcexp.composition import compose_run

    cfg, folder = compose_run(overrides, config_dir)

    from dlcexp.training import train

    log_to_console()
    try:
        finished = train(cfg, folder, overrides=overrides)
    except KeyboardInterrupt:
        print(f"\nto resume:  {_again(overrides, config_dir, folder)}", file=sys.stderr)
        raise
    print(_what_is_where(finished))
    return 0


def _again(overrides: Sequence[str], config_dir: Path | None, folder: Path) -> str:
    """Return the command that resumes a run in its folder."""
    from dlcexp.config.overrides import command_line

    flags = ["--config-dir", config_dir] if config_dir else []
    own = [each for each in overrides if not each.startswith("hydra.run.dir=")]
    return command_line([*flags, *own, f"hydra.run.dir={folder}"])


class _Console(logging.StreamHandler[TextIO]):
    """Writes to what is standard error at the time."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def log_to_console() -> None:
    """Show the log of a run on standard error; in a sweep Hydra does."""
    package = logging.getLogger("dlcexp")
    if not any(isinstance(handler, _Console) for handler in package.handlers):
        package.addHandler(_Console())
    package.setLevel(logging.INFO)


def _what_is_where(finished: "Run") -> str:
    folder = finished.folder
    snapshots = (finished.best_pose_snapshot, finished.best_detector_snapshot)
    tables = sorted(folder.glob("metrics*.csv"))
    return "\n".join(
        (
            f"run folder   {folder}",
            f"DeepLabCut   {folder / 'pytorch_config.yaml'}",
            f"weights      {', '.join(str(path) for path in snapshots if path)}",
            f"numbers      {', '.join(map(str, (folder / 'metrics.json', *tables)))}",
            f"figures      {folder / 'figures'}",
        )
    )


def hydra_application(arguments: Sequence[str]) -> None:
    """Let Hydra's own application answer arguments with one of its flags."""
    import hydra

    from dlcexp.config import resolvers
    from dlcexp.config.options import CONFIG_MODULE, CONFIG_NAME

    resolvers.register()
    sys.argv = [sys.argv[0], *arguments]
    hydra.main(version_base="1.3", config_path=f"pkg://{CONFIG_MODULE}", config_name=CONFIG_NAME)(
        lambda cfg: None
    )()


def _show_by_hydra(overrides: list[str], config_dir: Path | None, flags: list[str]) -> int:
    """Let Hydra show what its flags ask for, with our messages for mistakes."""
    from dlcexp.composition import rewritten
    from dlcexp.config.rewrite import expand

    _checked(overrides, config_dir)
    hydra_application([*flags, *map(str, expand(rewritten(overrides), config_dir))])
    return 0


def _show_tree(
    overrides: list[str], config_dir: Path | None, *, resolved: bool, package: str | None
) -> int:
    """Print the composed tree, or the part of it at the key `package`."""
    from omegaconf import OmegaConf

    from dlcexp.text import print_file

    tree, plain = _checked(overrides, config_dir, whole=resolved)
    if resolved:
        tree = OmegaConf.create(plain)
    if package:
        part = OmegaConf.select(tree, package, throw_on_resolution_failure=False)
        if not OmegaConf.is_config(part):
            raise UserError(f"--package: {package!r} is not a node of the tree.")
        print(f"# @package {package}")
        tree = part
    print_file(OmegaConf.to_yaml(tree))
    return 0


def _checked(
    overrides: Sequence[str], config_dir: Path | None, *, whole: bool = False
) -> "tuple[DictConfig, dict[str, Any]]":
    """Return the composed tree, unresolved and resolved.

    Args:
        overrides: as typed.
        config_dir: a folder with the user's options.
        whole: check arguments of classes, too, if some are typed: their classes take seconds.

    Raises:
        UserError: all mistakes that show without the classes that the tree names.
    """
    from dlcexp.composition import composed
    from dlcexp.config.checks import check_keys, check_tree
    from dlcexp.config.compose import compose_tree, resolve
    from dlcexp.config.model_checks import check_combinations
    from dlcexp.config.options import groups
    from dlcexp.config.schema import declaration

    def is_argument(override: "Override") -> bool:
        is_declared = override.key in groups() or declaration(override.key) is not None
        return not (is_declared or override.is_hydras)

    def compose(left: "Sequence[Override]") -> "tuple[DictConfig, dict[str, Any]]":
        tree = compose_tree(left, config_dir)
        plain = resolve(tree)
        typed = config_dir or any(is_argument(override) for override in left)
        check = check_tree if whole and typed else check_combinations
        check(check_keys(plain))
        return tree, plain

    return composed(overrides, compose)
