"""Heads: the adaptive convolution against torchvision's, initial weights, strides."""

import pytest
import torch
from torch import nn
from torchvision.ops import deform_conv2d

from dlcexp.errors import ConfigError
from dlcexp.models.heads.base import initialize
from dlcexp.models.heads.dekr import AdaptBlock
from dlcexp.models.heads.heatmap import DeconvModule


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


@pytest.mark.parametrize("scheme", ["dekr", "normal"])
def test_initial_weights_are_small_and_batch_norm_is_the_identity(scheme):
    module = nn.Sequential(nn.Conv2d(64, 64, 3), nn.BatchNorm2d(64), nn.ConvTranspose2d(64, 64, 3))
    nn.init.uniform_(module[1].weight)
    initialize(module, scheme)
    for layer in (module[0], module[2]):
        assert layer.weight.std().item() == pytest.approx(0.001, rel=0.05)
        assert not layer.bias.any()
    assert (module[1].weight == 1).all()


def test_an_unknown_initialisation_is_named():
    with pytest.raises(ConfigError, match=r"'norml'.*Did you mean 'normal'"):
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
