"""Losses of every family of models: the same in both memory formats, finite in bfloat16."""

import copy
from collections.abc import Callable

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from omegaconf import DictConfig

import dlcexp
from dlcexp.runs.stages import pose_stage
from dlcexp.training.pose_module import PoseModule

Tree = Callable[..., DictConfig]

SIDE = 64
SMALL = [
    "model/backbone=timm",
    "model.backbone.model_name=test_resnet.r160_in1k",
    "model.backbone.feature_level=1",
]
FAMILIES = {
    "heatmap": ["method=td", *SMALL],
    "DEKR": ["model=dekr"],  # on HRNet
    "PAF": ["model=paf", *SMALL],
    "RTMPose": ["net_type=rtmpose_s"],  # on CSPNeXt
    "TokenPose": ["method=td", "model=tokenpose", *SMALL],
}


def module(words: list[str], memory_format: str = "contiguous") -> PoseModule:
    crop = [f"data.top_down_crop.{side}={SIDE}" for side in ("width", "height")]
    top_down = any(word in ("method=td", "net_type=rtmpose_s") for word in words)
    unfrozen = [] if words == ["model=dekr"] else ["model.backbone.freeze_bn_stats=false"]
    cfg = dlcexp.compose(
        *words, *unfrozen, *(crop if top_down else []), f"trainer.memory_format={memory_format}"
    )
    torch.manual_seed(0)
    return PoseModule(dlcexp.build(cfg.model), None, cfg, pose_stage(cfg))  # type: ignore[arg-type]


def labelled(of: PoseModule) -> dict[str, torch.Tensor]:
    """Two images with one animal each."""
    metadata = of.cfg.metadata
    keypoints = torch.full((2, 1, metadata.num_bodyparts + of.cfg.with_center_keypoints, 3), 2.0)
    generator = torch.Generator().manual_seed(0)
    keypoints[..., :2] = torch.rand(keypoints[..., :2].shape, generator=generator) * SIDE
    images = torch.randn(2, 3, SIDE, SIDE, generator=generator)
    return {"image": images, "keypoints": keypoints, "area": torch.full((2, 1), 400.0)}


@pytest.mark.slow
@pytest.mark.parametrize("words", FAMILIES.values(), ids=FAMILIES)
def test_memory_formats_differ_in_rounding_only(words: list[str]) -> None:
    plain = module(words)
    last = PoseModule(
        copy.deepcopy(plain.model),
        None,  # type: ignore[arg-type]
        module(words, "channels_last").cfg,
        plain.stage,
    )
    batch = labelled(plain)
    losses = []
    for each in (plain, last):
        # Batch norm over so few pixels magnifies the rounding of single precision.
        each.model.double()
        losses.append(each.losses({**batch, "image": batch["image"].double()}))
        losses[-1]["total_loss"].backward()
    assert losses[0].keys() == losses[1].keys()
    for name, value in losses[0].items():
        torch.testing.assert_close(losses[1][name], value, rtol=1e-4, atol=1e-6)
    kernel, other = (each.model.get_parameter(first_kernel(each)) for each in (plain, last))
    assert kernel.is_contiguous()
    assert other.is_contiguous(memory_format=torch.channels_last)
    scale = kernel.grad.abs().max()
    torch.testing.assert_close(other.grad / scale, kernel.grad / scale, rtol=0, atol=1e-3)


def first_kernel(of: PoseModule) -> str:
    """Name of the first parameter that has two formats."""
    return next(name for name, p in of.model.named_parameters() if p.ndim == 4 and p.shape[1] > 1)


@pytest.mark.parametrize("words", FAMILIES.values(), ids=FAMILIES)
def test_losses_are_finite_and_single_precision_under_bfloat16(words: list[str]) -> None:
    trained = module(words)
    batch = labelled(trained)
    with MixedPrecision("bf16-mixed", "cpu").forward_context():
        outputs = trained.model(batch["image"])
        targets = trained.model.targets(outputs, batch)
        losses = trained.losses(batch)
    assert torch.bfloat16 in {values.dtype for values in outputs["bodypart"].values()}
    drawn = [entry for one in targets["bodypart"].values() for entry in one.values()]
    assert {entry.dtype for entry in drawn} == {torch.float32}
    losses["total_loss"].backward()
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    assert all(p.grad is not None for p in trained.model.parameters() if p.requires_grad)
