"""DeepLabCut loads what dlcexp exports: the configuration, and a snapshot's weights strictly."""

import json

import numpy as np
import pytest
import torch

from dlcexp.composition import compose
from dlcexp.config.build import build
from dlcexp.config.options import options
from dlcexp.deeplabcut.export import export_config
from dlcexp.deeplabcut.snapshots import Snapshot, save_snapshot
from dlcexp.models.backbones import Backbone


@pytest.mark.slow
@pytest.mark.parametrize("net_type", ["dekr_w32", "hrnet_w32"])
def test_the_same_weights_give_the_same_maps_and_poses(
    deeplabcut, pair_project, tmp_path, net_type
):
    torch.manual_seed(0)
    cfg = compose(f"project={pair_project}", f"net_type={net_type}")
    model = build(cfg.model, key="model").eval()
    (tmp_path / "pytorch_config.yaml").write_text(export_config(cfg))
    save_snapshot(tmp_path / "snapshot-003.pt", Snapshot(epoch=3, model=model.state_dict()))
    images = torch.randn(2, 3, 96, 128)
    np.save(tmp_path / "images.npy", images.numpy())
    said = deeplabcut(
        "load_run",
        tmp_path / "pytorch_config.yaml",
        tmp_path / "snapshot-003.pt",
        tmp_path / "images.npy",
        tmp_path / "theirs.npz",
    )
    assert said == {"net_type": net_type, "epoch": 3}
    theirs = np.load(tmp_path / "theirs.npz")
    with torch.inference_mode():
        outputs = model(images)
    for name, ours in outputs["bodypart"].items():
        expected = theirs[f"bodypart/{name}"]
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    if "poses" in theirs:
        with torch.inference_mode():
            poses = model.predict(outputs)["bodypart"]["poses"]
        np.testing.assert_allclose(poses, theirs["poses"][..., :3], atol=0.01)


@pytest.mark.slow
def test_a_schedule_within_a_schedule_and_another_optimizer_load_too(
    deeplabcut, mouse_project, tmp_path
):
    cfg = compose(
        f"project={mouse_project}",
        "optimizer=sgd",
        "optimizer.momentum=0.9",
        "scheduler=sequential_lr",
        "data.resize.width=320",
        "data.resize.height=240",
    )
    (tmp_path / "pytorch_config.yaml").write_text(export_config(cfg))
    said = deeplabcut("load_schedule", tmp_path / "pytorch_config.yaml")
    assert said["optimizer"] == "SGD"
    assert said["momentum"] == 0.9
    assert said["rates"][0] == pytest.approx(0.1 * cfg.optimizer.lr)
    assert said["rates"][5] == pytest.approx(cfg.optimizer.lr)


# Ours are not trained, theirs get no gradient: nothing reads these branches of HRNet.
UNREAD = ("stage4.2.fuse_layers", "incre_modules")
# Of each family the smallest: the records of parity have the names and shapes of the others.
LARGER = ("_w48", "_m", "_x", "_x_human", "_101", "coam_w48")


@pytest.mark.slow
def test_every_net_type_loads_takes_our_weights_and_trains_the_same_layers(
    deeplabcut, pair_project, tmp_path
):
    """Names and shapes of all weights are what a strict load asks for."""
    files, models = [], []
    for name in options("net_type"):
        if name.endswith(LARGER):
            continue
        cfg = compose(f"project={pair_project}", f"net_type={name}")
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(export_config(cfg))
        with torch.device("meta"):
            models.append(build(cfg.model, key="model"))
        for module in models[-1].modules():  # as DeepLabCut, which starts from pretrained weights
            if isinstance(module, Backbone):
                module.weights_were_loaded()
        models[-1].train()
    deeplabcut("load_exports", tmp_path / "theirs.json", *files)
    found = json.loads((tmp_path / "theirs.json").read_text())
    for file, model, theirs in zip(files, models, found, strict=True):
        entries = [[key, list(tensor.shape)] for key, tensor in model.state_dict().items()]
        assert entries == theirs["entries"], file.stem
        batch_norms = {
            name: [layer.training, layer.weight.requires_grad, layer.momentum]
            for name, layer in model.named_modules()
            if isinstance(layer, torch.nn.BatchNorm2d)
        }
        for name, *expected in theirs["batch_norms"]:
            if not any(part in name for part in UNREAD):
                assert batch_norms[name] == expected, f"{file.stem}: {name}"
