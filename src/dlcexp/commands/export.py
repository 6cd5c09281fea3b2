"""`dlcexp export`: the experiment as a `pytorch_config.yaml` that DeepLabCut loads."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from dlcexp.commands.settings import CONFIG_DIR, RUN, SNAPSHOT, Command, Section, Setting, one_of
from dlcexp.errors import ConfigError, UserError
from dlcexp.files import expanded

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from dlcexp.models.detectors import Detector
    from dlcexp.models.pose_model import PoseModel

COMMAND = Command(
    name="export",
    about="""
        Prints the resolved pytorch_config.yaml; nothing is trained. Takes every override of
        `dlcexp train`.

        With export.format=onnx it writes the pose network of a run, for any batch and size of
        images (RTMPose, TokenPose, conditional models: crops of one size). The outputs are the maps
        of each head; the metadata `dlcexp` describes them. Top-down, the detector is written next
        to it (FILE.onnx, FILE-detector.onnx), for images of any size: boxes (x, y, width, height),
        scores, and the image of the batch that each is in.
    """,
    settings=(
        replace(RUN, required=False, meaning="the experiment of an existing run folder"),
        Setting(
            "export.format",
            one_of("config", "onnx"),
            "pytorch_config.yaml, or the pose network of a run",
            default="config",
        ),
        SNAPSHOT,
        CONFIG_DIR,
    ),
    takes_overrides=True,
    sections=(
        Section(
            "Keys of the experiment",
            (
                ("export.file=FILE", "write to this file instead of printing"),
                ("export.schema=dlc3", "dlc3: DeepLabCut 3.0.2; flat: one level, as before 3.0"),
            ),
        ),
    ),
    examples=(
        "dlcexp export project=~/mouse net_type=dekr_w32 > pytorch_config.yaml",
        "dlcexp export run=DIR export.schema=flat",
        "dlcexp export run=DIR export.format=onnx export.file=FILE",
    ),
)


def run(
    run_folder: Path | None,
    format: str,
    snapshot: str | None,
    config_dir: Path | None,
    overrides: list[str],
) -> int:
    """Print or write an experiment for DeepLabCut, or the network of a run as ONNX."""
    if format == "onnx":
        return _export_network(run_folder, snapshot, overrides)
    if snapshot is not None:
        raise UserError("snapshot: a pytorch_config.yaml has no weights; export.format=onnx has.")
    if run_folder is not None:
        from dlcexp.config.compose import modified
        from dlcexp.config.typed import read_typed
        from dlcexp.training import Run

        cfg = modified(Run.open(run_folder).cfg, read_typed(overrides))
        words = [f"run={run_folder.as_posix()}", *overrides]
    else:
        from dlcexp.composition import compose_run

        cfg, _ = compose_run(overrides, config_dir)
        words = [*([f"--config-dir={config_dir}"] if config_dir else []), *overrides]
    return _export_config(cfg, ["export", *words])


def _export_config(cfg: "DictConfig", command: list[str]) -> int:
    from dlcexp.deeplabcut.export import cannot_build, cannot_say, export_config
    from dlcexp.files import write_text
    from dlcexp.text import print_file

    for problem in (cannot_build(cfg), cannot_say(cfg)):
        if problem:
            print(f"dlcexp: {problem}", file=sys.stderr)
    if cfg.export.schema == "flat":
        _print_lost(cfg)
    target = expanded(cfg.export.file) if cfg.export.file else None
    text = export_config(cfg, schema=cfg.export.schema, path=target, command=command)
    if target is None:
        print_file(text)
        return 0
    try:
        write_text(target, text)
    except OSError as error:
        reason = "is a folder" if target.is_dir() else error.strerror
        raise ConfigError("export.file", f"{str(target)!r} cannot be written: {reason}.") from None
    print(f"wrote {target}")
    return 0


def _export_network(run_folder: Path | None, snapshot: str | None, overrides: list[str]) -> int:
    """Write the pose network of a run as an ONNX file, and its detector next to it."""
    from dlcexp.config.build import allowing
    from dlcexp.config.compose import modified
    from dlcexp.config.typed import read_typed
    from dlcexp.inference.onnx_network import check_packages, export_detector, export_onnx
    from dlcexp.training import Run

    check_packages()
    if run_folder is None:
        raise UserError("run=DIR is needed: the folder of a finished run to export.")
    run = Run.open(run_folder)
    cfg = modified(run.cfg, read_typed(overrides))
    if not cfg.export.file:
        raise UserError("export.file=FILE is needed: the ONNX file to write.")
    target = expanded(cfg.export.file)
    with allowing(cfg.allow_targets):
        model = run.model(run.find_snapshot(snapshot or "best")).eval()
        detector = run.detector("cpu") if cfg.method == "td" else None
    export_onnx(cast("PoseModel", model), cfg, target)
    print(f"wrote {target}")
    if detector is not None:
        detector_target = target.with_name(f"{target.stem}-detector{target.suffix}")
        export_detector(cast("Detector", detector), detector_target)
        print(f"wrote {detector_target}")
    return 0


def _print_lost(cfg: "DictConfig") -> None:
    """Print what the flat form has no place for."""
    from dlcexp.config.build import plain
    from dlcexp.deeplabcut.export import export_sections
    from dlcexp.deeplabcut.flat import lost_in_flat

    lost = lost_in_flat(export_sections(plain(cfg)))
    if lost:
        print("dlcexp: left out, as the flat form has no place for it:", file=sys.stderr)
    for line in lost:
        print(f"  {line}", file=sys.stderr)
