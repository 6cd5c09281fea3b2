"""Heads: the adaptive convolution against torchvision's, initial weights, strides."""

import pytest
import torch
from torch import nn
from torchvision.ops import deform_conv2d

from dlcexp.errors import ConfigError
from dlcexp.models.heads.base import initialize
from dlcexp.models.heads.dekr import AdaptBlock
from dlcexp.models.heads.heatmap import DeconvModule
from dlcexp.models.heads.rtmpose import GatedAttentionUnit, RTMCCHead


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("size", [(7, 9), (1, 5), (12, 1)])
def test_the_adaptive_convolution_is_a_deformable_one(dilation, size):
    torch.manual_seed(0)
    block = AdaptBlock(4, dilation)
    features = torch.randn(2, 4, *size, requires_grad=True)
    matrix = block.transform_matrix_conv(features).permute(0, 2, 3, 1).reshape(2, -1, 2, 2)
    translation = block.translation_conv(features).permute(0, 2, 3, 1).reshape(2, -1, 2, 1)
    offset = matrix @ block.regular_matrix - block.regular_matrix + translation
    offset = offset.transpose(2, 3).reshape(2, *size, 18).permute(0, 3, 1, 2)
    expected = deform_conv2d(
        features, offset, block.adapt_conv.weight, padding=dilation, dilation=dilation
    )
    actual = block._adaptive_convolution(features)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    wanted = torch.autograd.grad(expected.square().sum(), [features, *leaves(block)])
    got = torch.autograd.grad(actual.square().sum(), [features, *leaves(block)])
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def leaves(block):
    """Parameters of the convolution and of what moves its taps."""
    return [
        block.adapt_conv.weight,
        block.translation_conv.weight,
        block.transform_matrix_conv.weight,
    ]


def test_in_half_precision_the_taps_stay_where_they_are():
    """In bfloat16 the positions of pixels from 128 on would be whole numbers."""
    torch.manual_seed(0)
    block = AdaptBlock(4)
    features = torch.randn(1, 4, 8, 400).bfloat16()
    with torch.inference_mode():
        exact = block._adaptive_convolution(features.float())
        rough = block.bfloat16()._adaptive_convolution(features)
    assert (rough - exact).abs().mean() < 0.05 * exact.std()


@pytest.mark.parametrize("scheme", ["dekr", "normal"])
def test_initial_weights_are_small_and_batch_norm_is_the_identity(scheme):
    module = nn.Sequential(nn.Conv2d(64, 64, 3), nn.BatchNorm2d(64), nn.ConvTranspose2d(64, 64, 3))
    nn.init.uniform_(module[1].weight)
    initialize(module, scheme)
    for layer in (module[0], module[2]):
        assert layer.weight.std().item() == pytest.approx(0.001, rel=0.05)
        assert not layer.bias.any()
    assert (module[1].weight == 1).all()


def test_the_initial_weights_of_rtmpose_are_small_in_linear_layers_too():
    module = nn.Sequential(nn.Conv2d(64, 64, 3), nn.Linear(256, 256))
    initialize(module, "RTMPose")
    assert module[0].weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert module[1].weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not module[1].bias.any()


def test_an_unknown_initialisation_is_named():
    with pytest.raises(ConfigError, match=r"'norml'.*'normal'"):
        initialize(nn.Conv2d(1, 1, 1), "norml")


def test_the_stride_of_a_head_is_that_of_all_its_layers():
    module = DeconvModule(channels=[4, 8, 2], kernel_size=[3, 3], strides=[2, 2])
    assert module.stride == 4
    assert module(torch.randn(1, 4, 5, 5)).shape == (1, 2, 23, 23)
    final = DeconvModule([4], [], [], final_conv={"out_channels": 3, "kernel_size": 1})
    assert final.stride == 1
    assert final(torch.randn(1, 4, 5, 5)).shape == (1, 3, 5, 5)


def test_lists_that_do_not_fit_together_are_named():
    with pytest.raises(ConfigError, match=r"strides=\[2, 2\]"):
        DeconvModule(channels=[4, 2], kernel_size=[3], strides=[2, 2])


def rtmpose_head(input_size, in_featuremap_size, **gau_cfg):
    """A head of five keypoints on eight channels, without what only training needs."""
    return RTMCCHead(
        input_size=input_size,
        in_channels=8,
        out_channels=5,
        in_featuremap_size=in_featuremap_size,
        simcc_split_ratio=2.0,
        final_layer_kernel_size=7,
        gau_cfg={"hidden_dims": 16, "s": 4, **gau_cfg},
        target_generator=None,
        criterion={},
        predictor=nn.Identity(),
    )


@pytest.mark.parametrize(("width", "height"), [(192, 256), (64, 32)])
def test_rtmpose_has_two_bins_per_pixel_of_its_images(width, height):
    head = rtmpose_head([width, height], [width // 32, height // 32])
    logits = head(torch.randn(2, 8, height // 32, width // 32))
    assert logits["x"].shape == (2, 5, 2 * width)
    assert logits["y"].shape == (2, 5, 2 * height)


def test_images_of_another_size_than_rtmpose_was_made_for_are_named():
    head = rtmpose_head([192, 256], [6, 8])
    with pytest.raises(ConfigError, match=r"\[6, 8\].* 8 .* 6 "):
        head(torch.randn(1, 8, 6, 8))


@pytest.mark.parametrize("use_rel_bias", [False, True])
def test_gated_attention_by_hand(use_rel_bias):
    torch.manual_seed(0)
    unit = GatedAttentionUnit(3, hidden_dims=6, s=4, use_rel_bias=use_rel_bias).eval()
    with torch.no_grad():
        for parameter in unit.parameters():
            nn.init.normal_(parameter)
        keypoints = torch.randn(1, 3, 6)
        actual = unit(keypoints)[0]
        rows = keypoints[0]
        normed = rows / rows.square().mean(dim=1, keepdim=True).sqrt() * unit.ln.g
        mixed = nn.functional.silu(normed @ unit.uv.weight.T)
        gate, value, base = mixed[:, :12], mixed[:, 12:24], mixed[:, 24:]
        query, key = base * unit.gamma[0] + unit.beta[0], base * unit.gamma[1] + unit.beta[1]
        for i in range(3):
            gathered = torch.zeros(12)
            for j in range(3):
                # The five biases belong to keypoints from two before to two behind.
                bias = unit.w[j - i + 2] if use_rel_bias else 0.0
                gathered += max(0.0, (query[i] @ key[j] + bias) / 2) ** 2 * value[j]
            expected = rows[i] * unit.res_scale.scale + unit.o.weight @ (gate[i] * gathered)
            torch.testing.assert_close(actual[i], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("gau_cfg", "message"),
    [({"act_fn": "SiLu"}, "'SiLu'.*'SiLU'"), ({"pos_enc": True}, "pos_enc")],
)
def test_an_attention_that_is_not_offered_is_named(gau_cfg, message):
    with pytest.raises(ConfigError, match=message):
        GatedAttentionUnit(3, **gau_cfg)
