"""`dlcexp export`: the experiment as a `pytorch_config.yaml` that DeepLabCut loads."""

import sys
from typing import TYPE_CHECKING, Any, cast

from dlcexp.commands.arguments import take_config_dir, take_values, wants_help
from dlcexp.files import expanded

if TYPE_CHECKING:
    from omegaconf import DictConfig

HELP = """\
dlcexp export [group=option ...] [key=value ...]
dlcexp export run=DIR

Prints the resolved pytorch_config.yaml; nothing is trained. Takes every override of `dlcexp train`.

  export.file=FILE         write there instead
  export.schema=dlc3       dlc3: DeepLabCut 3.0.2; flat: one level, as before DeepLabCut 3.0
  run=DIR                  the experiment of an existing run folder

  dlcexp export project=~/mouse net_type=dekr_w32 > pytorch_config.yaml
"""


def run(words: list[str]) -> int:
    if wants_help(words):
        print(HELP, end="")
        return 0
    from dlcexp.config.composition import compose_run
    from dlcexp.deeplabcut.pytorch_config import cannot_build, cannot_say, export_config
    from dlcexp.errors import ConfigError
    from dlcexp.files import write_text

    overrides, config_dir = take_config_dir(words)
    overrides, settings = take_values(overrides, ["run"])
    if "run" in settings:
        from dlcexp.config.composition import modified
        from dlcexp.training import Run

        cfg = modified(Run.open(settings["run"]).cfg, overrides)
    else:
        cfg, _ = compose_run(overrides, config_dir)
    for problem in (cannot_build(cfg), cannot_say(cfg)):
        if problem:
            print(f"dlcexp: {problem}", file=sys.stderr)
    if cfg.export.schema == "flat":
        _tell_lost(cfg)
    target = expanded(cfg.export.file) if cfg.export.file else None
    command = ["export", *words]
    text = export_config(cfg, schema=cfg.export.schema, path=target, command=command)
    if target is None:
        sys.stdout.write(text)
    else:
        try:
            write_text(target, text)
        except OSError as error:
            reason = "is a folder" if target.is_dir() else error.strerror
            raise ConfigError(
                "export.file", f"{str(target)!r} cannot be written: {reason}."
            ) from None
        print(f"wrote {target}")
    return 0


def _tell_lost(cfg: "DictConfig") -> None:
    """Print what the flat form cannot say of a tree."""
    from omegaconf import OmegaConf

    from dlcexp.deeplabcut.carrying import lost_in_flat
    from dlcexp.deeplabcut.pytorch_config import export_sections

    tree = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    lost = lost_in_flat(export_sections(tree))
    if lost:
        print("dlcexp: not carried, as the flat form has no words for it:", file=sys.stderr)
    for line in lost:
        print(f"  {line}", file=sys.stderr)
