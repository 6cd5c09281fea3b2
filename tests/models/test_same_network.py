"""State dicts of torchvision: the same network is found, and computes the same numbers."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn

from dlcexp.errors import UserError
from dlcexp.models.backbones import ResNet, TimmBackbone
from dlcexp.models.backbones.same_network import matched

TORCHVISION = {
    "mobilenet_v2": "mobilenetv2_100",
    "resnet50": "resnet50",
    "efficientnet_b0": "efficientnet_b0",
    "convnext_tiny": "convnext_tiny",
}


def of_torchvision(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = torchvision.models.get_model(name).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return network


def saved(state: dict[str, torch.Tensor], folder: Path) -> str:
    torch.save(state, folder / "weights.pth")
    return str(folder / "weights.pth")


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_network_of_torchvision_has_the_same_features(name: str, tmp_path: Path) -> None:
    network = of_torchvision(name)
    layers = network.features[:-1] if name in ("mobilenet_v2", "efficientnet_b0") else None
    layers = network.features if name == "convnext_tiny" else layers
    layers = layers or nn.Sequential(*list(network.children())[:-2])
    weights = saved(network.state_dict(), tmp_path)
    backbone = TimmBackbone(TORCHVISION[name], -1, weights=weights).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images), layers(images), rtol=1e-5, atol=1e-5)


def test_a_backbone_keeps_no_second_copy_of_the_file(tmp_path: Path) -> None:
    weights = saved(of_torchvision("resnet18").state_dict(), tmp_path)
    backbone = TimmBackbone("resnet18", -1, weights=weights)
    assert "state_dict" not in backbone.model.pretrained_cfg


@pytest.mark.parametrize("classes", [1, 21])
def test_the_number_of_classes_does_not_matter(classes: int) -> None:
    state = torchvision.models.mobilenet_v2(num_classes=classes).state_dict()
    assert matched(state, "mobilenetv2_100") is not None


@pytest.mark.parametrize("change", ["swapped", "missing", "more", "other"])
def test_another_network_is_not_matched(change: str) -> None:
    state = dict(torchvision.models.resnet18().state_dict())
    if change == "swapped":  # of equal shapes
        names = list(state)
        first, second = names.index("bn1.weight"), names.index("bn1.bias")
        names[first], names[second] = names[second], names[first]
        state = {name: state[name] for name in names}
    if change == "missing":
        del state["layer3.0.bn1.bias"]
    if change == "more":
        state |= {f"layer5.{index}.weight": torch.zeros(3) for index in range(3)}
    other = "resnet34" if change == "other" else "resnet18"
    assert matched({f"trunk.{name}": value for name, value in state.items()}, other) is None


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (lambda: timm.create_model("resnet18").state_dict(), "it lacks layer1.2.*seems.*resnet18"),
        (lambda: torchvision.models.mobilenet_v2().state_dict(), "its features.*mobilenetv2_100"),
        (lambda: timm.create_model("resnet50").state_dict(), "conv1.weight is.*of resnet50"),
        (lambda: {"backbone.model.a": torch.zeros(1), "heads.b": torch.zeros(1)}, "weights="),
        (lambda: {}, "lacks"),
    ],
    ids=["names", "torchvision", "shapes", "pose model", "empty"],
)
def test_a_file_that_does_not_fit_is_a_short_message(state, message: str, tmp_path: Path) -> None:
    path = saved(state(), tmp_path)
    with pytest.raises(
        UserError, match=rf"weights\.pth' does not fit 'resnet34': .*{message}"
    ) as no:
        ResNet("resnet34", weights=path)
    assert "\n" not in str(no.value)
    assert len(str(no.value)) < 300 + len(path)


def test_a_file_of_something_else_is_a_short_message(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_text("no weights", encoding="utf-8")
    with pytest.raises(UserError, match="not a file of weights"):
        ResNet("resnet18", weights=str(tmp_path / "weights.pth"))
