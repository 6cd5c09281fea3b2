"""Weights of one network put into another, bodyparts matched by name where they differ."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dlcexp.models.backbones import Backbone
from dlcexp.models.keypoint_axes import CENTER, Axis, KeypointAxes, Points
from dlcexp.vocabulary import BODYPART

# A backbone of which less than this part finds its weights in a file is another architecture.
SAME_ARCHITECTURE = 0.9

# Why a tensor keeps its initial weights.
ABSENT = "not in the file"
OTHER_BACKBONE = "the file has another backbone"
OTHER_FEATURES = "reads features that the file's backbone does not give"
UNKNOWN_ORDER = "the order of its bodyparts is unknown; give weights.bodyparts=[...]"
UNKNOWN_AXES = "its class does not define which channels are which bodypart"
NEW_POINT = "new"

# Layouts: the points of each head by its name; backbone and neck go by those of "bodypart".
Layout = Mapping[str, Points]


@dataclass(frozen=True)
class Entry:
    """The source of one tensor of the network.

    Attributes:
        name: of the tensor.
        source: where it comes from, a tensor of the file; None where it keeps its initial weights.
        reason: why it does; also why it does in part.
        found, new: names of the points whose entries were loaded, and of those that were not.
    """

    name: str
    source: str | None
    reason: str = ""
    found: tuple[str, ...] = ()
    new: tuple[str, ...] = ()


@dataclass(frozen=True)
class Transfer:
    """A record of what was loaded, what was not, and why.

    Attributes:
        entries: every tensor of the network, in its order.
        unused: tensors of the file that had no place in it.
    """

    entries: tuple[Entry, ...]
    unused: tuple[str, ...]

    @property
    def loaded(self) -> list[Entry]:
        """The tensors that were loaded, whole or in part."""
        return [entry for entry in self.entries if entry.source is not None]


@dataclass(frozen=True)
class _Plan:
    """The value that a tensor will get, None where it keeps its own."""

    entry: Entry
    value: Tensor | None = None


def transfer(
    model: nn.Module, stored: Mapping[str, Tensor], source: Layout | None, target: Layout
) -> Transfer:
    """Put stored weights into a network as far as they fit.

    A layer is loaded whole or not at all, but for its channels of bodyparts: those that the
    file has by name are taken over, the others keep their initial weights.

    Args:
        model: gets the weights.
        stored: the state dict of the file.
        source: its points; None where they are unknown.
        target: those of the network.
    """
    layouts = (source, target)
    plans = [_plan(name, tensor, stored, model, layouts) for name, tensor in _state(model).items()]
    plans = _whole_layers(model, plans)
    plans = _without_foreign_backbone(model, plans, stored)
    state = _state(model)
    with torch.no_grad():
        for plan in plans:
            if plan.value is not None:
                state[plan.entry.name].copy_(plan.value)
    entries = tuple(plan.entry for plan in plans)
    used = {entry.source for entry in entries}
    _mark_backbone(model, entries)
    return Transfer(entries, tuple(name for name in stored if name not in used))


def _state(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.state_dict(keep_vars=True))


def _mark_backbone(model: nn.Module, entries: Sequence[Entry]) -> None:
    """Mark the backbones, of which one may be inside another, as not random."""
    names = [entry.name for entry in entries if entry.source is not None]
    for path, module in model.named_modules():
        if isinstance(module, Backbone) and any(name.startswith(f"{path}.") for name in names):
            module.weights_were_loaded()


def _plan(
    name: str,
    tensor: Tensor,
    stored: Mapping[str, Tensor],
    model: nn.Module,
    layouts: tuple[Layout | None, Layout],
) -> _Plan:
    """Return what one tensor could get from the file."""
    owner, module = _owner(model, name)
    if module is None:
        return _by_shape(name, tensor, stored)
    source, target = (None if each is None else each.get(_head(owner)) for each in layouts)
    here = module.keypoint_axes(target or Points(()))
    if here is None:
        if source == target:
            return _by_shape(name, tensor, stored)
        return _Plan(Entry(name, None, UNKNOWN_AXES))
    local = name.removeprefix(f"{owner}.")
    member = next((each for each in here.lists if local.startswith(f"{each}.")), None)
    if local not in here.dims and member is None:
        return _by_shape(name, tensor, stored)
    if source is None:
        return _Plan(Entry(name, None, UNKNOWN_ORDER))
    there: KeypointAxes = module.keypoint_axes(source)
    if member is not None:
        return _of_list(name, tensor, stored, f"{owner}.{member}", (here, there))
    return _by_channels(name, tensor, stored, here.dims[local], there.dims[local])


def _owner(model: nn.Module, name: str) -> tuple[str, nn.Module | None]:
    """Return the innermost module around a tensor that knows its channels, and its name."""
    path = name
    while path := path.rpartition(".")[0]:
        module = model.get_submodule(path)
        if hasattr(module, "keypoint_axes"):
            return path, module
    return "", None


def _head(path: str) -> str:
    parts = path.split(".")
    return parts[1] if parts[0] == "heads" else BODYPART


def _by_shape(name: str, tensor: Tensor, stored: Mapping[str, Tensor]) -> _Plan:
    if name not in stored:
        return _Plan(Entry(name, None, ABSENT))
    if stored[name].shape != tensor.shape:
        return _Plan(Entry(name, None, _shapes(stored[name], tensor)))
    return _Plan(Entry(name, name), stored[name])


def _of_list(
    name: str,
    tensor: Tensor,
    stored: Mapping[str, Tensor],
    path: str,
    axes: tuple[KeypointAxes, KeypointAxes],
) -> _Plan:
    """A tensor of a module that belongs to one channel: it is at another place of the list."""
    here, there = axes
    number, _, rest = name.removeprefix(f"{path}.").partition(".")
    member = next(each for each in here.lists if path.endswith(each))
    channel = here.lists[member][int(number)]
    point = str(channel.name[0])
    if channel not in there.lists[member]:
        return _Plan(Entry(name, None, NEW_POINT, new=(point,)))
    origin = f"{path}.{list(there.lists[member]).index(channel)}.{rest}"
    plan = _by_shape(origin, tensor, stored)
    found = (point,) if plan.value is not None else ()
    return _Plan(Entry(name, plan.entry.source, plan.entry.reason, found=found), plan.value)


def _by_channels(
    name: str,
    tensor: Tensor,
    stored: Mapping[str, Tensor],
    here: Mapping[int, Axis],
    there: Mapping[int, Axis],
) -> _Plan:
    """A tensor with entries of bodyparts along some of its dimensions."""
    if name not in stored:
        return _Plan(Entry(name, None, ABSENT))
    origin = stored[name]
    expected = [
        len(there[dim].channels) if dim in there else size for dim, size in enumerate(tensor.shape)
    ]
    if list(origin.shape) != expected:
        size = tuple(expected)
        return _Plan(Entry(name, None, f"{tuple(origin.shape)} in the file, {size} by its names"))
    value, known = tensor.detach().clone(), torch.ones((), dtype=torch.bool)
    for dim in here:
        origin, row = _picked(origin, dim, here[dim], there[dim])
        known = known & row.view([-1 if each == dim else 1 for each in range(tensor.ndim)])
    if not known.any():
        return _Plan(Entry(name, None, NEW_POINT, new=_points(here)))
    for dim, axis in here.items():
        if axis.reads:
            value = torch.where(_known_but(dim, tensor, here, there), 0, value)
    value = torch.where(known, origin.to(value.dtype), value)
    found, new = _matched(here, there)
    return _Plan(Entry(name, name, NEW_POINT if new else "", found, new), value)


def _picked(origin: Tensor, dim: int, here: Axis, there: Axis) -> tuple[Tensor, Tensor]:
    """Return the entries of a dimension in the order of the network, and which exist."""
    place = {channel.name: i for i, channel in enumerate(there.channels)}
    rows = [place.get(channel.name, 0) for channel in here.channels]
    signs = [
        channel.sign * there.channels[row].sign
        for channel, row in zip(here.channels, rows, strict=True)
    ]
    shape = [-1 if each == dim else 1 for each in range(origin.ndim)]
    picked = origin.index_select(dim, torch.tensor(rows, dtype=torch.long))
    known = torch.tensor([channel.name in place for channel in here.channels])
    return picked * torch.tensor(signs, dtype=origin.dtype).view(shape), known


def _known_but(
    new: int, tensor: Tensor, here: Mapping[int, Axis], there: Mapping[int, Axis]
) -> Tensor:
    """Return where the entry along the dimension `new` is new, and those along others known."""
    mask = torch.ones((), dtype=torch.bool)
    for dim, axis in here.items():
        names = {channel.name for channel in there[dim].channels}
        row = torch.tensor([(channel.name in names) != (dim == new) for channel in axis.channels])
        mask = mask & row.view([-1 if each == dim else 1 for each in range(tensor.ndim)])
    return mask.expand(tensor.shape)


def _points(axes: Mapping[int, Axis]) -> tuple[str, ...]:
    """Return the names of the points along the output dimension, each once."""
    axis = next((axis for axis in axes.values() if not axis.reads), next(iter(axes.values())))
    names = ["-".join(str(part) for part in channel.name[:-1]) for channel in axis.channels]
    return tuple(dict.fromkeys(name for name in names if name != CENTER))


def _matched(
    here: Mapping[int, Axis], there: Mapping[int, Axis]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    known = set(_points(there))
    names = _points(here)
    return tuple(n for n in names if n in known), tuple(n for n in names if n not in known)


def _shapes(stored: Tensor, tensor: Tensor) -> str:
    return f"{tuple(stored.shape)} in the file, {tuple(tensor.shape)} here"


def _whole_layers(model: nn.Module, plans: Sequence[_Plan]) -> list[_Plan]:
    """Leave out what is left of a layer of which a part does not fit: a bias without its kernel."""
    layers = defaultdict(list)
    for plan in plans:
        path = plan.entry.name.rpartition(".")[0]
        if hasattr(model.get_submodule(path), "weight"):
            layers[path].append(plan.entry)
    missing: dict[str, str] = {}
    for path, entries in layers.items():
        for entry in entries:
            if entry.source is None and not entry.name.endswith("num_batches_tracked"):
                missing.setdefault(path, entry.reason)
    result = []
    for plan in plans:
        path = plan.entry.name.rpartition(".")[0]
        if plan.value is not None and path in missing:
            plan = _Plan(Entry(plan.entry.name, None, missing[path]))
        result.append(plan)
    return result


def _without_foreign_backbone(
    model: nn.Module, plans: Sequence[_Plan], stored: Mapping[str, Tensor]
) -> list[_Plan]:
    """Leave out what fits by chance, where the file has another backbone, or none."""
    if not isinstance(getattr(model, "backbone", None), nn.Module):
        return list(plans)
    children = {".".join(name.split(".")[:2]) for name in stored if name.startswith("backbone.")}
    own = [plan for plan in plans if ".".join(plan.entry.name.split(".")[:2]) in children]
    sizes = {name: tensor.numel() for name, tensor in _state(model).items()}
    total = sum(sizes[plan.entry.name] for plan in own)
    fitting = sum(sizes[plan.entry.name] for plan in own if plan.value is not None)
    if total and fitting >= SAME_ARCHITECTURE * total:
        return list(plans)
    return [
        _Plan(Entry(plan.entry.name, None, _why_not(plan.entry.name, bool(children))))
        for plan in plans
    ]


def _why_not(name: str, has_backbone: bool) -> str:
    if name.startswith("backbone."):
        return OTHER_BACKBONE if has_backbone else ABSENT
    return OTHER_FEATURES
