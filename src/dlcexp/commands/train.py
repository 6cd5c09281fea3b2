"""`dlcexp [train]`: one experiment, or with `-m` a sweep of them."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from omegaconf import DictConfig, OmegaConf

from dlcexp.commands.arguments import take_config_dir
from dlcexp.composition import compose_run, rewritten
from dlcexp.config.checks import check_combinations, check_keys
from dlcexp.config.compose import compose_tree, resolve
from dlcexp.config.mistakes import all_mistakes
from dlcexp.config.options import CONFIG_MODULE, CONFIG_NAME, groups, options
from dlcexp.config.overrides import Override
from dlcexp.config.rewrite import expand
from dlcexp.errors import UserError
from dlcexp.files import expanded

if TYPE_CHECKING:
    from dlcexp.training import Run

HELP = """\
dlcexp [train] [group=option ...] [key=value ...]

Composes an experiment, checks all of it, trains, evaluates on train and test frames, and leaves
runs/PROJECT/TIME-HASH/ with config.yaml, pytorch_config.yaml, metrics.json, snapshots/, figures/.

Groups and their options:
{groups}

Keys often set:
  project=PATH             a DeepLabCut project, a COCO .json, or demo
  batch_size=8 epochs=200 save_epochs=25 seed=42
  device=auto              auto, cpu, cuda, cuda:0, mps
  data.longest_max_size=640           resize in training and inference, the longer side to 640 px
  data.train.affine.rotation=90
  trainer.precision=bf16-mixed trainer.accumulate_grad_batches=4 trainer.early_stopping.patience=3
  logger=[csv,wandb,tensorboard,mlflow]   any of them
  resume=auto              auto, never, or a run folder to go on from
  detector.epochs=250      top-down (method=td): as epochs, batch_size, ... of the pose model
  optimizer@detector.optimizer=sgd scheduler@detector.scheduler=step_lr
  'train.stages=[pose]'    detector, pose or both; detector.snapshot=PATH takes a detector over
  conditions=PATH          poses to correct (method=ctd): a run folder, a shuffle's number, a file
  weights=PATH             start from a run or snapshot; weights.freeze=backbone keeps that part,
  weights.lr_scale.backbone=0.1       trains it at a tenth of the learning rate
  model.recipe.graph=skeleton         limbs of model=paf: complete, skeleton, or [[0,1],[1,2]]
  pytorch_config=FILE      begin with a file of DeepLabCut's
  hydra.run.dir=DIR        where the run goes; the same folder again resumes it

Flags:
  --cfg job [--resolve]    show the composed tree and stop; --package KEY shows a part
  --info [defaults-tree]   how it was composed
  -m, --multirun           sweep: model=dekr,heatmap optimizer.lr=1e-3,1e-4 'split.fold=range(5)'
                           hydra/sweeper=grid|paired|random|optuna
                           hydra/launcher=processes|basic|joblib|submitit_local|submitit_slurm|ray
                           sweep.metric=test.rmse  sweep.rerun=failed|never|always
  --config-dir DIR         options of your own, in folders named as the groups
"""

# Flags that Hydra's own application answers.
_HYDRA_FLAGS = {
    "--cfg", "-c", "--resolve", "--package", "-p", "--info", "-i", "--multirun", "-m",
    "--shell-completion", "-sc", "--hydra-help", "--run", "-r",
}  # fmt: skip
_FLAGS_WITH_VALUE = {"--cfg", "-c", "--package", "-p", "--info", "-i", "-cd", "--config-dir"}
_SWEEP = {"--multirun", "-m"}
_COMPLETION = {"--shell-completion", "-sc"}
# Of these, Hydra takes one at a time.
_MODES = ("--cfg", "-c", "--info", "-i", "--multirun", "-m", "--run", "-r", *_COMPLETION)


def run(words: list[str]) -> int:
    flags = {word.partition("=")[0] for word in words if word.startswith("-")}
    if flags & {"--help", "-h"}:
        print(HELP.format(groups=_group_table()), end="")
        return 0
    modes = sorted(flags.intersection(_MODES))
    if len(modes) > 1:
        raise UserError(f"{' and '.join(modes)} exclude each other; give one.")
    if flags & _SWEEP:
        from dlcexp.sweeps.start import start

        return start(*take_config_dir([word for word in words if word not in _SWEEP]))
    if flags & _HYDRA_FLAGS:
        return _hydra_application(words, flags)
    overrides, config_dir = take_config_dir(words)
    cfg, folder = compose_run(overrides, config_dir)

    from dlcexp.training import train

    log_to_console()
    finished = train(cfg, folder, overrides=overrides)
    print(_what_is_where(finished))
    return 0


class _Console(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at the time."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def log_to_console() -> None:
    """Show what a run logs; in a sweep Hydra does."""
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


def _group_table() -> str:
    lines = []
    for group in groups():
        names = options(group)
        line = f"  {group + '=':<17}"
        for position, name in enumerate(names):
            word = name + ("," if position < len(names) - 1 else "")
            if len(line) + 1 + len(word) > 96:
                lines.append(line)
                line = " " * 19
            line = f"{line}{'' if line.endswith(' ') else ' '}{word}"
        lines.append(line)
    return "\n".join(lines)


def _hydra_application(words: list[str], flags: set[str]) -> int:
    """Let Hydra answer `--cfg`, `--info` and completion, with our messages for mistakes."""
    if _value_of(("--cfg", "-c"), words) == "job":
        return _show_tree(words, resolved="--resolve" in flags)
    import hydra

    from dlcexp.config import resolvers

    resolvers.register()
    if not flags & _COMPLETION:
        _checked(words)
        overrides, config_dir = _overrides_of(words)
        settings = [word for word in _flags_first(words) if word not in overrides]
        words = [*settings, *map(str, expand(rewritten(overrides), config_dir))]
    sys.argv = [sys.argv[0], *words]
    hydra.main(version_base="1.3", config_path=f"pkg://{CONFIG_MODULE}", config_name=CONFIG_NAME)(
        lambda cfg: None
    )()
    return 0


def _flags_first(words: Sequence[str]) -> list[str]:
    """The words with flags, and the values of flags, before the overrides.

    Hydra takes no override on both sides of a flag.
    """
    flags: list[str] = []
    overrides: list[str] = []
    takes_value = False
    for word in words:
        is_flag = word.startswith("-")
        (flags if is_flag or (takes_value and "=" not in word) else overrides).append(word)
        takes_value = is_flag and word in _FLAGS_WITH_VALUE
    return [*flags, *overrides]


def _show_tree(words: Sequence[str], *, resolved: bool) -> int:
    """Print the composed tree, or the part of it that `--package` names."""
    tree, plain = _checked(words)
    if resolved:
        tree = OmegaConf.create(plain)
    package = _value_of(("--package", "-p"), words)
    if package:
        part = OmegaConf.select(tree, package, throw_on_resolution_failure=False)
        if not OmegaConf.is_config(part):
            raise UserError(f"--package: {package!r} is no node of the tree.")
        print(f"# @package {package}")
        tree = part
    print(OmegaConf.to_yaml(tree), end="")
    return 0


def _checked(words: Sequence[str]) -> tuple[DictConfig, dict[str, Any]]:
    """The composed tree, unresolved and resolved; without torch, targets are not looked up.

    Raises:
        ConfigError: a mistake that shows without the classes that the tree names.
    """
    overrides, config_dir = _overrides_of(words)
    return all_mistakes(rewritten(overrides), lambda left: _checked_tree(left, config_dir))


def _checked_tree(
    overrides: Sequence[Override], config_dir: Path | None
) -> tuple[DictConfig, dict[str, Any]]:
    tree = compose_tree(overrides, config_dir)
    plain = resolve(tree)
    check_combinations(check_keys(plain))
    return tree, plain


def _value_of(flags: Sequence[str], words: Sequence[str]) -> str | None:
    """The value of a flag, given as `--flag value` or `--flag=value`; None without it."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in flags:
            return value if equals else following
    return None


def _overrides_of(words: Sequence[str]) -> tuple[list[str], Path | None]:
    """The overrides among words that Hydra takes, and the folder of `--config-dir`."""
    overrides = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if before not in _FLAGS_WITH_VALUE and not word.startswith("-")
    ]
    folder = _value_of(("--config-dir", "-cd"), words)
    return overrides, expanded(folder) if folder else None
