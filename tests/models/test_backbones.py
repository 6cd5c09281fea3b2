"""Backbones: strides and channels, frozen batch norm, weights, and mistakes in names."""

import logging

import pytest
import timm
import torch
from torch import nn

from dlcexp.errors import UserError
from dlcexp.models.backbones import HRNet, TimmBackbone, timm_feature_info


@pytest.mark.parametrize(
    ("interpolate", "increased", "channels"),
    [(True, False, 270), (False, False, 18), (True, True, 1920), (False, True, 128)],
)
def test_hrnet_gives_what_it_announces(interpolate, increased, channels):
    backbone = HRNet(
        "hrnet_w18", interpolate_branches=interpolate, increased_channel_count=increased
    ).eval()
    with torch.no_grad():
        features = backbone(torch.randn(1, 3, 64, 96))
    assert features.shape == (1, channels, 64 // backbone.stride, 96 // backbone.stride)
    assert backbone.out_channels == channels


@pytest.mark.parametrize("level", [0, 2, -1])
@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100", "convnext_atto"])
def test_any_timm_model_gives_what_its_feature_info_says(name, level):
    try:
        channels, stride = timm_feature_info(name, level)
    except UserError:
        pytest.fail("every one of these has that level")
    backbone = TimmBackbone(name, level).eval()
    with torch.no_grad():
        features = backbone(torch.randn(1, 3, 64, 64))
    assert features.shape == (1, channels, 64 // stride, 64 // stride)
    assert (backbone.out_channels, backbone.stride) == (channels, stride)


def test_frozen_statistics_stay_and_the_rest_trains():
    backbone = TimmBackbone("resnet18", 1, freeze_bn_stats=True, freeze_bn_weights=True)
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    backbone.train()
    backbone(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())
    for layer in backbone.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert not layer.training
            assert layer.weight.grad is None
    assert backbone.model.conv1.weight.grad is not None


def test_statistics_move_unless_frozen():
    backbone = TimmBackbone("resnet18", 1)
    before = backbone.model.bn1.running_mean.clone()
    backbone(torch.randn(2, 3, 32, 32))
    assert not torch.equal(before, backbone.model.bn1.running_mean)


def test_frozen_statistics_on_random_weights_are_warned_of_once(caplog):
    backbone = TimmBackbone("resnet18", 1, freeze_bn_stats=True)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            backbone(torch.randn(2, 3, 32, 32))
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "model.backbone.freeze_bn_stats=false" in caplog.text


@pytest.mark.parametrize("how", ["loaded", "evaluated", "not frozen"])
def test_no_warning_where_there_is_nothing_to_warn_of(caplog, how):
    backbone = TimmBackbone("resnet18", 1, freeze_bn_stats=how != "not frozen")
    if how == "loaded":
        backbone.load_state_dict(backbone.state_dict())
    if how == "evaluated":
        backbone.eval()
    backbone(torch.randn(2, 3, 32, 32))
    assert not caplog.records


def test_weights_come_from_a_file(tmp_path):
    torch.manual_seed(1)
    source = timm.create_model("resnet18", pretrained=False)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    backbone = TimmBackbone("resnet18", 2, weights=str(tmp_path / "weights.pth"))
    assert torch.equal(backbone.model.conv1.weight, source.conv1.weight)
    hrnet = timm.create_model("hrnet_w18_small", pretrained=False)
    torch.save(hrnet.state_dict(), tmp_path / "hrnet.pth")
    backbone = HRNet("hrnet_w18_small", weights=str(tmp_path / "hrnet.pth"))
    assert torch.equal(backbone.model.conv2.weight, hrnet.conv2.weight)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"model_name": "resnet5o"}, "Did you mean 'resnet50'"),
        ({"weights": "nowhere.pth"}, "'nowhere.pth' is not a file"),
        ({"feature_level": 9}, r"9 is not a level .* 0 \(stride 2, 64 channels\)"),
        ({"weights": "hub"}, "cannot be reached"),
    ],
    ids=["unknown name", "no such file", "no such level", "offline"],
)
def test_mistakes_are_named(monkeypatch, kwargs, message):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=message):
        TimmBackbone(**{"model_name": "resnet18", "feature_level": 1, **kwargs})


def test_weights_of_another_model_are_refused(tmp_path):
    torch.save(timm.create_model("resnet50").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(UserError, match="resnet18"):
        TimmBackbone("resnet18", 2, weights=str(tmp_path / "weights.pth"))
