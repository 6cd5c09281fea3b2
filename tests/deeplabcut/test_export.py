"""The export equals what DeepLabCut 3.0.2 writes itself for the same project and net type."""

import re
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from dlcexp.cli import main
from dlcexp.composition import compose
from dlcexp.deeplabcut.export import cannot_build, export_config, net_type

BACKBONES = [
    *("hrnet_w18", "hrnet_w32", "hrnet_w48", "resnet_50", "resnet_101"),
    *("cspnext_s", "cspnext_m", "cspnext_x"),
]
BOTTOM_UP = ["dekr_w18", "dekr_w32", "dekr_w48", *BACKBONES]
# DeepLabCut has these for multi-animal projects only.
MULTI_ANIMAL = ["dlcrnet_stride16_ms5", "dlcrnet_stride32_ms5"]
CASES = [
    *((project, net) for net in BOTTOM_UP for project in ("openfield", "flies13")),
    *(("flies13", net) for net in MULTI_ANIMAL),
]
TOP_DOWN = [
    *(f"top_down_{backbone}" for backbone in BACKBONES),
    *("rtmpose_s", "rtmpose_m", "rtmpose_x", "animaltokenpose_base"),
]
CONDITIONAL = [
    *("ctd_coam_w32", "ctd_coam_w48", "ctd_prenet_hrnet_w32", "ctd_prenet_hrnet_w48"),
    *("ctd_prenet_rtmpose_s", "ctd_prenet_rtmpose_m", "ctd_prenet_rtmpose_x"),
]
DETECTORS = [
    "ssdlite",
    pytest.param("fasterrcnn_mobilenet_v3_large_fpn", marks=pytest.mark.slow),
    pytest.param("fasterrcnn_resnet50_fpn_v2", marks=pytest.mark.slow),
]


def read(text: str) -> dict:
    """Parse as YAML 1.2 would: `1e-05` is a number, as it is for DeepLabCut."""
    return OmegaConf.to_container(OmegaConf.create(text))


def ordered(node):
    """Nested lists of pairs, so that a comparison also sees the order of keys."""
    if isinstance(node, dict):
        return [(key, ordered(value)) for key, value in node.items()]
    return [ordered(item) for item in node] if isinstance(node, list) else node


@pytest.mark.slow
@pytest.mark.parametrize(("project", "net"), CASES)
def test_an_export_equals_deeplabcuts_own_file_key_by_key_and_in_its_order(parity, project, net):
    text = export_config(compose(f"project={parity.project(project)}", f"net_type={net}"))
    assert ordered(read(text)) == ordered(read(parity.config(project, net)))


@pytest.mark.slow
@pytest.mark.parametrize("net", TOP_DOWN)
@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("project", ["openfield", "flies13"])
def test_a_top_down_export_equals_deeplabcuts_own_file_in_the_same_way(
    parity, project, detector, net
):
    root = parity.project(project)
    text = export_config(compose(f"project={root}", f"net_type={net}", f"detector={detector}"))
    expected = read(parity.config(project, f"{net}__{detector}"))
    if net == "rtmpose_x":
        crop_for_the_head(expected)
    assert ordered(read(text)) == ordered(expected)


@pytest.mark.slow
@pytest.mark.parametrize("net", CONDITIONAL)
@pytest.mark.parametrize("project", ["openfield", "flies13"])
def test_a_conditional_export_equals_deeplabcuts_own_file_in_the_same_way(parity, project, net):
    root = parity.project(project)
    text = export_config(compose(f"project={root}", f"net_type={net}", "conditions=1"))
    expected = read(parity.config(project, net))
    if net == "ctd_prenet_rtmpose_x":
        crop_for_the_head(expected)
    assert ordered(read(text)) == ordered(expected)


def crop_for_the_head(config: dict) -> None:
    """DeepLabCut crops to 256 px for a head that takes 384 px, and fails at the first batch."""
    width, height = config["model"]["heads"]["bodypart"]["input_size"]
    for menu in (config["data"]["train"], config["data"]["inference"]):
        assert (menu["top_down_crop"]["width"], menu["top_down_crop"]["height"]) == (256, 256)
        menu["top_down_crop"] |= {"width": width, "height": height}


def test_a_bare_name_top_down_is_that_of_the_backbone_whatever_chose_it(parity):
    root = parity.project("openfield")
    by_groups = export_config(compose(f"project={root}", "method=td", "model/backbone=resnet_50"))
    by_name = export_config(compose(f"project={root}", "method=td", "net_type=resnet_50"))
    assert by_groups == by_name
    assert read(by_groups) == read(parity.config("openfield", "top_down_resnet_50__ssdlite"))


def test_what_the_user_changes_is_the_only_difference(mouse_project):
    base = read(export_config(compose(f"project={mouse_project}")))
    changed = read(
        export_config(
            compose(
                f"project={mouse_project}",
                "optimizer=sgd",
                "optimizer.lr=0.01",
                "optimizer.momentum=0.9",
                "scheduler=step_lr",
                "batch_size=4",
                "data.resize.width=320",
                "data.resize.height=240",
                "data.train.affine.rotation=90",
                "logger=wandb",
                "logger.wandb.run_name=first",
            )
        )
    )
    runner = changed["runner"]
    assert runner["optimizer"] == {"type": "SGD", "params": {"lr": 0.01, "momentum": 0.9}}
    assert runner["scheduler"] == {"type": "StepLR", "params": {"step_size": 30, "gamma": 0.1}}
    assert changed["train_settings"]["batch_size"] == 4
    resize = {"width": 320, "height": 240, "keep_ratio": True}
    assert changed["data"]["train"]["resize"] == changed["data"]["inference"]["resize"] == resize
    assert changed["data"]["train"]["affine"]["rotation"] == 90
    assert changed["logger"] == {
        "type": "WandbLogger",
        "project_name": "dlcexp",
        "run_name": "first",
    }
    assert changed["model"] == base["model"]
    assert changed["metadata"] == base["metadata"]


def test_what_the_user_changes_in_the_detector_is_the_only_difference(mouse_project):
    words = [f"project={mouse_project}", "net_type=top_down_resnet_50"]
    base = read(export_config(compose(*words)))
    changed = read(
        export_config(
            compose(
                *words,
                "optimizer@detector.optimizer=sgd",
                "detector.optimizer.lr=0.02",
                "scheduler@detector.scheduler=step_lr",
                "detector.batch_size=4",
                "detector.epochs=9",
                "detector.save_epochs=3",
                "detector.num_workers=2",
                "data_detector.train.hflip=null",
                "data.top_down_crop.width=128",
                "data.train.random_bbox_transform.p=0.5",
            )
        )
    )
    detector = changed["detector"]
    assert detector["runner"]["optimizer"] == {"type": "SGD", "params": {"lr": 0.02}}
    assert detector["runner"]["scheduler"]["type"] == "StepLR"
    assert detector["runner"]["snapshots"]["save_epochs"] == 3
    settings = base["detector"]["train_settings"]
    new = {"batch_size": 4, "epochs": 9, "dataloader_workers": 2}
    assert detector["train_settings"] == settings | new
    assert detector["data"]["train"]["hflip"] is None
    for menu in ("train", "inference"):
        assert changed["data"][menu]["top_down_crop"] == {"width": 128, "height": 256}
    assert changed["data"]["train"]["random_bbox_transform"]["p"] == 0.5
    for same in ("model", "runner", "train_settings", "metadata"):
        assert changed[same] == base[same]
    assert detector["model"] == base["detector"]["model"]
    assert detector["inference"] == base["detector"]["inference"]


def test_sizes_of_a_head_follow_the_crop(mouse_project):
    crop = ["data.top_down_crop.width=128", "data.top_down_crop.height=192"]
    simcc = compose(f"project={mouse_project}", "net_type=rtmpose_s", *crop).model.heads.bodypart
    assert simcc.input_size == simcc.target_generator.input_size == [128, 192]
    assert simcc.in_featuremap_size == [4, 6]
    # The paper gives 4.9 px for 192 px; a side of 128 px follows its rule, sqrt(side / 8).
    assert simcc.predictor.sigma == simcc.target_generator.sigma == [4.0, 4.9]
    tokens = compose(f"project={mouse_project}", "net_type=animaltokenpose_base", *crop).model
    assert tokens.neck.feature_size == tokens.heads.bodypart.heatmap_size == [48, 32]
    assert tokens.heads.bodypart.heatmap_dim == 48 * 32


def test_the_schedule_of_rtmpose_follows_the_epochs_and_the_learning_rate(mouse_project):
    cfg = compose(
        f"project={mouse_project}", "net_type=rtmpose_s", "epochs=30", "optimizer.lr=0.01"
    )
    assert cfg.scheduler.milestones == [15, 30]
    assert cfg.scheduler.schedulers[1].T_max == 15
    assert cfg.scheduler.schedulers[1].eta_min == pytest.approx(0.0005)
    assert cfg.scheduler.schedulers[2].lr_list == [[pytest.approx(0.0005)]]


def test_a_backbone_that_deeplabcut_does_not_have_is_told():
    assert cannot_build(compose("method=td", "model/backbone=resnet_50")) is None
    told = cannot_build(compose("method=td", "model/backbone=timm"))
    assert "dlcexp.models.backbones.TimmBackbone" in told


def test_a_resize_that_deeplabcut_refuses_is_told():
    told = cannot_build(compose("model=dekr", "data.resize.width=320"))
    assert "data.resize" in told
    sides = ["data.resize.width=320", "data.resize.height=240"]
    assert cannot_build(compose("model=dekr", *sides)) is None
    assert cannot_build(compose("model=dekr", "data.longest_max_size=320")) is None


def test_nested_schedulers_keep_deeplabcuts_form(mouse_project):
    exported = read(
        export_config(compose(f"project={mouse_project}", "scheduler=sequential_lr", "epochs=50"))
    )
    scheduler = exported["runner"]["scheduler"]
    assert scheduler["type"] == "SequentialLR"
    assert scheduler["params"]["milestones"] == [5]
    assert scheduler["params"]["schedulers"][1] == {
        "type": "CosineAnnealingLR",
        "params": {"T_max": 45, "eta_min": 0.0},
    }


def test_the_flat_form_has_the_keys_of_the_specification_at_its_top(mouse_project, samples):
    flat = read(export_config(compose(f"project={mouse_project}", "logger=wandb"), schema="flat"))
    specified = "batch_size data device epochs method model with_center_keypoints optimizer"
    assert set(specified.split()) | {"save_epochs", "scheduler", "logger"} <= set(flat)
    sample = samples / "flat_2024-02" / "single__dekr_w18.yaml"
    recorded = read(sample.read_text())
    assert set(recorded) - set(flat) == {"cfg_path"}
    assert flat["data"]["rotation"] == recorded["data"]["rotation"]
    assert flat["data"]["scale_jitter"] == recorded["data"]["scale_jitter"]
    assert flat["model"]["heads"]["bodypart"]["offset_config"].keys() == (
        recorded["model"]["heads"]["bodypart"]["offset_config"].keys()
    )


@pytest.mark.parametrize(
    "sample", ["topdown_resnet_50", "topdown_hrnet_w18", "tokenpose_base"], ids=str
)
def test_the_flat_form_has_the_keys_of_the_specification_for_top_down(
    mouse_project, samples, sample
):
    net = {"tokenpose_base": "animaltokenpose_base"}.get(sample) or sample.replace("top", "top_")
    words = [f"project={mouse_project}", f"net_type={net}", "detector=fasterrcnn_resnet50_fpn_v2"]
    flat = read(export_config(compose(*words), schema="flat"))
    file = samples / "flat_2024-02" / f"single__{sample}.yaml"
    recorded = read(file.read_text())
    assert set(recorded) - set(flat) == {"cfg_path"}
    assert set(flat) - set(recorded) == {"with_center_keypoints"}
    assert list(flat["detector"]) == list(recorded["detector"])
    assert flat["detector"]["optimizer"] == recorded["detector"]["optimizer"]
    assert list(flat["detector"]["scheduler"]["params"]) == ["milestones", "lr_list"]
    assert flat["detector"]["runner"] == recorded["detector"]["runner"]
    assert flat["data_detector"]["hflip"] is flat["data_detector"]["normalize_images"] is True
    assert list(flat["model"]) == list(recorded["model"])
    assert flat["method"] == "td"


def test_the_net_type_is_derived_from_the_groups_never_copied():
    assert net_type(compose("net_type=dekr_w18", "model=paf").model) == "hrnet_w18"
    assert net_type(compose("net_type=hrnet_w48", "model=dekr").model) == "dekr_w48"
    assert net_type(compose("net_type=rtmpose_s", "model=heatmap").model) == "cspnext_s"
    assert net_type(compose("net_type=top_down_cspnext_x", "model=rtmpose").model) == "rtmpose_x"
    assert net_type(compose("net_type=top_down_resnet_101").model) == "resnet_101"
    assert net_type(compose("model=dekr", "model/backbone=resnet_50").model) == "resnet_50"


def test_safe_loaders_read_every_number_as_a_number():
    text = export_config(compose())
    assert yaml.safe_load(text) == read(text)


@pytest.mark.parametrize(
    "option",
    sorted((Path(__file__).parents[2] / "conf" / "optimizer").glob("*.yaml")),
    ids=lambda p: p.stem,
)
def test_the_literal_values_of_an_optimizer_option_are_torchs_defaults(option):
    """An export leaves such values out, so DeepLabCut must arrive at the same ones."""
    import inspect

    import torch

    node = yaml.safe_load(option.read_text())
    name = node.pop("_target_").rpartition(".")[2]
    if not hasattr(torch.optim, name):
        pytest.skip(f"this torch has no {name}")
    parameters = inspect.signature(getattr(torch.optim, name)).parameters
    node.pop("_partial_")
    for key, value in node.items():
        if value != "${..recipe.lr}":
            default = parameters[key].default
            assert value == (list(default) if isinstance(default, tuple) else default)


def test_an_export_begins_with_what_made_it(capsys):
    words = ["export", "export.schema=flat", "logger=[csv,wandb]"]
    assert main(words) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "# dlcexp export export.schema=flat 'logger=[csv,wandb]'"
    assert re.fullmatch(r"# dlcexp \d+\.\d+\.\d+, flat, tree [0-9a-f]{8}", second)


@pytest.mark.parametrize("schema", ["dlc3", "sectioned", "flat"])
def test_callbacks_are_left_out_of_an_export_with_a_warning(schema, capsys):
    words = ["export", f"export.schema={schema}"]
    assert main(words) == 0
    without = capsys.readouterr()
    assert main([*words, "callbacks=[ema,timer]", "weights.freeze=[backbone]"]) == 0
    exported = capsys.readouterr()
    assert ordered(read(exported.out)) == ordered(read(without.out))
    assert "callbacks.ema, callbacks.timer" in exported.err
    assert "weights.freeze" in exported.err
    assert "callbacks" not in without.err
