"""Weights by the names of bodyparts: the maps of a matched bodypart are those of the source."""

from functools import cache

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from dlcexp.composition import compose
from dlcexp.config.build import build
from dlcexp.models.keypoint_axes import Points
from dlcexp.models.transfer import (
    OTHER_BACKBONE,
    OTHER_FEATURES,
    UNKNOWN_AXES,
    UNKNOWN_ORDER,
    transfer,
)

NAMES = ["nose", "neck", "left", "right", "tail"]

TIMM = ["model/backbone=timm", "model.backbone.model_name=resnet10t"]
FAMILIES = {
    "heatmap": ["method=td", "model=heatmap", *TIMM],
    "heatmap_deconv": ["project=demo", "model=paf", *TIMM],
    "dekr": ["model=dekr", *TIMM],
    "rtmpose": ["net_type=rtmpose_s"],
    "tokenpose": ["method=td", "model=tokenpose", *TIMM],
}
SIZE = {"rtmpose": 256, "tokenpose": 256}


@cache
def composed(family: str) -> DictConfig:
    return compose(*FAMILIES[family])


def network(family: str, names: list[str], seed: int = 0) -> tuple[nn.Module, list[list[int]]]:
    """A network for these bodyparts with weights of any kind, and its graph."""
    cfg = composed(family)
    node = resized(OmegaConf.to_container(cfg.model), len(names))
    graph = node["heads"]["bodypart"]["predictor"].get("graph") or []
    torch.manual_seed(seed)
    model = build(node, key="model").eval()
    for name, tensor in model.state_dict().items():
        if name.startswith(("heads.", "neck.")) and tensor.dtype.is_floating_point:
            noise = torch.randn(tensor.shape)
            tensor.add_(0.1 * (noise.abs() if name.endswith("running_var") else noise))
    return model, graph


def resized(node, after: int):
    """The node of a model with so many bodyparts."""
    head = node["heads"]["bodypart"]
    kind = head["_target_"].rpartition(".")[2]
    edges = [[a, b] for a in range(after) for b in range(a + 1, after)]
    if kind == "HeatmapHead":
        head["heatmap_config"]["final_conv"]["out_channels"] = after
        head["locref_config"]["final_conv"]["out_channels"] = 2 * after
    elif kind == "DLCRNetHead":
        head["heatmap_config"]["channels"][1] = after
        head["locref_config"]["channels"][1] = 2 * after
        head["paf_config"]["channels"][1] = 2 * len(edges)
        head["predictor"] |= {"graph": edges, "edges_to_keep": list(range(len(edges)))}
        head["target_generator"]["generators"][1]["graph"] = edges
    elif kind == "DEKRHead":
        head["heatmap_config"]["channels"][2] = after + 1
        head["offset_config"]["channels"][1:] = [after * 15, after]
    elif kind == "RTMCCHead":
        head["out_channels"] = after
    else:
        node["neck"]["num_keypoints"] = after
    return node


def layout(names: list[str], graph: list[list[int]]) -> dict[str, Points]:
    return {"bodypart": Points(tuple(names), tuple((names[a], names[b]) for a, b in graph))}


def maps(model: nn.Module, family: str) -> dict[str, torch.Tensor]:
    side = SIZE.get(family, 64)
    images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model(images)["bodypart"]


def of(name: str, maps_by_name: dict[str, torch.Tensor], names: list[str]) -> list[torch.Tensor]:
    """All maps of one bodypart, cut out by hand."""
    i, found = names.index(name), []
    for kind, values in maps_by_name.items():
        if kind in ("heatmap", "x", "y"):
            found.append(values[:, i])
        elif kind in ("locref", "offset"):
            found.append(values[:, 2 * i : 2 * i + 2])
    return found


def field(a: str, b: str, paf: torch.Tensor, names: list[str], graph) -> torch.Tensor:
    """The field from a to b; that from b to a points the other way."""
    for number, (start, end) in enumerate(graph):
        values = paf[:, 2 * number : 2 * number + 2]
        if (names[start], names[end]) == (a, b):
            return values
        if (names[start], names[end]) == (b, a):
            return -values
    raise AssertionError


def moved(family: str, before: list[str], after: list[str]):
    """Source and target after the transfer: their maps, the report, the target's own maps."""
    source, graph = network(family, before)
    target, other = network(family, after, seed=1)
    own = maps(target, family)
    report = transfer(target, source.state_dict(), layout(before, graph), layout(after, other))
    return maps(source, family), maps(target, family), own, report, graph, other


def near(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() <= 1e-4 * b.abs().max())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_bodyparts_in_another_order_have_the_maps_of_the_source(family):
    after = ["tail", "left", "nose", "right", "neck"]
    source, target, _, report, graph, other = moved(family, NAMES, after)
    assert [entry.name for entry in report.entries] == [entry.name for entry in report.loaded]
    assert not report.unused
    for name in NAMES:
        for there, here in zip(of(name, source, NAMES), of(name, target, after), strict=True):
            assert near(here, there)
    if "paf" in source:
        for a, b in other:
            names = after[a], after[b]
            there = field(*names, source["paf"], NAMES, graph)
            assert near(target["paf"][:, 2 * other.index([a, b])][:, None], there[:, :1])
            assert near(field(*names, target["paf"], after, other), there)
    if family == "dekr":
        assert torch.equal(target["heatmap"][:, -1], source["heatmap"][:, -1])
    changed = next(iter(source))
    assert not near(target[changed][:, :5], source[changed][:, :5])


@pytest.mark.parametrize("family", ["heatmap", "heatmap_deconv", "dekr"])
def test_more_bodyparts_leave_the_maps_of_the_others_as_they_are(family):
    before, after = ["tail", "nose"], ["nose", "new", "tail"]
    source, target, own, report, _, _ = moved(family, before, after)
    for name in before:
        for there, here in zip(of(name, source, before), of(name, target, after), strict=True):
            assert near(here, there)
    new = {name for entry in report.entries for name in entry.new}
    assert "new" in new
    if family == "heatmap":  # reads the backbone only: the head of the new one is its own
        assert not near(of("new", target, after)[0], of("new", own, after)[0])
        head = next(e for e in report.entries if e.name.endswith("heatmap_head.final_conv.weight"))
        assert (head.found, head.new) == (("nose", "tail"), ("new",))


@pytest.mark.parametrize("family", ["heatmap", "dekr"])
def test_fewer_bodyparts_have_the_maps_of_the_source(family):
    after = ["right", "nose"]
    source, target, *_ = moved(family, NAMES, after)
    for name in after:
        for there, here in zip(of(name, source, NAMES), of(name, target, after), strict=True):
            assert near(here, there)


def test_a_new_bodypart_keeps_its_initial_weights():
    source, _ = network("heatmap", ["nose", "tail"])
    target, _ = network("heatmap", ["new", "nose"], seed=1)
    weight = target.heads["bodypart"].locref_head.final_conv.weight
    before = weight.detach().clone()
    layouts = layout(["nose", "tail"], []), layout(["new", "nose"], [])
    transfer(target, source.state_dict(), *layouts)
    assert torch.equal(weight[:2], before[:2])
    assert torch.equal(weight[2:], source.heads["bodypart"].locref_head.final_conv.weight[:2])


def test_without_names_only_the_backbone_is_loaded():
    source, _ = network("heatmap", NAMES)
    target, _ = network("heatmap", NAMES, seed=1)
    report = transfer(target, source.state_dict(), None, layout(NAMES, []))
    assert {e.reason for e in report.entries if e.source is None} == {UNKNOWN_ORDER}
    assert all(entry.name.startswith("backbone.") for entry in report.loaded)


def test_another_backbone_loads_nothing_by_chance():
    source, _ = network("heatmap", NAMES)
    target, _ = network("heatmap", NAMES, seed=1)
    stored = source.state_dict()
    stored = {k: v[:2] if k.endswith("conv1.weight") or "conv2.weight" in k else v
              for k, v in stored.items()}  # fmt: skip
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    report = transfer(target, stored, layout(NAMES, []), layout(NAMES, []))
    assert not report.loaded
    assert {entry.reason for entry in report.entries} == {OTHER_BACKBONE, OTHER_FEATURES}
    assert all(torch.equal(before[name], tensor) for name, tensor in target.state_dict().items())


def test_a_layer_is_loaded_whole_or_not_at_all():
    source, _ = network("dekr", NAMES)
    target, _ = network("dekr", NAMES, seed=1)
    stored = source.state_dict()
    layer = "heads.bodypart.heatmap_head.transition_heatmap.1"
    stored[f"{layer}.weight"] = stored[f"{layer}.weight"][:-1]
    report = transfer(target, stored, layout(NAMES, []), layout(NAMES, []))
    names = {entry.name for entry in report.entries if entry.source is None}
    assert names == {name for name in stored if name.startswith(f"{layer}.")}
    assert {f"{layer}.bias", f"{layer}.weight"} <= set(report.unused)


def test_a_head_of_ones_own_is_loaded_only_for_the_same_bodyparts():
    source, _ = network("heatmap", NAMES)
    target, _ = network("heatmap", NAMES, seed=1)
    target.heads["bodypart"].keypoint_axes = lambda points: None
    turned = layout(NAMES[::-1], [])
    report = transfer(target, source.state_dict(), layout(NAMES, []), turned)
    assert {e.reason for e in report.entries if e.source is None} == {UNKNOWN_AXES}
    report = transfer(target, source.state_dict(), layout(NAMES, []), layout(NAMES, []))
    assert len(report.loaded) == len(report.entries)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "after"),
    [
        ("ctd_prenet_rtmpose_s", ["tail", "nose", "neck"]),
        ("ctd_coam_w32", ["neck", "new", "nose", "tail"]),
    ],
)
def test_conditions_are_read_by_the_name_of_their_bodypart(net: str, after: list[str]):
    """The conditions of a new bodypart change nothing at first."""
    before = ["nose", "neck", "tail"]
    source, target = conditional(net, len(before), 0), conditional(net, len(after), 1)
    stored = source.state_dict()
    report = transfer(target, stored, layout(before, []), layout(after, []))
    assert not report.unused
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(1, 3, 256, 256, generator=generator)
    conditions = 40 + 150 * torch.rand(1, 1, 3, 3, generator=generator)
    shown = torch.full((1, 1, len(after), 3), 77.0)
    for i, name in enumerate(after):
        if name in before:
            shown[:, :, i] = conditions[:, :, before.index(name)]
    with torch.no_grad():
        there = source.backbone(images, conditions)
        here = target.backbone(images, shown)
        astray = target.backbone(images, shown.flip(2))
    assert near(here, there)
    assert not near(astray, there)


def conditional(net: str, count: int, seed: int) -> nn.Module:
    """A conditional network for so many bodyparts whose conditions matter."""
    node = OmegaConf.to_container(compose(f"net_type={net}").model)
    node["backbone"]["kpt_encoder"]["num_joints"] = count
    torch.manual_seed(seed)
    model = build(resized(node, count), key="model").eval()
    for name, tensor in model.state_dict().items():
        if "cond_preNet" in name and name.endswith("weight"):
            tensor.add_(torch.randn(tensor.shape))
        elif "coam_stages" in name and name.endswith("weight"):
            tensor.add_(0.05 * torch.randn(tensor.shape))
    return model
