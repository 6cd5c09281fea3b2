"""The transformer of TokenPose: positions, tokens that see each other, mistakes in sizes."""

import math

import pytest
import torch

from dlcexp.errors import UserError
from dlcexp.models.necks import Transformer
from dlcexp.models.necks.transformer import _Attention, sine_embedding

SMALL = {
    "feature_size": [8, 4],
    "patch_size": [4, 2],
    "num_keypoints": 3,
    "dim": 16,
    "depth": 2,
    "heads": 4,
    "channels": 5,
}


def make(**keywords):
    torch.manual_seed(0)
    return Transformer(**{**SMALL, **keywords}).eval()


def test_the_attention_is_that_of_torch():
    torch.manual_seed(0)
    ours = _Attention(16, heads=4, dropout=0.0)
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.to_qkv.weight)
        theirs.in_proj_bias.zero_()
        theirs.out_proj.load_state_dict(ours.to_out[0].state_dict())
    tokens = torch.randn(2, 7, 16)
    torch.testing.assert_close(ours(tokens), theirs(tokens, tokens, tokens)[0])


def test_positions_are_waves_down_and_across():
    embedding = sine_embedding(4, 6, 8).view(4, 6, 8)
    for row in range(4):
        for column in range(6):
            down, across = 2 * math.pi * (row + 1) / 4, 2 * math.pi * (column + 1) / 6
            # The second frequency of two is 10000 ** (-2 / 4).
            angles = [down, down / 100, across, across / 100]
            expected = [wave(angle) for angle in angles for wave in (math.sin, math.cos)]
            assert embedding[row, column].tolist() == pytest.approx(expected, abs=1e-5)


def test_patches_are_read_row_by_row():
    features = torch.arange(8 * 4.0).view(1, 1, 8, 4)
    patches = make(channels=1)._patches(features)
    assert patches.shape == (1, 4, 8)
    assert patches[0, 1].tolist() == [2, 3, 6, 7, 10, 11, 14, 15]
    assert patches[0, 2].tolist() == [16, 17, 20, 21, 24, 25, 28, 29]


@pytest.mark.parametrize("kind", ["sine-full", "sine", "learnable"])
def test_the_position_of_a_patch_matters(kind):
    neck = make(pos_embedding_type=kind)
    features = torch.randn(2, 5, 8, 4)
    tokens = neck(features)
    assert tokens.shape == (2, 3, 3 * 16)
    swapped = torch.cat([features[:, :, 4:], features[:, :, :4]], dim=2)
    assert not torch.allclose(neck(swapped), tokens, atol=1e-5)
    torch.nn.init.zeros_(neck.pos_embedding)
    torch.testing.assert_close(neck(swapped), neck(features))


@pytest.mark.parametrize("kind", ["sine-full", "sine", "learnable"])
@pytest.mark.parametrize("initialized", [True, False])
def test_gradients_reach_all_that_is_learned(kind, initialized):
    neck = make(pos_embedding_type=kind, apply_init=initialized).train()
    neck(torch.randn(2, 5, 8, 4)).square().sum().backward()
    assert neck.pos_embedding.requires_grad == (kind == "learnable")
    learned = {name: p.grad for name, p in neck.named_parameters() if p.requires_grad}
    assert not [name for name, grad in learned.items() if grad is None or not grad.any()]
    assert all(grad.isfinite().all() for grad in learned.values())


def test_keypoints_start_apart():
    tokens = make()(torch.randn(1, 5, 8, 4))[0]
    assert not torch.allclose(tokens[0], tokens[1], atol=1e-5)


def test_initial_weights_are_those_of_vision_transformers():
    linear = make(apply_init=True, dim=128).transformer1.layers[0][0].fn.fn.to_out[0]
    assert linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not linear.bias.any()


def test_another_size_of_crops_is_named():
    with pytest.raises(UserError, match=r"feature_size: \[8, 4\].*\[8, 8\].*top_down_crop"):
        make()(torch.randn(1, 5, 8, 8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": [3, 2]}, r"patch_size: \[3, 2\] .*feature_size=\[8, 4\]"),
        ({"heads": 3}, "heads: 3 .*dim=16"),
        ({"dim": 18, "heads": 2}, "dim: 18"),
        ({"pos_embedding_type": "sin"}, "'sin'.*'sine'"),
    ],
    ids=["patches", "heads", "dim", "positions"],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(UserError, match=message):
        make(**change)
