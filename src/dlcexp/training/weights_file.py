"""The file behind `weights`: which it is, what it holds, and whose channels are in what order."""

import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from dlcexp.deeplabcut.snapshots import best_snapshot, load_plain
from dlcexp.errors import ConfigError, ProjectError, SnapshotError
from dlcexp.files import expanded
from dlcexp.hub import ADDRESS, HubError, hub_file
from dlcexp.models.keypoint_axes import Points
from dlcexp.models.transfer import Layout
from dlcexp.project import open_project
from dlcexp.project.superanimal import SUPERANIMALS, address_of, superanimal_of
from dlcexp.runs.stages import POSE
from dlcexp.runs.started_from import named_source
from dlcexp.vocabulary import (
    BODYPART,
    IDENTITY,
    POSE_CONFIG,
    SNAPSHOTS,
    UNIQUE_BODYPART,
)
from dlcexp.yaml_files import read_as_text

# Where in a file its weights may be, and what may stand before the name of each.
_SECTIONS = ("model", "state_dict")
_PREFIXES = ("module.", "model.")
_PARTS = ("backbone.", "heads.", "neck.")

# Layers of the third stage of a ResNet, channels of the stem of a CSPNeXt: names of DeepLabCut.
_RESNETS = {6: "resnet_50", 23: "resnet_101"}
_CSPNEXTS = {16: "s", 24: "m", 40: "x"}


@dataclass(frozen=True)
class Source:
    """The weights that training starts from.

    Attributes:
        path: the file.
        state: its weights.
        layout: the points of its heads; None where they are unknown.
        superanimal: the data set it was trained on, if that is one of the SuperAnimals.
    """

    path: Path
    state: Mapping[str, Tensor]
    layout: Layout | None
    superanimal: str | None


def read_source(cfg: DictConfig) -> Source:
    """Read the file that `weights.path` means, and the order of its bodyparts.

    Raises:
        ConfigError: there is no such file.
        SnapshotError: it cannot be read, or holds no weights of a pose model.
    """
    path = find_file(str(cfg.weights.path), backbone_name(cfg.model.backbone))
    state = read_state(path)
    given = cfg.weights.bodyparts
    superanimal = given if isinstance(given, str) else superanimal_of(path)
    config = _config_beside(path)
    if given is None and config is not None:
        return Source(path, state, layout_of(config), None)
    names = SUPERANIMALS[superanimal] if superanimal else given
    if given is not None and not isinstance(given, str):
        superanimal, names = None, list(given)
    return Source(path, state, _complete(names) if names else None, superanimal)


def backbone_name(node: Mapping[str, Any]) -> str | None:
    """Return the name that the network of a backbone has in timm."""
    inner = node.get("backbone") or node
    return inner.get("model_name") or inner.get("base_model_name")


def find_file(value: str, backbone: str | None = None) -> Path:
    """Find a snapshot, or the best one of a run folder or of a folder of DeepLabCut.

    Args:
        value: the name of a SuperAnimal, an address on the hub, a file or a folder.
        backbone: that of the model, which decides which SuperAnimal it is.

    Raises:
        ConfigError: there is none.
        HubError: it is not in the cache of the hub, and cannot be fetched.
    """
    if value in SUPERANIMALS:
        value = address_of(value, backbone)
    if value.startswith(ADDRESS):
        try:
            return hub_file(value)
        except HubError as error:
            raise HubError(f"weights.path: {error}. Give the file itself: weights=FILE.") from error
    path = expanded(value)
    if path.is_dir():
        inside = [path / SNAPSHOTS, path / "train", path]
        found = (best_snapshot(folder) for folder in inside if folder.is_dir())
        path = next((each for each in found if each), path / "snapshot-*.pt")
    if not path.is_file():
        raise ConfigError(
            "weights.path",
            f"there is no snapshot {path}. Allowed: a snapshot of dlcexp or DeepLabCut, or a "
            "folder with snapshot-*.pt, such as a run folder.",
        )
    return path


def check_network_file(tree: Mapping[str, Any]) -> None:
    """Check that the file that `weights.path` means is available; one on the hub is fetched.

    Raises:
        UserError: it is not.
    """
    source = named_source(tree["weights"]) if POSE in tree["train"]["stages"] else None
    if source is not None:
        find_file(source, backbone_name(tree["model"]["backbone"]))


def backbone_file(cfg: DictConfig) -> Path | None:
    """Return the file that `weights.path` means, if it holds a backbone alone.

    Raises:
        ConfigError: there is no such file.
        SnapshotError: it cannot be read.
    """
    source = named_source(cfg.weights)
    if source is None:
        return None
    path = find_file(source, backbone_name(cfg.model.backbone))
    if path.suffix == ".safetensors":
        return path
    return None if any(name.startswith(_PARTS) for name in read_state(path)) else path


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the weights of a file by the names that they have in our networks.

    A snapshot holds them under `model`, a checkpoint under `state_dict`; both may be missing, and
    wrappers of the network leave their name before each.

    Raises:
        SnapshotError: the file cannot be read, or holds something else.
    """
    content: Mapping[str, Any] = load_plain(path)
    content = next(
        (content[key] for key in _SECTIONS if isinstance(content.get(key), dict)), content
    )
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    for prefix in _PREFIXES:
        rest = [name.removeprefix(prefix) for name in state]
        if any(name.startswith(_PARTS) for name in rest) and not any(
            name.startswith(_PARTS) for name in state
        ):
            state = dict(zip(rest, state.values(), strict=True))
    if any("roi_heads." in name or "classification_head." in name for name in state):
        override = shlex.quote(f"detector.snapshot={path}")
        raise SnapshotError(f"weights.path: {path} is a detector; {override} takes it over.")
    if not state:
        raise SnapshotError(f"weights.path: {path} holds no weights.")
    return state


def adapted(state: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Rename weights to the names that the same layers have in another network.

    The backbone of a CTD-PreNet is inside of another one. SuperAnimal's HRNet ends in a transposed
    convolution of one pixel, where DeepLabCut's other top-down models have a convolution.

    Args:
        state: the weights of a file.
        names: those of the network.
    """
    names = set(names)
    outer, inner = "backbone.", "backbone.backbone."
    before, after = (
        inner if any(name.startswith(inner) for name in each) else outer for each in (state, names)
    )
    if before != after:
        state = {
            after + name.removeprefix(before) if name.startswith(before) else name: tensor
            for name, tensor in state.items()
        }
    return _as_convolutions(state, names)


def _as_convolutions(state: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """Transposed convolutions of one pixel as the convolutions that they are."""
    renamed = dict(state)
    for name, kernel in state.items():
        head, found, last = name.partition(".deconv_layers.0.")
        here = f"{head}.final_conv.{last}"
        weight = state.get(f"{head}.deconv_layers.0.weight")
        if not found or weight is None or weight.shape[2:] != (1, 1) or here not in names:
            continue
        del renamed[name]
        renamed[here] = kernel.transpose(0, 1) if last == "weight" else kernel
    return renamed


def _config_beside(path: Path) -> dict[str, Any] | None:
    """Return the pytorch_config.yaml of the run or the shuffle that a snapshot is of."""
    folders = [path.parent, path.parent.parent] if path.parent.name == SNAPSHOTS else [path.parent]
    for folder in folders:
        file = folder / POSE_CONFIG
        if file.is_file():
            try:
                content = read_as_text(file)
            except ProjectError as error:
                raise SnapshotError(f"weights.path: {error}") from error
            return content if isinstance(content, dict) else None
    return None


def layout_of(config: Mapping[str, Any]) -> Layout | None:
    """Return the points of the heads of a pytorch_config.yaml; None without bodyparts."""
    metadata = config.get("metadata")
    if not isinstance(metadata, Mapping) or not metadata.get("bodyparts"):
        return None
    node: Any = config
    for key in ("model", "heads", BODYPART, "predictor", "graph"):
        node = node.get(key) if isinstance(node, Mapping) else None
    return _layout(metadata, node or [])


def target_layout(cfg: DictConfig, superanimal: str | None) -> Layout:
    """Return the points of the heads of the tree, by the names that they have in the file.

    Bodyparts that a SuperAnimal names differently are in the `SuperAnimalConversionTables` of the
    project.
    """
    graph = OmegaConf.select(cfg, f"model.heads.{BODYPART}.predictor.graph")
    layout = _layout(cfg.metadata, graph or [])
    renamed = names_in_file(cfg, superanimal)
    points = layout[BODYPART]
    names = tuple(renamed[name] for name in points.names)
    edges = tuple((renamed[a], renamed[b]) for a, b in points.edges)
    return {**layout, BODYPART: Points(names, edges)}


def names_in_file(cfg: DictConfig, superanimal: str | None) -> dict[str, str]:
    """Return the name in the file of each bodypart of the project."""
    table: Mapping[str, str] = {}
    if superanimal:
        table = open_project(cfg.project).superanimal_tables.get(superanimal, {})
        for name in table.values():
            if name not in SUPERANIMALS[superanimal]:
                raise ConfigError(
                    "project",
                    f"SuperAnimalConversionTables: {superanimal} has no bodypart {name!r}.",
                )
    return {name: table.get(name, name) for name in cfg.metadata.bodyparts}


def _layout(metadata: Mapping[str, Any], graph: Sequence[Sequence[Any]]) -> dict[str, Points]:
    def names(key: str) -> tuple[str, ...]:
        value = metadata.get(key)
        return () if not value or isinstance(value, str) else tuple(map(str, value))

    bodyparts = names("bodyparts")
    try:
        edges = tuple((bodyparts[int(a)], bodyparts[int(b)]) for a, b in graph)
    except (IndexError, TypeError, ValueError) as error:
        raise SnapshotError(
            "weights.path: the graph of the pytorch_config.yaml next to it is not a list of pairs "
            f"of numbers below {len(bodyparts)}, the number of its bodyparts."
        ) from error
    return {
        BODYPART: Points(bodyparts, edges),
        UNIQUE_BODYPART: Points(names("unique_bodyparts")),
        IDENTITY: Points(names("individuals")),
    }


def _complete(names: Sequence[str]) -> Layout:
    """The layout of bodyparts alone, every two of them connected as DeepLabCut does by default."""
    return {BODYPART: Points(tuple(names), tuple(combinations(names, 2)))}


def likely_net_type(state: Mapping[str, Tensor]) -> str | None:
    """Return DeepLabCut's name of the network with these weights; None if it is unclear."""
    state = adapted(state, ["backbone.model"])
    backbone = _likely_backbone(state)
    size = backbone.rpartition("_")[2] if backbone else ""

    def has(part: str) -> bool:
        return any(part in name for name in state)

    if has("neck.keypoint_token"):
        return "animaltokenpose_base"
    if backbone is None:
        return None
    if has("backbone.coam_stages"):
        return f"ctd_coam_{size}"
    if has("backbone.cond_preNet"):
        kind = f"rtmpose_{size}" if has("heads.bodypart.gau") else backbone
        return f"ctd_prenet_{kind}"
    if has("heads.bodypart.offset_head"):
        return f"dekr_{size}"
    if has("heads.bodypart.gau"):
        return f"rtmpose_{size}"
    if has("backbone.conv_block1"):
        stride = 32 if has("heatmap_head.deconv_layers.2") else 16
        return f"dlcrnet_stride{stride}_ms5"
    return f"top_down_{backbone}" if has("heatmap_head.final_conv") else backbone


def _likely_backbone(state: Mapping[str, Tensor]) -> str | None:
    width = state.get("backbone.model.stage2.0.branches.0.0.conv1.weight")
    if width is not None:
        return f"hrnet_w{len(width)}"
    stem = state.get("backbone.stem.0.conv.weight")
    if stem is not None and len(stem) in _CSPNEXTS:
        return f"cspnext_{_CSPNEXTS[len(stem)]}"
    layers = {m[1] for m in (re.match(r"backbone\.model\.layer3\.(\d+)\.", n) for n in state) if m}
    return _RESNETS.get(len(layers))
