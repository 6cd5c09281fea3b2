"""Backbones: strides and channels, frozen batch norm, weights, and mistakes in names."""

import logging

import cv2
import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn

from dlcexp.config.resolvers import timm_feature_info
from dlcexp.errors import ConfigError, UserError
from dlcexp.models.backbones import (
    CondPreNet,
    CSPNeXt,
    DLCRNet,
    HRNet,
    HRNetCoAM,
    ResNet,
    StackedKeypointEncoder,
    TimmBackbone,
)


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


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_resnet_is_that_of_torchvision_dilated_alike(output_stride):
    torch.manual_seed(0)
    dilated = [False, output_stride == 8, output_stride <= 16]
    expected = torchvision.models.resnet50(replace_stride_with_dilation=dilated).eval()
    backbone = ResNet("resnet50", output_stride=output_stride).eval()
    backbone.model.load_state_dict(expected.state_dict(), strict=False)
    layers = nn.Sequential(*list(expected.children())[:-2])
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        features = backbone(images)
        torch.testing.assert_close(features, layers(images), rtol=1e-4, atol=1e-4)
    assert backbone.stride == output_stride
    assert features.shape == (1, backbone.out_channels, 64 // output_stride, 96 // output_stride)


@pytest.mark.parametrize("output_stride", [16, 32])
def test_dlcrnet_adds_its_finer_stages_to_a_resnet(output_stride):
    backbone = DLCRNet("resnet26", output_stride=output_stride).eval()
    resnet = ResNet("resnet26", output_stride=output_stride).eval()
    resnet.model.load_state_dict(backbone.model.state_dict())
    images = torch.randn(1, 3, 96, 160)
    with torch.no_grad():
        features = backbone(images)
        torch.testing.assert_close(features[:, 256:], resnet(images))
    assert features.shape == (1, 2304, 96 // output_stride, 160 // output_stride)
    assert (backbone.stride, backbone.out_channels) == (output_stride, 2304)


def test_another_output_stride_is_named():
    with pytest.raises(ConfigError, match=r"output_stride: 8.* 16, 32"):
        DLCRNet("resnet50", output_stride=8)
    with pytest.raises(ConfigError, match=r"output_stride: 4.* 8, 16, 32"):
        ResNet("resnet50", output_stride=4)


NAMES_IN_FILES = {
    "timm": [],
    "MMPose": [
        ("stages.0", "stage1"),
        ("stages.1", "stage2"),
        ("stages.2", "stage3"),
        ("stages.3", "stage4"),
        ("", "backbone."),
    ],
    "DeepLabCut": [
        ("stages.0", "stage1"),
        ("stages.1", "stage2"),
        ("stages.2", "stage3"),
        ("stages.3", "stage4"),
        (".bn.", ".norm."),
    ],
}


@pytest.mark.parametrize("names", NAMES_IN_FILES.values(), ids=NAMES_IN_FILES)
def test_cspnext_is_that_of_timm_with_the_weights_of_a_file(tmp_path, names):
    torch.manual_seed(0)
    expected = timm.create_model("cspnext_tiny", pretrained=False).eval()
    weights = expected.state_dict()
    for old, new in names:
        weights = {name.replace(old, new, 1): value for name, value in weights.items()}
    torch.save(weights, tmp_path / "weights.pth")
    backbone = CSPNeXt("cspnext_tiny", weights=str(tmp_path / "weights.pth")).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        features = backbone(images)
        torch.testing.assert_close(features, expected.forward_features(images))
    assert features.shape == (1, backbone.out_channels, 2, 3)


@pytest.mark.parametrize(("deepen", "widen"), [(0.33, 0.25), (0.67, 0.5), (None, None)])
def test_cspnext_is_as_deep_and_wide_as_told(deepen, widen):
    backbone = CSPNeXt("cspnext_s", deepen_factor=deepen, widen_factor=widen)
    assert backbone.out_channels == 1024 * (widen or 0.5)
    blocks = [len(stage[-1].blocks) for stage in list(backbone.children())[1:]]
    assert blocks == [max(1, round(n * (deepen or 0.33))) for n in (3, 6, 6, 3)]


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


@pytest.mark.parametrize(
    ("backbone_class", "arguments"),
    [(TimmBackbone, ("resnet18", 1)), (ResNet, ("resnet18",)), (CSPNeXt, ("cspnext_tiny",))],
    ids=["timm", "resnet", "cspnext"],
)
def test_frozen_statistics_stay_and_the_rest_trains(backbone_class, arguments):
    backbone = backbone_class(*arguments, freeze_bn_stats=True, freeze_bn_weights=True)
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    backbone.train()
    backbone(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())
    for layer in backbone.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert not layer.training
            assert layer.weight.grad is None
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.grad is not None


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
    assert "model.backbone.freeze_bn_stats=auto" in caplog.text


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
        ({"model_name": "resnet5o"}, "resnet5o.*'resnet50'"),
        ({"weights": "nowhere.pth"}, r"'nowhere\.pth'"),
        ({"feature_level": 9}, r"\b9\b.* 0 .*2.*64"),
        ({"weights": "hub"}, "resnet18"),
    ],
    ids=["unknown name", "no such file", "no such level", "offline"],
)
def test_mistakes_are_named(monkeypatch, kwargs, message):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=message):
        TimmBackbone(**{"model_name": "resnet18", "feature_level": 1, **kwargs})


@pytest.mark.slow
@pytest.mark.parametrize("other", ["resnet18", "mobilenetv2_050", "cspnext_s"])
@pytest.mark.parametrize(
    "make",
    [
        lambda weights: TimmBackbone("resnet34", 2, weights=weights),
        lambda weights: HRNet("hrnet_w18_small", weights=weights),
        lambda weights: ResNet("resnet34", weights=weights),
        lambda weights: CSPNeXt("cspnext_tiny", weights=weights),
    ],
    ids=["timm", "hrnet", "resnet", "cspnext"],
)
def test_weights_of_another_model_are_refused(tmp_path, make, other):
    path = str(tmp_path / "weights.pth")
    torch.save(timm.create_model(other).state_dict(), path)
    with pytest.raises(UserError, match=r"weights\.pth"):
        make(path)


def test_loading_weights_draws_no_more_than_random_ones_do(tmp_path):
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "weights.pth")
    after = []
    for weights in (None, str(tmp_path / "weights.pth")):
        torch.manual_seed(0)
        ResNet("resnet18", weights=weights)
        after.append(torch.rand(1))
    assert after[0] == after[1]


def test_a_condition_is_drawn_as_opencv_blurs_its_point():
    conditions = torch.tensor([[[[20.7, 9.2, 0.4], [3.0, 40.0, 1.0], [9.0, 9.0, 0.0], [99, 9, 1]]]])
    maps = StackedKeypointEncoder(4, kernel_size=(15, 7))(conditions, 48, 64).numpy()
    assert maps.shape == (1, 4, 48, 64)
    for drawn, (x, y) in zip(maps[0, :2], [(19, 8), (2, 39)], strict=True):
        point = np.zeros((48, 64))
        point[y, x] = 1
        blurred = cv2.GaussianBlur(point, (15, 7), 0)
        np.testing.assert_allclose(drawn, 255 * blurred / blurred.max(), atol=1e-3)
    assert not maps[0, 2:].any()  # of score 0, and outside


def test_an_even_blob_is_refused():
    with pytest.raises(ConfigError, match=r"kernel_size: \[14, 15\]"):
        StackedKeypointEncoder(4, kernel_size=(14, 15))


def test_attention_can_follow_several_stages_of_crops_that_are_not_square():
    backbone = HRNetCoAM(
        "hrnet_w18", StackedKeypointEncoder(2), (64, 96), coam_modules=[1, 3], att_heads=2
    )
    assert {"coam_stages.0", "coam_stages.2"} <= {name for name, _ in backbone.named_modules()}
    conditions = torch.tensor([[[[20.0, 9.0, 1.0], [3.0, 40.0, 1.0]]]])
    backbone.eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        features = backbone(images, conditions)
        moved = backbone(images, conditions + 9)
    assert features.shape == (1, 18, 16, 24)
    assert not torch.equal(features, moved)


def test_attention_after_the_last_stage_is_refused():
    with pytest.raises(ConfigError, match=r"coam_modules: 4 .*1, 2, 3"):
        HRNetCoAM("hrnet_w18", StackedKeypointEncoder(2), (64, 64), coam_modules=[4])


def test_conditions_are_read_once():
    inner = CondPreNet(TimmBackbone("resnet10t", 2), StackedKeypointEncoder(2))
    with pytest.raises(ConfigError, match=r"model\.backbone\.backbone: "):
        CondPreNet(inner, StackedKeypointEncoder(2))
