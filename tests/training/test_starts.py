"""What a network starts from: published weights where they can be had, and the same on resuming."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from hub_support import Hub, publish, running_hub, use
from omegaconf import DictConfig
from parity_support import Parity
from torch import nn
from training_support import FAST

from dlcexp.composition import compose
from dlcexp.config.build import plain
from dlcexp.deeplabcut.export import export_config
from dlcexp.errors import ConfigError, UserError
from dlcexp.models.backbones import TimmBackbone
from dlcexp.runs.started_from import start_of
from dlcexp.training import Run, train
from dlcexp.training.starts import settled

Tree = Callable[..., DictConfig]

MODEL = "test_resnet.r160_in1k"
ADDRESS = f"hf://timm/{MODEL}"
# A short training of the small tree, from whatever can be had.
AUTO = {
    **FAST,
    "epochs": 2,
    "model.backbone.weights": "auto",
    "model.backbone.freeze_bn_stats": "auto",
}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub with the weights of the small tree's backbone."""
    with running_hub(tmp_path / "hub") as hub:
        publish(hub, ADDRESS, timm.create_model(MODEL).state_dict())
        yield hub


def published(hub: Hub) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(hub.folder / "timm" / MODEL / "model.safetensors")


def log(run: Run) -> str:
    return (run.folder / "log.txt").read_text(encoding="utf-8")


def test_published_weights_are_the_start_and_stated(
    hub: Hub, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(hub, tmp_path / "cache", monkeypatch)
    run = train(tree({**AUTO, "weights.freeze": ["backbone"]}), tmp_path / "run")
    assert run.cfg.model.backbone.weights == ADDRESS
    assert run.cfg.model.backbone.freeze_bn_stats is True
    assert f"start: ImageNet, {MODEL}" in log(run)
    stem = run.model().backbone.model.conv1[0].weight
    torch.testing.assert_close(stem, published(hub)["conv1.0.weight"])


def test_without_hub_and_cache_a_run_starts_from_random_weights_and_says_so(
    hub: Hub, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    use(hub, tmp_path / "cache", monkeypatch, offline=True)
    with caplog.at_level(logging.WARNING, "dlcexp"):
        run = train(tree(AUTO), tmp_path / "run")
    assert run.cfg.model.backbone.weights is None
    assert run.cfg.model.backbone.freeze_bn_stats is False
    assert "start: random" in log(run)
    loud = [record.message for record in caplog.records if "RANDOM WEIGHTS" in record.message]
    assert len(loud) == 1
    assert "model.backbone.weights=FILE" in loud[0]


@pytest.mark.slow
def test_a_resumed_run_keeps_its_start(
    hub: Hub, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun offline, it stays random when the hub is there; begun with it, it needs no hub."""
    use(hub, tmp_path / "cache", monkeypatch, offline=True)
    train(tree({**AUTO, "epochs": 1}), tmp_path / "random")
    use(hub, tmp_path / "cache", monkeypatch)
    run = train(tree(AUTO), tmp_path / "random")
    assert run.cfg.model.backbone.weights is None
    with pytest.raises(ConfigError, match=r"resume.*model\.backbone\.weights"):
        train(tree({**AUTO, "epochs": 3, "model.backbone.weights": "imagenet"}), run.folder)

    train(tree({**AUTO, "epochs": 1}), tmp_path / "pretrained")
    use(hub, tmp_path / "other cache", monkeypatch, offline=True)
    again = train(tree({**AUTO, "model.backbone.weights": "imagenet"}), tmp_path / "pretrained")
    assert again.cfg.model.backbone.weights == ADDRESS


def test_weights_that_are_asked_for_are_needed(
    hub: Hub, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(hub, tmp_path / "cache", monkeypatch, offline=True)
    with pytest.raises(UserError, match=r"weights: hf://timm/test_resnet.*weights=random"):
        train(tree({**AUTO, "model.backbone.weights": "imagenet"}), tmp_path / "run")
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize(
    ("typed", "weights"),
    [
        ([], "auto"),
        (["weights=auto"], "auto"),
        (["weights=imagenet"], "imagenet"),
        (["weights=random"], None),
        (["weights=random", "model.backbone.weights=imagenet"], "imagenet"),
    ],
)
def test_weights_is_short_for_the_start_of_the_backbone(typed: list[str], weights: Any) -> None:
    cfg = compose("project=demo", "net_type=dekr_w18", *typed)
    assert cfg.model.backbone.weights == weights


def test_what_auto_became_holds_for_all_jobs_of_a_sweep(
    hub: Hub, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(hub, tmp_path / "cache", monkeypatch, offline=True)
    known: dict[str, str | None] = {}
    first = settled(plain(tree(AUTO)), known)
    use(hub, tmp_path / "cache", monkeypatch)
    second = settled(plain(tree({**AUTO, "seed": 1})), known)
    assert start_of(first) == start_of(second) == "random"
    assert len(known) == 1
    assert start_of(settled(plain(tree(AUTO)), {})) == f"ImageNet, {MODEL}"


def test_a_file_of_a_backbone_alone_is_its_start(
    hub: Hub, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(published(hub), tmp_path / "backbone.pth")
    changes = {"weights.path": str(tmp_path / "backbone.pth"), "weights.freeze": ["backbone"]}
    run = train(tree({**AUTO, **changes, "model.backbone.weights": None}), tmp_path / "run")
    assert "backbone.pth" in log(run)
    stem = run.model().backbone.model.conv1[0].weight
    torch.testing.assert_close(stem, published(hub)["conv1.0.weight"])


@pytest.mark.parametrize("freeze", ["auto", True, False])
def test_statistics_are_frozen_by_default_where_weights_are_pretrained(
    tmp_path: Path, freeze: Any
) -> None:
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "weights.pth")
    for weights, frozen in ((None, False), (str(tmp_path / "weights.pth"), True)):
        backbone = TimmBackbone("resnet10t", 2, weights=weights, freeze_bn_stats=freeze).train()
        norms = [layer for layer in backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
        expected = frozen if freeze == "auto" else freeze
        assert all(layer.training != expected for layer in norms)
    backbone = TimmBackbone("resnet10t", 2, freeze_bn_stats=freeze).train()
    backbone.load_state_dict(backbone.state_dict())
    assert backbone.freeze_bn_stats == (freeze is not False)


def test_starts_in_words(tree: Tree) -> None:
    dino = "vit_small_patch14_dinov2.lvd142m"
    words = {
        "hf://timm/hrnet_w32.ms_in1k": "ImageNet, hrnet_w32.ms_in1k",
        f"hf://timm/{dino}": f"self-supervised, {dino}",
        "hf://DeepLabCut/DeepLabCut-Backbones/cspnext_m.pt": "human poses, cspnext_m.pt",
        "/weights/mine.pth": "/weights/mine.pth",
        None: "random",
    }
    for weights, text in words.items():
        assert start_of(plain(tree({"model.backbone.weights": weights}))) == text


@pytest.mark.slow
def test_a_file_without_pretrained_weights_starts_from_random_ones(
    parity: Parity, tmp_path: Path
) -> None:
    """`pretrained: false` of a file is kept, and does not decide on other jobs of a sweep."""
    typed = [f"project={parity.project('flies13')}", "net_type=dlcrnet_stride16_ms5"]
    known = {"dlcexp.models.backbones.DLCRNet resnet50": "hf://timm/resnet50.a1_in1k"}
    without = compose(*typed, "model.backbone.pretrained=false")
    assert start_of(settled(plain(without), known)) == "random"
    assert start_of(settled(plain(compose(*typed)), known)) == "ImageNet, resnet50.a1_in1k"
    file = tmp_path / "pytorch_config.yaml"
    for net_type in ("dlcrnet_stride16_ms5", "resnet_50"):
        content = yaml.safe_load(parity.config("flies13", net_type))
        content["model"]["backbone"]["pretrained"] = False
        file.write_text(yaml.safe_dump(content))
        cfg = compose(typed[0], f"pytorch_config={file}")
        assert start_of(settled(plain(cfg), {})) == "random"
        assert yaml.safe_load(export_config(cfg))["model"]["backbone"]["pretrained"] is False
