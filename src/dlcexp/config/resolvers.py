"""Interpolations of the tree: metadata of the project, and the little arithmetic that sizes heads.

Registered under `dlcexp.`, so that `${dlcexp.metadata:${project}}` reads as what it is. None
of them needs torch, except those that ask timm about one of its models.
"""

import hashlib
import json
import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from omegaconf import DictConfig, ListConfig, OmegaConf

from dlcexp.config.build import plain
from dlcexp.config.paf_graph import edges_of
from dlcexp.errors import UserError, nearest
from dlcexp.text import first_line
from dlcexp.vocabulary import AUTO, BACKBONE_STARTS, RANDOM

# Keys of where a run happens or how it is shown, not of what it computes.
_NOT_HASHED = ("hydra", "project", "resume", "export", "device", "allow_targets", "sweep")
# Keys that older trees lack: not hashed while empty, so that runs and sweeps of before are found.
_HASHED_IF_SET = ("callbacks",)

# Parts of the name of a metric of which less is better: pixels, losses, time.
_LESS_IS_BETTER = ("rmse", "loss", "seconds", "error")


def register() -> None:
    """Make the resolvers known to OmegaConf; needed before a tree is composed, harmless twice."""
    resolvers: dict[str, Callable[..., Any]] = {
        "metadata": _metadata,
        "add": lambda a, b: a + b,
        "multiply": lambda a, b: a * b,
        "subtract": lambda a, b, least: max(least, a - b),
        "divide": lambda a, b, least=0: max(least, a // b),
        "length": len,
        "lookup": lambda value, table, otherwise: _node(table.get(value, otherwise)),
        "deconvolution_channels": _deconvolution_channels,
        "larger_is_better": larger_is_better,
        "choosing_metric": _choosing_metric,
        "pose_metric": pose_metric,
        "ranking_metric": _ranking_metric,
        "crop_side": _crop_side,
        "backbone_weights": _backbone_weights,
        "indices": lambda items: ListConfig(list(range(len(items)))),
        "graph": _graph,
        "simcc_sigma": _simcc_sigma,
        "timm_channels": lambda name, level: timm_feature_info(name, level)[0],
        "timm_stride": lambda name, level: timm_feature_info(name, level)[1],
        "timm_padding": lambda name, level: timm_padding(timm_feature_info(name, level)[1]),
        "whole_multiple": lambda most, step: most // (step or 1) * (step or 1),
        "hash": _hash,
        **_OF_OLD_SWEEPS,
    }
    for name, function in resolvers.items():
        # The cache is that of one tree: what is slow is done once, not once a reference.
        cached = name in ("metadata", "graph")
        OmegaConf.register_new_resolver(f"dlcexp.{name}", function, replace=True, use_cache=cached)


# Of sweeps begun with version 0.1: each is resumed with its own copy of `conf/`.
_OF_OLD_SWEEPS: dict[str, Callable[..., Any]] = {
    "half": lambda total: max(1, total // 2),
    "remaining": lambda total, used: max(1, total - used),
    "sixth": lambda total, least: max(least, total // 6),
    "equal": lambda a, b: a == b,
    "of_choosing_frames": lambda metric, fraction, val: (
        _choosing_metric(metric, fraction, val) or f"test.{metric}"
    ),
    "choose": lambda condition, yes, no: _node(yes if condition else no),
}


def tree_hash(tree: dict[str, Any]) -> str:
    """Eight hexadecimal digits of the resolved tree, the same wherever the project lies."""
    hashed = {
        key: value
        for key, value in tree.items()
        if key not in _NOT_HASHED and (value or key not in _HASHED_IF_SET)
    }
    text = json.dumps(hashed, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def larger_is_better(metric: str) -> bool:
    """Return True if larger values of a metric are better, by its name."""
    name = str(metric).rpartition(".")[2].lower()
    return not any(part in name for part in _LESS_IS_BETTER)


def pose_metric(bodyparts: int, individuals: int) -> str:
    """Return the metric that decides in a project, as DeepLabCut's mAP does where there is one.

    A single point has no size, so that animals of one bodypart have no similarity (mAP), and
    several of them no pair to match (rmse).
    """
    if bodyparts > 1:
        return "mAP"
    return "rmse" if individuals == 1 else "rmse_detections"


def _choosing_metric(metric: str, val_fraction: Any, val: Any) -> str | None:
    """Return a metric of the frames that choose, `val.mAP`; None where a split has none.

    Args:
        metric: its name.
        val_fraction, val: those of the split.
    """
    return None if val_fraction is None and not val else f"val.{metric}"


def _ranking_metric(key_metric: str | None, bodyparts: int, individuals: int) -> str:
    """Return the metric that ranks jobs: the one that chooses their snapshots, if one does."""
    return key_metric or f"test.{pose_metric(bodyparts, individuals)}"


def _metadata(project: str) -> DictConfig:
    from dlcexp.project import open_project

    return OmegaConf.create(open_project(project).metadata())


def _node(value: Any) -> Any:
    """A plain list or mapping as a node, which `--resolve` can put into the tree."""
    return OmegaConf.create(value) if isinstance(value, list | dict) else value


def _deconvolution_channels(inputs: int, outputs: int, strides: ListConfig) -> ListConfig:
    """Return the channels before the first and after each transposed convolution of a head."""
    halved = [max(1, inputs // 2**layer) for layer in range(len(strides))]
    return ListConfig([*halved, outputs] if strides else [inputs])


def _crop_side(largest: int, divisor: int | None, longest: Any, own: Any, other: Any) -> int:
    """Return the side of a training crop, px: the largest, or what resizing leaves of a frame.

    Args:
        largest: px.
        divisor: of a side that follows from resizing, px.
        longest: the longer side of frames, if that is set, px.
        own, other: this side of frames and the other one, if they are set, px.
    """
    resized = [side for side in (longest, own or other) if type(side) is int and side > 0]
    step = divisor or 1
    side = min([largest, *resized])
    return side if side == largest else max(step, side // step * step)


def _backbone_weights(weights: Any) -> str | None:
    """Return what a backbone starts from: `auto`, a name, or None where `weights` names a file.

    Args:
        weights: the node of that name, or its path alone.
    """
    start = weights.get("path") if isinstance(weights, DictConfig) else weights
    if start in (None, AUTO):
        return AUTO
    return start if start in BACKBONE_STARTS and start != RANDOM else None


def _graph(graph: Any, metadata: DictConfig, seed: int) -> ListConfig:
    """Return the edges of `graph`; see `dlcexp.config.paf_graph.edges_of`."""
    return ListConfig(
        edges_of(plain(graph), list(metadata.bodyparts), list(metadata.skeleton), int(seed))
    )


def _simcc_sigma(input_size: ListConfig) -> ListConfig:
    """Standard deviation, px, of a SimCC target of each side (Li et al., 2022: sqrt(side / 8))."""
    return ListConfig([round(math.sqrt(side / 8), 2) for side in input_size])


def _hash(*, _root_: DictConfig) -> str:
    tree = OmegaConf.masked_copy(_root_, [str(key) for key in _root_ if key != "hydra"])
    return tree_hash(OmegaConf.to_container(tree, resolve=True))  # type: ignore[arg-type]


def check_model_name(model_name: str) -> None:
    """Raise a `UserError` if timm has no model of this name, with or without a tag."""
    import timm

    if not timm.is_model(model_name):
        hint = nearest(model_name, timm.list_models())
        raise UserError(f"model.backbone.model_name: timm has no model {model_name!r}.{hint}")


def timm_feature_info(model_name: str, feature_level: int) -> tuple[int, int]:
    """Return channels and stride of a feature level of a timm model, or raise a `UserError`."""
    levels = timm_feature_levels(model_name)
    if not -len(levels) <= feature_level < len(levels):
        known = ", ".join(
            f"{level} (stride {stride}, {channels} channels)"
            for level, (channels, stride) in enumerate(levels)
        )
        raise UserError(
            f"model.backbone.feature_level: {feature_level} is not a level of {model_name!r};"
            f" allowed are {known}."
        )
    return levels[feature_level]


def timm_padding(stride: int) -> int:
    """Return px that the sides of images must be a multiple of: 32, but 14 for patches of 14."""
    return max(32, stride) if 32 % stride == 0 or stride > 32 else stride


class TimmFeatures(NamedTuple):
    """The feature maps of a model, as timm reports them.

    Attributes:
        levels: channels and stride, px, of each level, the finest first; of a transformer whose
            layers are alike, its last ones.
        indices: timm's index of each level.
        keywords: of `timm.create_model`, with which the model takes images of any size.
        plain: True for a vision transformer whose layers are alike, with a layer norm at the end.
    """

    levels: tuple[tuple[int, int], ...]
    indices: tuple[int, ...]
    keywords: dict[str, Any]
    plain: bool


# Keywords with which timm's transformers take images of any size, tried in this order.
_ANY_SIZE: tuple[dict[str, Any], ...] = (
    {},
    {"dynamic_img_size": True},
    {"strict_img_size": False},
)


def timm_feature_levels(model_name: str) -> tuple[tuple[int, int], ...]:
    """Return channels and stride of each feature level of a timm model, the finest first."""
    return timm_features(model_name).levels


@cache
def timm_features(model_name: str) -> TimmFeatures:
    """Return the feature maps of a timm model, and how it takes images of any size.

    Raises:
        UserError: timm has no such model, or it gives no feature maps, or takes images of one size.
    """
    check_model_name(model_name)
    refusals = []
    for keywords in _ANY_SIZE:
        try:
            return _meta_features(model_name, keywords)
        except Exception as error:  # timm raises whatever comes first
            refusals.append(error)
    raise UserError(
        f"model.backbone: timm gives no feature maps of {model_name!r} for images of any size: "
        f"{first_line(refusals[0])}"
    ) from refusals[0]


def _meta_features(model_name: str, keywords: dict[str, Any]) -> TimmFeatures:
    """Pass an image that exists by its size only through the network; raise if it does not fit."""
    import timm
    import torch
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    with torch.device("meta"), torch.no_grad():
        model: Any = timm.create_model(model_name, features_only=True, **keywords).eval()
        info = model.feature_info
        levels = tuple(zip(info.channels(), info.reduction(), strict=True))
        sides = [count * timm_padding(levels[-1][1]) for count in (3, 4)]
        maps = model(torch.empty(1, 3, *sides))
    first = 1 if getattr(model, "output_fmt", "NCHW") == "NHWC" else 2
    for features, (_, stride) in zip(maps, levels, strict=True):
        height, width = features.shape[first : first + 2]
        if height * stride > sides[0] or width * stride > sides[1]:
            raise ValueError(f"maps of {width} x {height} for an image of {sides[1]} x {sides[0]}")
    plain = isinstance(getattr(model, "model", None), (VisionTransformer, Eva))
    return TimmFeatures(levels, tuple(info.out_indices), keywords, plain)
