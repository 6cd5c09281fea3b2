"""A network made ready for many frames gives the maps of the model that it was made of."""

import copy

import pytest
import torch

from dlcexp import build, compose
from dlcexp.inference.network import TorchNetwork, fold_batch_norms

NORMS = torch.nn.modules.batchnorm._BatchNorm


def lively(model: torch.nn.Module) -> torch.nn.Module:
    """The model in evaluation mode, its batch norms with statistics as of training."""
    torch.manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, NORMS):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.normal_(layer.bias, 0, 0.1)
    return model.eval()


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["32", "bf16"])
@pytest.mark.parametrize("choice", ["dekr", "paf"])
def test_maps_are_those_of_the_model(
    tiny: list[str], choice: str, dtype: torch.dtype | None
) -> None:
    model = lively(build(compose(f"model={choice}", *tiny).model))
    network = TorchNetwork(copy.deepcopy(model), torch.device("cpu"), dtype)
    with torch.inference_mode():
        for batch, height, width in ((2, 64, 96), (1, 96, 64)):
            images = torch.randn(batch, 3, height, width)
            for head, maps in model(images).items():
                for name, expected in maps.items():
                    found = network(images)[head][name].float()
                    scale = float(expected.abs().max())
                    limit = 1e-4 if dtype is None else 0.05
                    assert float((found - expected).abs().max()) < limit * scale


def test_batch_norms_vanish_into_the_convolutions_before_them() -> None:
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, bias=False),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.BatchNorm2d(4),  # follows no convolution
    )
    model = lively(layers)
    images = torch.randn(1, 3, 8, 8)
    expected = model(images)
    assert fold_batch_norms(model, images) == 1
    assert [isinstance(layer, NORMS) for layer in model] == [False, False, False, True]
    torch.testing.assert_close(model(images), expected)
