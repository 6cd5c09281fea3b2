"""Starting from the weights of another run, of DeepLabCut and of SuperAnimal."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from hub_support import running_hub, use
from omegaconf import DictConfig, OmegaConf
from parity_support import Parity
from training_support import FAST, rows, weights, write_topviewmouse

from dlcexp.composition import compose
from dlcexp.config.build import build, plain
from dlcexp.deeplabcut.snapshots import load_snapshot
from dlcexp.errors import ConfigError, SnapshotError
from dlcexp.runs.started_from import start_of
from dlcexp.training import Run, train
from dlcexp.training.initial_weights import start_from
from dlcexp.training.starts import settled
from dlcexp.training.weights_file import (
    check_network_file,
    find_file,
    layout_of,
    likely_net_type,
    read_source,
    target_layout,
)

Tree = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def source(small_tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of three epochs to start from."""
    cfg = OmegaConf.create(small_tree)
    cfg.epochs, cfg.evaluation.examples = 3, 0
    return train(cfg, tmp_path_factory.mktemp("runs") / "source")


def with_weights(tree: Tree, path: Path, **changes: Any) -> DictConfig:
    return tree({**FAST, "weights.path": str(path), "epochs": 1, **changes})


def test_a_run_starts_from_the_best_snapshot_of_another(
    source: Run, tree: Tree, tmp_path: Path
) -> None:
    # Of so few steps, running statistics do not fit the weights yet.
    changes = {"model.backbone.freeze_bn_stats": False}
    run = train(with_weights(tree, source.folder, **changes), tmp_path / "run")
    record = json.loads((run.folder / "weights.json").read_text())
    assert record["file"] == str(source.best_snapshot)
    assert not record["initial"]
    assert not record["unused"]
    assert "nose, tail" in (run.folder / "log.txt").read_text()
    losses = [float(row["train.total_loss"]) for row in rows(source)]
    assert float(rows(run)[0]["train.total_loss"]) < 0.5 * (losses[0] + losses[-1])


def test_bodyparts_of_a_run_are_matched_by_name(source: Run, tree: Tree) -> None:
    """The project of the target names its bodyparts the other way round, and one is new."""
    cfg = with_weights(tree, source.folder)
    cfg.metadata.bodyparts = ["tail", "new"]
    model = build(cfg.model, key="model")
    before = model.state_dict()["heads.bodypart.heatmap_head.deconv_layers.0.bias"].clone()
    started = start_from(cfg, model)
    stored = load_snapshot(source.best_snapshot).model
    key = "heads.bodypart.heatmap_head.deconv_layers.0"
    assert torch.equal(model.state_dict()[f"{key}.weight"][:, 0], stored[f"{key}.weight"][:, 1])
    assert model.state_dict()[f"{key}.bias"][1] == before[1]
    assert dict(started.bodyparts) == {"tail": "tail", "new": None}
    assert "new" in started.text()
    assert all(len(line) <= 100 for line in started.text().splitlines())


def test_a_snapshot_alone_needs_the_names_of_its_bodyparts(
    source: Run, tree: Tree, tmp_path: Path
) -> None:
    file = Path(shutil.copy(source.best_snapshot, tmp_path / "alone.pt"))
    cfg = with_weights(tree, file)
    started = start_from(cfg, build(cfg.model, key="model"))
    assert "weights.bodyparts" in " ".join(started.text().split())
    cfg = with_weights(tree, file, **{"weights.bodyparts": ["nose", "tail"]})
    assert not start_from(cfg, build(cfg.model, key="model")).record()["initial"]
    cfg = with_weights(tree, file, **{"weights.bodyparts": ["nose", "ear", "tail"]})
    with pytest.raises(ConfigError, match=r"weights\.bodyparts: 3 "):
        start_from(cfg, build(cfg.model, key="model"))


def test_bare_weights_and_checkpoints_load_too(source: Run, tree: Tree, tmp_path: Path) -> None:
    state = load_snapshot(source.best_snapshot).model
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "bare.pt")
    for path in (tmp_path / "bare.pt", source.folder / "snapshots" / "last.ckpt"):
        found = read_source(with_weights(tree, path)).state
        assert found.keys() == state.keys()


def test_where_a_file_is_missing_the_path_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"weights\.path: .*gone"):
        find_file(str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match=r"weights\.path: .*snapshot-\*\.pt"):
        find_file(str(tmp_path))


def test_a_file_of_another_network_is_an_error_that_names_it(
    mouse_project: Path, tmp_path: Path
) -> None:
    cfg = compose(f"project={mouse_project}", "net_type=resnet_50")
    torch.save({"model": build(cfg.model, key="model").state_dict()}, tmp_path / "snapshot-001.pt")
    other = compose(f"project={mouse_project}", "net_type=rtmpose_s", f"weights={tmp_path}")
    with pytest.raises(SnapshotError, match="net_type=resnet_50"):
        start_from(other, build(other.model, key="model"))


@pytest.mark.parametrize(
    "net",
    [
        "dlcrnet_stride16_ms5", "dlcrnet_stride32_ms5",
        "hrnet_w32", "resnet_50", "resnet_101", "top_down_hrnet_w48", "top_down_resnet_50",
        "cspnext_m", "dekr_w18", "rtmpose_s", "rtmpose_x", "animaltokenpose_base", "ctd_coam_w32",
        "ctd_prenet_hrnet_w32", "ctd_prenet_rtmpose_m",
    ],
)  # fmt: skip
def test_the_names_of_its_weights_tell_the_net_type(net: str, parity: Parity) -> None:
    project = "flies13" if net.startswith("dlcrnet") else "openfield"
    state = {
        name: torch.empty([int(side) for side in shape.split("x") if side])
        for name, shape, _ in parity.entries(project, net)
    }
    assert likely_net_type(state) == net


def test_a_file_beside_the_snapshot_names_its_points(
    source: Run, parity: Parity, tmp_path: Path
) -> None:
    """A train folder of DeepLabCut, and the edges of the fields in its pytorch_config.yaml."""
    text = parity.config("flies13", "hrnet_w32")
    (tmp_path / "pytorch_config.yaml").write_text(text, encoding="utf-8")
    shutil.copy(source.best_snapshot, tmp_path / "snapshot-best-010.pt")
    project = parity.project("flies13").as_posix()
    cfg = compose(f"project={project}", "net_type=hrnet_w32", f"weights={tmp_path}")
    layout = read_source(cfg).layout
    assert layout == target_layout(cfg, None)
    names = yaml.safe_load(text)["metadata"]["bodyparts"]
    assert layout["bodypart"].edges[:2] == ((names[0], names[1]), (names[0], names[2]))
    assert layout["identity"].names == ("fly1", "fly2")


def test_a_detector_is_told_where_it_belongs(tree: Tree, tmp_path: Path) -> None:
    torch.save({"model": {"model.roi_heads.box.weight": torch.ones(1)}}, tmp_path / "d.pt")
    with pytest.raises(SnapshotError, match=r"detector\.snapshot="):
        read_source(with_weights(tree, tmp_path / "d.pt"))


def test_a_run_that_goes_on_does_not_start_from_weights_again(
    source: Run, tree: Tree, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(source.folder, tmp_path / "copy"))
    cfg = with_weights(tree, copy, epochs=2)
    whole = train(cfg, tmp_path / "whole")
    train(with_weights(tree, copy), tmp_path / "run")
    shutil.rmtree(copy)
    run = train(cfg, tmp_path / "run")
    assert "has no effect: this run is resumed" in (run.folder / "log.txt").read_text()
    assert (run.folder / "weights.json").is_file()
    expected = weights(whole)
    assert all(torch.equal(expected[name], value) for name, value in weights(run).items())


def test_factors_and_frozen_modules_of_a_run(source: Run, tree: Tree, tmp_path: Path) -> None:
    changes = {
        "weights.freeze": ["backbone.layer1"],
        "weights.lr_scale": {"backbone": 0.1},
        "trainer.save_optimizer_state": True,
        "epochs": 2,
    }
    cfg = with_weights(tree, source.folder, **changes)
    whole = train(cfg, tmp_path / "whole")
    assert [row["lr.backbone"] for row in rows(whole)] == ["5e-05", "5e-05"]
    stored = load_snapshot(source.best_snapshot).model
    trained = load_snapshot(whole.snapshots[-1])
    frozen = [name for name in stored if name.startswith("backbone.model.layer1.")]
    assert frozen
    assert all(torch.equal(stored[name], trained.model[name]) for name in frozen)
    assert trained.optimizer is None  # another number of groups than DeepLabCut's has
    train(with_weights(tree, source.folder, **{**changes, "epochs": 1}), tmp_path / "run")
    again = train(cfg, tmp_path / "run")
    expected = weights(whole)
    assert all(torch.equal(expected[name], value) for name, value in weights(again).items())


def test_a_run_with_frozen_modules_hands_its_optimizer_on(
    source: Run, tree: Tree, tmp_path: Path
) -> None:
    changes = {"weights.freeze": ["backbone"], "trainer.save_optimizer_state": True}
    run = train(with_weights(tree, source.folder, **changes), tmp_path)
    model = run.model()
    optimizer = torch.optim.AdamW(model.parameters())
    optimizer.load_state_dict(load_snapshot(run.snapshots[-1]).optimizer or {})
    with_state = {id(parameter) for parameter in optimizer.state}
    trained = {name for name, p in model.named_parameters() if id(p) in with_state}
    assert trained == {name for name, _ in model.named_parameters() if "heads." in name}


def test_a_broken_graph_beside_the_snapshot_is_told() -> None:
    head = {"predictor": {"graph": [["0", "1"], ["1", "2"]]}}
    config = {"metadata": {"bodyparts": ["nose", "tail"]}, "model": {"heads": {"bodypart": head}}}
    with pytest.raises(SnapshotError, match=r"graph.*\b2\b"):
        layout_of(config)


def flies(flies13: Path, folder: Path, bodyparts: list[str], frames: int) -> Path:
    """The project flies13 with these bodyparts only, in this order, and its first frames."""
    config = yaml.safe_load((flies13 / "config.yaml").read_text())
    config |= {"multianimalbodyparts": bodyparts, "skeleton": []}
    video = folder / "labeled-data" / "flies13a"
    video.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    labels = pd.read_hdf(flies13 / "labeled-data" / "flies13a" / "CollectedData_sleap.h5")
    labels = labels.iloc[:frames].reindex(columns=bodyparts, level="bodyparts")
    labels.to_csv(video / "CollectedData_sleap.csv")
    for *_, image in labels.index:
        shutil.copy(flies13 / "labeled-data" / "flies13a" / image, video / image)
    return folder


@pytest.mark.slow
def test_flies_of_fewer_bodyparts_in_another_order_start_well_trained(
    flies13: Path, tmp_path: Path
) -> None:
    """The loss before the first step, on real frames: a run's weights, and random ones."""
    everything = yaml.safe_load((flies13 / "config.yaml").read_text())["multianimalbodyparts"]
    some = ["wingR", "eyeL", "thorax", "head", "abdomen"]
    assert [name for name in everything if name in some] != some
    before = flies(flies13, tmp_path / "before", everything, 12)
    after = flies(flies13, tmp_path / "after", some, 12)
    given = [
        "method=td", "model=heatmap", "model/backbone=timm", "model.backbone.model_name=resnet10t",
        "model.backbone.feature_level=2", "train.stages=[pose]", "data.top_down_crop.width=96",
        "data.top_down_crop.height=96", "device=cpu", "seed=1", "batch_size=8", "save_epochs=50",
        "trainer.eval_interval=50", "evaluation.examples=0", "trainer.num_workers=0",
        "split.train_fraction=0.8", "scheduler=none", "trainer.progress_bar=false",
        "data.train.affine=null", "data.train.random_bbox_transform=null",
    ]  # fmt: skip
    learned = ["optimizer.lr=2e-3", "epochs=25"]
    source = train(compose(f"project={before.as_posix()}", *given, *learned), tmp_path / "source")
    still = [*given, "optimizer.lr=1e-12", "epochs=1"]
    random = train(compose(f"project={after.as_posix()}", *still), tmp_path / "random")
    weights = f"weights={source.folder.as_posix()}"
    tuned = train(compose(f"project={after.as_posix()}", *still, weights), tmp_path / "tuned")
    losses = [float(rows(run)[0]["train.bodypart_heatmap"]) for run in (random, tuned)]
    assert losses[1] < 0.4 * losses[0]
    errors = [run.metrics["train_gt_boxes.rmse"] for run in (random, tuned)]
    assert errors[1] < 0.5 * errors[0]
    record = json.loads((tuned.folder / "weights.json").read_text())
    assert record["bodyparts"] == {name: name for name in some}


MOUSE = ["snout", "leftear", "rightear", "tailbase"]


@pytest.fixture(scope="module")
def topviewmouse(tmp_path_factory: pytest.TempPathFactory, mouse_project: Path) -> Path:
    """A file like the published one."""
    path = tmp_path_factory.mktemp("superanimal") / "superanimal_topviewmouse_hrnet_w32.pt"
    return write_topviewmouse(mouse_project, path)


@pytest.mark.slow
def test_superanimal_weights_go_by_the_tables_of_the_project(
    topviewmouse: Path, mouse_project: Path, tmp_path: Path
) -> None:
    table = dict(zip(MOUSE, ("nose", "left_ear", "right_ear", "tail_base"), strict=True))
    project = yaml.safe_load((mouse_project / "config.yaml").read_text())
    project |= {"SuperAnimalConversionTables": {"superanimal_topviewmouse": table}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(project))
    cfg = compose(f"project={tmp_path}", "net_type=top_down_hrnet_w32", f"weights={topviewmouse}")
    model = build(cfg.model, key="model")
    started = start_from(cfg, model)
    stored = torch.load(topviewmouse, weights_only=True)["model"]
    assert dict(started.bodyparts) == table
    images = torch.randn(1, 3, 64, 64)
    model.eval()
    with torch.no_grad():
        features = model.backbone(images)
        layer = "heads.bodypart.heatmap_head.deconv_layers.0"
        maps = torch.nn.functional.conv_transpose2d(
            features, stored[f"{layer}.weight"], stored[f"{layer}.bias"]
        )
        heatmap = model(images)["bodypart"]["heatmap"]
    places = {"nose": 0, "left_ear": 1, "right_ear": 2, "tail_base": 13}
    assert list(cfg.metadata.bodyparts) == MOUSE
    for i, name in enumerate(table.values()):
        torch.testing.assert_close(heatmap[:, i], maps[:, places[name]])
    assert torch.equal(
        model.state_dict()["backbone.model.conv1.weight"], stored["backbone.model.conv1.weight"]
    )
    head = "heads.bodypart.locref_head.final_conv"
    assert set(started.record()["initial"]) == {f"{head}.weight", f"{head}.bias"}


def test_superanimal_weights_come_from_the_hub_by_name(
    topviewmouse: Path, mouse_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "hub" / "mwmathis" / "DeepLabCutModelZoo-SuperAnimal-TopViewMouse"
    place.mkdir(parents=True)
    shutil.copy(topviewmouse, place)
    typed = [f"project={mouse_project}", "weights=superanimal_topviewmouse"]
    with running_hub(tmp_path / "hub") as hub:
        use(hub, tmp_path / "cache", monkeypatch)
        cfg = compose(*typed, "net_type=top_down_hrnet_w32")
        tree = settled(plain(cfg), {})
        check_network_file(tree)
        source = read_source(OmegaConf.create(tree))
        with pytest.raises(ConfigError, match=r"top_down_hrnet_w32 or net_type=top_down_resnet_50"):
            check_network_file(plain(compose(*typed, "net_type=top_down_hrnet_w18")))
    assert (source.path.name, source.superanimal) == (topviewmouse.name, "superanimal_topviewmouse")
    assert tree["model"]["backbone"]["weights"] is None
    assert tree["model"]["backbone"]["freeze_bn_stats"] is True
    assert start_of(tree).startswith("superanimal_topviewmouse")


def test_superanimal_weights_go_by_name_without_a_table(
    topviewmouse: Path, mouse_project: Path, tmp_path: Path
) -> None:
    project = yaml.safe_load((mouse_project / "config.yaml").read_text())
    project |= {"bodyparts": ["tail_base", "whisker", "nose"]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(project))
    renamed = Path(shutil.copy(topviewmouse, tmp_path / "mice.pt"))
    given = ["net_type=top_down_hrnet_w32", "weights.bodyparts=superanimal_topviewmouse"]
    cfg = compose(f"project={tmp_path}", f"weights={renamed}", *given)
    started = start_from(cfg, build(cfg.model, key="model"))
    expected = {"tail_base": "tail_base", "whisker": None, "nose": "nose"}
    assert dict(started.bodyparts) == expected
