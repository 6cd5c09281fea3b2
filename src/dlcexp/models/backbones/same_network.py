"""State dicts of the same network in the names of another library, such as torchvision's."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import load_state_dict

from dlcexp.text import first_line

# Networks that a file is compared with, to name what it is of.
_COMMON = (
    "mobilenetv2_100",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet50_gn",
    "resnet101",
    "efficientnet_b0",
    "convnext_tiny",
    "convnextv2_tiny",
    "vit_small_patch14_dinov2",
    "vit_small_patch16_dinov3",
    "hrnet_w18",
    "hrnet_w32",
    "hrnet_w48",
    "cspnext_s",
    "cspnext_m",
)
_POSE_MODEL = "heads."
# A count of batches has no influence on what a network computes.
_COUNTER = ".num_batches_tracked"
# Last parts of the names of tensors of one shape.
_KINDS = ("weight", "bias", "running_mean", "running_var")

State = Mapping[str, torch.Tensor]
Shape = tuple[int, ...]


def pretrained_source(path: Path, model_name: str) -> dict[str, Any]:
    """Return the file as an entry of timm's `pretrained_cfg_overlay`.

    Weights in the names of another library are brought under timm's.
    """
    try:
        state = load_state_dict(str(path))
    except Exception:  # timm reads further formats, and reports what it cannot read
        return {"file": str(path)}
    if set(_shapes(model_name)) & set(state):
        return {"file": str(path)}
    renamed = matched(state, model_name)
    return {"file": str(path)} if renamed is None else {"state_dict": renamed}


def matched(state: State, model_name: str) -> dict[str, torch.Tensor] | None:
    """Return the tensors under the names of timm's model; None if it is another network.

    The networks are the same if their tensors have the same order and the same shapes, but for a
    classifier at the end, of any number of classes or none.
    """
    if _first_misfit(state, model_name) is not None:
        return None
    shapes = _shapes(model_name)
    return {
        name: tensor.reshape(shape)
        for (name, shape), (_, tensor) in zip(shapes.items(), _counted(state), strict=False)
    }


def misfit(path: Path, model_name: str) -> str:
    """Return why the file does not fit the model, and which network it seems to be of."""
    try:
        state = load_state_dict(str(path))
    except Exception as error:
        return f"it is not a file of weights: {first_line(error)}"
    if any(name.startswith(_POSE_MODEL) for name in state):
        return f"it is of a whole pose model; start from it by weights={path}"
    named = set(_shapes(model_name)) & set(state)
    reason = (_misfit_by_name if named else _first_misfit)(state, model_name)
    like = next((name for name in _COMMON if _is_of(state, name)), None)
    kind = f"; it seems to be of {like}" if like else ""
    return f"{reason or 'it lacks weights'}{kind}"


def _misfit_by_name(state: State, model_name: str) -> str | None:
    """Return the first tensor that is missing or of another shape; None if there is none."""
    for name, shape in _shapes(model_name).items():
        found = tuple(state[name].shape) if name in state else None
        if found != shape:
            return _difference(name, name, found, shape)
    return None


def _first_misfit(state: State, model_name: str) -> str | None:
    """Return the first difference in the order of tensors; None if there is none."""
    shapes = _shapes(model_name)
    tensors = list(_counted(state))
    for (name, shape), (theirs, tensor) in zip(shapes.items(), tensors, strict=False):
        kinds = {each.rpartition(".")[2] for each in (name, theirs)}
        differs = len(kinds) == 2 and kinds <= set(_KINDS)
        if differs or _squeezed(shape) != _squeezed(tuple(tensor.shape)):
            return _difference(theirs, name, tuple(tensor.shape), shape)
    if len(tensors) < len(shapes):
        name = list(shapes)[len(tensors)]
        return _difference(name, name, None, shapes[name])
    rest = tensors[len(shapes) :]
    return f"it has {rest[0][0]}, which is not of the network" if len(rest) > 2 else None


def _difference(theirs: str, ours: str, found: Shape | None, expected: Shape) -> str:
    size = " x ".join(map(str, expected))
    if found is None:
        return f"it lacks {ours} ({size})"
    place = "" if theirs == ours else f", in the place of {ours},"
    return f"its {theirs}{place} is {' x '.join(map(str, found)) or 'a number'} in place of {size}"


def _is_of(state: State, model_name: str) -> bool:
    return None in (_misfit_by_name(state, model_name), _first_misfit(state, model_name))


@cache
def _shapes(model_name: str) -> dict[str, Shape]:
    """Return the shapes of the tensors of timm's whole network, but for its classifier."""
    with torch.device("meta"):
        network: Any = timm.create_model(model_name)
    heads = network.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))
    return {
        name: tuple(tensor.shape)
        for name, tensor in _counted(network.state_dict())
        if not name.startswith(heads)
    }


def _counted(state: State) -> Iterator[tuple[str, torch.Tensor]]:
    return ((name, tensor) for name, tensor in state.items() if not name.endswith(_COUNTER))


def _squeezed(shape: Shape) -> Shape:
    return tuple(side for side in shape if side != 1)
