"""`dlcexp export`: the experiment as a `pytorch_config.yaml` that DeepLabCut loads."""

import sys
from typing import TYPE_CHECKING, Any, cast

from dlcexp.commands.arguments import take_config_dir, take_values, wants_help
from dlcexp.errors import UserError, nearest
from dlcexp.files import expanded

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from dlcexp.models.detectors import Detector
    from dlcexp.models.pose_model import PoseModel

FORMATS = ("config", "onnx")

HELP = """\
dlcexp export [group=option ...] [key=value ...]
dlcexp export run=DIR
dlcexp export run=DIR export.format=onnx export.file=FILE

Prints the resolved pytorch_config.yaml; nothing is trained. Takes every override of `dlcexp train`.

  export.file=FILE         write there instead
  export.schema=dlc3       dlc3: DeepLabCut 3.0.2; flat: one level, as before DeepLabCut 3.0
  run=DIR                  the experiment of an existing run folder
  export.format=onnx       instead the pose network of that run, for any batch and size of images
                           (RTMPose, TokenPose, conditional models: crops of one size); its outputs
                           are the maps of each head, its metadata `dlcexp` tells what they mean.
                           Top-down, the detector goes beside it (FILE.onnx, FILE-detector.onnx),
                           for images of any size: boxes (x, y, width, height), scores, and which
                           image of the batch each is in
  snapshot=best            whose weights: best, an epoch, or a file

  dlcexp export project=~/mouse net_type=dekr_w32 > pytorch_config.yaml
"""


def run(words: list[str]) -> int:
    if wants_help(words):
        print(HELP, end="")
        return 0
    from dlcexp.composition import compose_run
    from dlcexp.deeplabcut.export import cannot_build, cannot_say, export_config
    from dlcexp.errors import ConfigError
    from dlcexp.files import write_text

    overrides, config_dir = take_config_dir(words)
    overrides, settings = take_values(overrides, ["run", "snapshot", "export.format"])
    if settings.get("export.format", FORMATS[0]) not in FORMATS:
        given = settings["export.format"]
        raise UserError(
            f"export.format: {given!r} is not one of {', '.join(FORMATS)}.{nearest(given, FORMATS)}"
        )
    if settings.get("export.format") == "onnx":
        return _export_network(settings, overrides)
    if "snapshot" in settings:
        raise UserError("snapshot: a pytorch_config.yaml has no weights; export.format=onnx has.")
    if "run" in settings:
        from dlcexp.config.compose import modified
        from dlcexp.config.overrides import parse_overrides
        from dlcexp.training import Run

        cfg = modified(Run.open(settings["run"]).cfg, parse_overrides(overrides))
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


def _export_network(settings: dict[str, str], overrides: list[str]) -> int:
    """Write the pose network of a run as an ONNX file, and its detector beside it."""
    from dlcexp.commands.evaluate import chosen_snapshot
    from dlcexp.config.build import allowing
    from dlcexp.config.compose import modified
    from dlcexp.config.overrides import parse_overrides
    from dlcexp.inference.onnx_network import check_packages, export_detector, export_onnx
    from dlcexp.training import Run

    check_packages()
    if "run" not in settings:
        raise UserError(
            "run=DIR is needed: the folder of a finished run, whose weights are exported."
        )
    run = Run.open(settings["run"])
    cfg = modified(run.cfg, parse_overrides(overrides))
    if not cfg.export.file:
        raise UserError("export.file=FILE is needed: where the ONNX file goes.")
    target = expanded(cfg.export.file)
    snapshot = chosen_snapshot(run.folder, settings.get("snapshot", "best")) or run.best_snapshot
    with allowing(cfg.allow_targets):
        model = run.model(snapshot).eval()
        detector = run.detector("cpu") if cfg.method == "td" else None
    export_onnx(cast("PoseModel", model), cfg, target)
    print(f"wrote {target}")
    if detector is not None:
        beside = target.with_name(f"{target.stem}-detector{target.suffix}")
        export_detector(cast("Detector", detector), beside)
        print(f"wrote {beside}")
    return 0


def _tell_lost(cfg: "DictConfig") -> None:
    """Print what the flat form cannot say of a tree."""
    from omegaconf import OmegaConf

    from dlcexp.deeplabcut.export import export_sections
    from dlcexp.deeplabcut.lost_in_flat import lost_in_flat

    tree = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    lost = lost_in_flat(export_sections(tree))
    if lost:
        print("dlcexp: not carried, as the flat form has no words for it:", file=sys.stderr)
    for line in lost:
        print(f"  {line}", file=sys.stderr)
