"""From override strings to a validated tree; every mistake in one message that names its key."""

import re
from pathlib import Path

import pytest

from dlcexp.composition import compose
from dlcexp.config.compose import modified
from dlcexp.config.options import check_choices, groups, options
from dlcexp.config.overrides import Override, literal, parse_overrides
from dlcexp.config.resolvers import tree_hash
from dlcexp.config.rewrite import expand
from dlcexp.errors import ConfigError, ProjectError, UserError

MODELS = {
    "dekr": ["model=dekr"],
    "paf": ["model=paf"],
    "dlcrnet": ["model=dlcrnet"],
    "heatmap": ["model=heatmap", "project={single}"],
    "heatmap, top-down": ["method=td"],
    "rtmpose": ["method=td", "model=rtmpose"],
    "tokenpose": ["method=td", "model=tokenpose"],
    "heatmap, conditional": ["method=ctd"],
    "rtmpose, conditional": ["method=ctd", "model=rtmpose", "model/backbone=prenet_cspnext_m"],
}

BACKBONES = options("model/backbone")
CONDITIONAL_BACKBONES = [name for name in BACKBONES if name.startswith(("coam_", "prenet_"))]

# What an option needs beside it to make sense.
NEEDS = {
    ("model", "heatmap"): ["project={single}"],
    ("model", "rtmpose"): ["method=td"],
    ("model", "tokenpose"): ["method=td"],
    ("data", "top_down"): ["method=td"],
    ("data", "conditional_top_down"): ["method=ctd"],
    ("data", "conditional_top_down_human"): ["method=ctd"],
    ("model/heads", "identity"): ["project={arena}"],
    ("model/heads", "unique_bodypart"): ["project={arena}"],
    ("split", "by_video"): ["split.test=[x]"],
}


@pytest.fixture(scope="session")
def single(tmp_path_factory) -> Path:
    """The config.yaml of a single-animal project; composing needs no more."""
    folder = tmp_path_factory.mktemp("single")
    (folder / "config.yaml").write_text(
        "Task: single\nscorer: me\ndate: Nov24\nmultianimalproject: false\nbodyparts: [a, b, c]\n"
    )
    return folder


@pytest.fixture(scope="session")
def arena(tmp_path_factory) -> Path:
    """A project of animals that differ, in an arena with two unique corners; path with a quote."""
    folder = tmp_path_factory.mktemp("anna's arena, new")
    (folder / "config.yaml").write_text(
        "Task: arena\nscorer: me\ndate: Nov24\nmultianimalproject: true\nidentity: true\n"
        "multianimalbodyparts: [a, b, c]\nuniquebodyparts: [u, v]\nindividuals: [x, y]\n"
    )
    return folder


def test_the_defaults_compose_without_any_override():
    cfg = compose()
    assert cfg.project == "demo"
    assert cfg.model.heads.bodypart.heatmap_config.channels[-1] == cfg.metadata.num_bodyparts + 1


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_choice_of_the_user_wins_over_the_recommendation_of_the_model(model, single):
    base = [word.format(single=single) for word in MODELS[model]]
    recommended = compose(*base)
    cfg = compose(
        *base, "optimizer=sgd", "optimizer.lr=0.01", "batch_size=3", "scheduler=step_lr", "epochs=7"
    )
    assert cfg.optimizer["_target_"] == "torch.optim.SGD"
    assert (cfg.optimizer.lr, cfg.batch_size, cfg.epochs) == (0.01, 3, 7)
    assert cfg.scheduler["_target_"] == "torch.optim.lr_scheduler.StepLR"
    assert recommended.optimizer.lr == recommended.model.recipe.lr != 0.01
    assert recommended.batch_size == recommended.model.recipe.batch_size != 3
    if model == "rtmpose":
        assert recommended.scheduler.milestones == [200, 400]
        assert recommended.recipe.num_workers == 4
    else:
        assert recommended.scheduler.milestones == recommended.model.recipe.scheduler.milestones


@pytest.mark.slow
@pytest.mark.parametrize("detector", options("detector"))
def test_every_choice_of_the_user_wins_over_the_recommendation_of_the_detector(detector):
    base = ["method=td", f"detector={detector}"]
    recommended = compose(*base).detector
    cfg = compose(
        *base,
        "optimizer@detector.optimizer=sgd",
        "detector.optimizer.lr=0.01",
        "detector.optimizer.momentum=0.9",
        "scheduler@detector.scheduler=cosine_annealing_lr",
        "detector.batch_size=3",
        "detector.epochs=7",
    )
    assert cfg.detector.optimizer["_target_"] == "torch.optim.SGD"
    assert (cfg.detector.optimizer.lr, cfg.detector.optimizer.momentum) == (0.01, 0.9)
    assert cfg.detector.scheduler.T_max == cfg.detector.epochs == 7
    assert cfg.detector.batch_size == 3
    assert recommended.optimizer.lr == recommended.recipe.lr != 0.01
    assert recommended.batch_size == recommended.recipe.batch_size != 3
    assert recommended.scheduler.milestones == recommended.recipe.scheduler.milestones
    assert cfg.optimizer["_target_"] == "torch.optim.AdamW"
    assert cfg.scheduler == compose(*base).scheduler


@pytest.mark.parametrize("scheduler", ["one_cycle_lr", "cyclic_lr"])
def test_a_cycle_has_its_maximum_at_the_rate_of_the_optimizer(mouse_project, scheduler):
    words = [f"project={mouse_project}", "method=td", f"scheduler={scheduler}"]
    words += [f"scheduler@detector.scheduler={scheduler}", "detector.optimizer.lr=0.007"]
    cfg = compose(*words, "optimizer.lr=0.003")
    assert (cfg.scheduler.max_lr, cfg.detector.scheduler.max_lr) == (0.003, 0.007)


@pytest.mark.slow
@pytest.mark.parametrize("group", sorted(set(groups()) - {"model/backbone", "net_type"}))
def test_every_option_of_every_group_composes(group, single, arena):
    for option in options(group):
        words = [f"{group}={option}", *NEEDS.get((group, option), [])]
        if group in ("detector", "data_detector"):
            words.append("method=td")
        folders = {"single": single, "arena": literal(str(arena))}
        assert compose(*(word.format(**folders) for word in words))


@pytest.mark.parametrize("model", ["dekr", "paf"])
def test_the_project_chooses_the_heads_beside_the_bodyparts(model, arena):
    project = f"project={literal(str(arena))}"
    cfg = compose(project, f"model={model}", "model.heads.identity.criterion.heatmap.weight=2")
    heads = cfg.model.heads
    channels = cfg.model.backbone_output_channels
    assert list(heads) == ["bodypart", "unique_bodypart", "identity"]
    assert heads.unique_bodypart.locref_config.channels == [channels, 4]
    assert heads.identity.heatmap_config.channels == [channels, 2]
    assert heads.identity.criterion.heatmap.weight == 2
    assert list(compose(f"model={model}").model.heads) == ["bodypart"]


def test_the_project_of_an_overlay_chooses_heads_and_net_types_too(arena, tmp_path):
    (tmp_path / "experiment").mkdir()
    text = f"# @package _global_\nproject: {arena.as_posix()}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text, encoding="utf-8")
    cfg = compose("experiment=mine", "net_type=resnet_50", config_dir=tmp_path)
    assert list(cfg.model.heads) == ["bodypart", "unique_bodypart", "identity"]
    assert cfg.model.heads.bodypart["_target_"].endswith(".DLCRNetHead")


@pytest.mark.parametrize("words", [["~model.heads.identity"], ["model/heads=[unique_bodypart]"]])
def test_the_user_has_the_last_word_on_heads(words, arena):
    heads = compose(f"project={literal(str(arena))}", *words).model.heads
    assert list(heads) == ["bodypart", "unique_bodypart"]


@pytest.mark.parametrize("none", ["model/heads=null", "model/heads=[]"])
def test_heads_can_be_left_out(none, arena):
    assert list(compose(f"project={literal(str(arena))}", none).model.heads) == ["bodypart"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["model/heads=[identity]"],
            r"^model\.heads\.identity: .*identity: true.*~model\.heads\.identity",
        ),
        (
            ["model/heads=unique_bodypart"],
            r"^model\.heads\.unique_bodypart: .*uniquebodyparts.*~model\.heads\.un",
        ),
        (["model/heads=identty"], r"^model/heads: 'identty' .*'identity'"),
        (["~model.heads.bodypart"], r"^model\.heads: .*'bodypart'"),
        (
            ["model.heads.identity.criterion.heatmap.weight=2"],
            r"^model\.heads\.identity\.criterion.*: .*2.*bodypart",
        ),
    ],
)
def test_heads_of_what_the_project_does_not_have_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        compose(*words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pytorch_config="], "^pytorch_config: "),
        (
            ["model/backbone=prenet_timm", "model.backbone.model_name=resnet18"],
            r"^model\.backbone\.model_name: .*'model\.backbone\.backbone\.model_name'",
        ),
        (["model=rtmpose"], r"^model\.backbone: .*RTMCCHead.*model/backbone=prenet_cspnext_m"),
        (
            ["model.backbone.kpt_encoder.kernel_size=[4,5]"],
            r"kernel_size: \[4, 5\] .*odd.*256 x 256",
        ),
        (
            ["data.top_down_crop.width=32", "model.backbone.kpt_encoder.kernel_size=[65,3]"],
            r"kernel_size: \[65, 3\] .*32 x 256",
        ),
    ],
)
def test_what_a_conditional_model_cannot_be_is_told(words, message):
    with pytest.raises(ConfigError, match=message):
        compose("method=ctd", *words)


@pytest.mark.parametrize("net_type", ["top_down_resnet_50", "rtmpose_s"])
def test_a_net_of_crops_has_no_place_for_unique_bodyparts(net_type, arena):
    with pytest.raises(ConfigError, match=r"^method: 'td' .*u, v.*method=bu"):
        compose(f"project={literal(str(arena))}", f"net_type={net_type}")


def test_another_model_for_a_finished_run_has_the_heads_of_its_project(arena):
    cfg = modified(
        compose(f"project={literal(str(arena))}"), parse_overrides(["model/backbone=hrnet_w32"])
    )
    assert list(cfg.model.heads) == ["bodypart", "unique_bodypart", "identity"]


@pytest.mark.slow
@pytest.mark.parametrize("backbone", sorted({*BACKBONES} - {*CONDITIONAL_BACKBONES}))
def test_heatmaps_take_every_backbone_bottom_up_and_top_down(backbone, single):
    words = ["model=heatmap", f"model/backbone={backbone}", f"project={single}"]
    frames = compose(*words).model
    crops = compose(*words, "method=td").model
    assert frames.backbone == crops.backbone
    channels = crops.backbone.recipe.channels
    config = frames.heads.bodypart.heatmap_config
    assert config == {"channels": [channels, 3], "kernel_size": [3], "strides": [2]} | {
        "final_conv": None
    }
    config = crops.heads.bodypart.heatmap_config
    assert config == {"channels": [channels], "kernel_size": [], "strides": []} | {
        "final_conv": {"out_channels": 3, "kernel_size": 1}
    }
    assert crops.heads.bodypart.locref_config.final_conv.out_channels == 6


@pytest.mark.parametrize(
    ("method", "masked", "deconvolved"),
    [("bu", False, True), ("td", True, False), ("ctd", False, False)],
)
def test_the_method_decides_the_size_and_the_masking_of_heatmaps(
    method, masked, deconvolved, single
):
    for words in ([f"method={method}", "model=heatmap"], ["model=heatmap", f"method={method}"]):
        model = compose(*words, f"project={single}").model
        assert model.heads.bodypart.target_generator.gradient_masking is masked
        assert model.recipe.deconvolve is deconvolved


def test_the_method_decides_the_recipe_of_rtmpose():
    crops = compose("model=rtmpose", "method=td").recipe
    conditional = compose("model=rtmpose", "method=ctd", "model/backbone=prenet_cspnext_m").recipe
    assert (crops.lr, crops.scheduler.milestones) == (0.001, [90, 120])
    assert (conditional.lr, conditional.scheduler.milestones) == (0.00001, [5, 300, 360])


@pytest.mark.slow
@pytest.mark.parametrize("backbone", CONDITIONAL_BACKBONES)
def test_conditional_heatmaps_take_every_backbone_that_reads_conditions(backbone):
    cfg = compose("method=ctd", f"model/backbone={backbone}", "data.top_down_crop.height=128")
    assert cfg.model.heads.bodypart.heatmap_config.channels == [cfg.model.backbone.recipe.channels]
    assert cfg.model.backbone.img_size == [128, 256]
    assert cfg.detector is None


@pytest.mark.parametrize("backbone", ["resnet_50", "cspnext_x", "timm"])
def test_simcc_and_tokens_take_the_stride_of_any_backbone(backbone):
    words = ["method=td", f"model/backbone={backbone}"]
    simcc = compose(*words, "model=rtmpose").model
    side = 384 if backbone == "cspnext_x" else 256
    assert simcc.heads.bodypart.input_size == [side, side]
    stride = {"resnet_50": 16, "cspnext_x": 32, "timm": 8}[backbone]
    assert simcc.heads.bodypart.in_featuremap_size == [side // stride] * 2
    tokens = compose(*words, "model=tokenpose").model
    assert tokens.neck.feature_size == [256 // stride] * 2


# What deeplabcut.pose_estimation_pytorch.available_models() lists in DeepLabCut 3.0.2.
DEEPLABCUT_MODELS = """
animaltokenpose_base cspnext_m cspnext_s cspnext_x ctd_coam_w32 ctd_coam_w48 ctd_coam_w48_human
ctd_prenet_hrnet_w32 ctd_prenet_hrnet_w48 ctd_prenet_rtmpose_m ctd_prenet_rtmpose_s
ctd_prenet_rtmpose_x ctd_prenet_rtmpose_x_human dekr_w18 dekr_w32 dekr_w48 dlcrnet_stride16_ms5
dlcrnet_stride32_ms5 hrnet_w18 hrnet_w32 hrnet_w48 resnet_101 resnet_50 rtmpose_m rtmpose_s
rtmpose_x top_down_cspnext_m top_down_cspnext_s top_down_cspnext_x top_down_hrnet_w18
top_down_hrnet_w32 top_down_hrnet_w48 top_down_resnet_101 top_down_resnet_50
"""


def test_every_model_that_deeplabcut_lists_is_a_net_type():
    assert len(DEEPLABCUT_MODELS.split()) == 34
    assert options("net_type") == DEEPLABCUT_MODELS.split()


def test_a_file_that_options_share_is_not_an_option():
    assert "ssdlite" in options("detector")
    assert "_base" not in options("detector")
    with pytest.raises(ConfigError, match=r"^detector: '_base' .*ssdlite"):
        compose("method=td", "detector=_base")


def test_a_folder_that_options_share_is_not_a_group():
    assert "model/backbone" in groups()
    assert not [group for group in groups() if "_heatmap" in group]


def test_every_faster_rcnn_of_torchvision_is_an_option():
    from torchvision.models import detection, list_models

    known = list_models(module=detection, include="fasterrcnn_*")
    assert set(options("detector")) == {"ssdlite", *known}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["detector=ssdlite,ssdlit"], r"^detector: 'ssdlit' .*'ssdlite'"),
        (["optimizer@detector.optimizer=adamw,sgdd"], r"^optimizer.*: 'sgdd' .*'sgd'"),
        (["model=choice(dekr,hetmap)"], r"^model: 'hetmap' .*'heatmap'"),
    ],
    ids=str,
)
def test_a_misspelt_option_of_a_sweep_is_named(words, message):
    with pytest.raises(ConfigError, match=message):
        check_choices(parse_overrides(words))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["detector.optimizer=sgd"],
            r"^detector\.optimizer: 'sgd' .*optimizer@detector\.optimizer=sgd",
        ),
        (["train.stages=pose"], r"^train\.stages: 'pose' .*train\.stages=\[pose\]"),
        (
            ["detector.model.variant=fasterrcnn_x"],
            r"^detector\.model\.variant: 'fasterrcnn_x'.*SSDLite.*detector=fasterrcnn_",
        ),
        (["detector.key_metric=foo"], r"^detector\.key_metric: 'foo' .*test\.mAP@50:95"),
    ],
    ids=str,
)
def test_what_one_would_naturally_type_is_answered_with_what_to_type(words, message):
    with pytest.raises(ConfigError, match=message):
        compose("method=td", *words)


@pytest.mark.slow
@pytest.mark.parametrize("net_type", options("net_type"))
def test_a_top_down_net_type_brings_the_method_and_the_detector(net_type, single):
    project = "demo" if net_type.startswith("dlcrnet_") else single  # several animals only
    cfg = compose(f"net_type={net_type}", f"project={project}")
    top_down = net_type.startswith(("top_down_", "rtmpose_", "animaltokenpose_"))
    conditional = net_type.startswith("ctd_")
    assert cfg.method == ("td" if top_down else "ctd" if conditional else "bu")
    assert (cfg.detector is not None) is (cfg.data_detector is not None) is top_down
    assert cfg.train.stages == (["detector", "pose"] if top_down else ["pose"])


def test_a_bare_method_makes_a_sensible_experiment():
    cfg = compose("method=td", "batch_size=16")
    assert cfg.batch_size == 16
    assert cfg.detector.model["_target_"].endswith(".SSDLite")
    assert cfg.model.heads.bodypart["_target_"].endswith(".HeatmapHead")
    assert cfg.data.top_down_crop == {"width": 256, "height": 256}
    assert cfg.data.train.crop_sampling is None


def test_any_faster_rcnn_of_torchvision_is_taken_by_its_name():
    variant = "fasterrcnn_mobilenet_v3_large_320_fpn"
    words = ["detector=fasterrcnn_resnet50_fpn_v2", f"detector.model.variant={variant}"]
    assert compose("method=td", *words).detector.model.variant == variant


def test_a_finished_run_takes_other_choices_for_its_detector():
    cfg = compose("method=td")
    words = ["optimizer@detector.optimizer=sgd", "detector.optimizer.lr=0.5"]
    changed = modified(cfg, parse_overrides(words))
    assert changed.detector.optimizer["_target_"] == "torch.optim.SGD"
    assert changed.detector.optimizer.lr == 0.5
    other = modified(cfg, parse_overrides(["detector=fasterrcnn_resnet50_fpn_v2", "split=kfold"]))
    assert other.detector.model["_target_"].endswith(".FasterRCNN")
    assert other.split.k == 5
    assert {**other, "detector": None, "split": None} == {**cfg, "detector": None, "split": None}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method=td"], r"^method: "),
        (["net_type=dekr_w32"], r"^net_type: "),
        (["detector=ssdlite"], r"^detector: 'ssdlite' .*method=td"),
        (["detector.epochs=3"], r"^detector\.epochs: 3 .*method=td"),
        (["batch_sz=3"], r"^batch_sz: .*'batch_size'"),
    ],
)
def test_what_a_finished_run_cannot_take_is_said(words, message):
    with pytest.raises(ConfigError, match=message):
        modified(compose(), parse_overrides(words))


def test_the_list_of_learning_rates_follows_an_overridden_recipe():
    assert compose("model.recipe.lr=0.02").optimizer.lr == 0.02


def test_a_plain_net_type_means_heatmaps_for_one_animal_and_affinity_fields_for_several(single):
    one = compose("net_type=hrnet_w18", f"project={single}")
    several = compose("net_type=hrnet_w18", "project=demo")
    assert one.model.heads.bodypart["_target_"].endswith(".HeatmapHead")
    assert several.model.heads.bodypart["_target_"].endswith(".DLCRNetHead")
    assert one.model.backbone.model_name == several.model.backbone.model_name == "hrnet_w18"


def test_a_plain_net_type_fits_a_project_whose_path_has_a_comma(arena):
    overrides = expand([Override("net_type", "hrnet_w18"), Override("project", str(arena))])
    assert overrides[0] == Override("net_type", "multi_animal/hrnet_w18")


def test_a_plain_net_type_means_heatmaps_top_down():
    cfg = compose("method=td", "net_type=hrnet_w18", "project=demo")
    assert cfg.metadata.num_individuals > 1
    assert cfg.model.heads.bodypart["_target_"].endswith(".HeatmapHead")


def test_null_means_none():
    cfg = compose(
        "scheduler=null",
        "scheduler@detector.scheduler=null",
        "logger=null",
        "net_type=null",
        "method=td",
    )
    assert cfg.scheduler is cfg.detector.scheduler is None
    assert cfg.logger == {}


def test_loggers_compose():
    assert list(compose("logger=[csv,wandb]").logger) == ["csv", "wandb"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.devics=2", r"^trainer\.devics: .*'devices'"),
        ("+trainer.devics=2", r"^trainer\.devics: .*'devices'"),
        ("++data.resize.widht=2", r"^data\.resize\.widht: .*'width'"),
        ("model/backbone=hrnet_w19", r"^model/backbone: 'hrnet_w19' .*'hrnet_w18'"),
        ("net_type=dekr_w31", r"^net_type: 'dekr_w31' .*'dekr_w32'"),
        ("optimizer=adamww", r"^optimizer: 'adamww' .*'adamw'"),
        ("optimiser=adamw", r"^optimiser: .*'optimizer'"),
        ("model=dekr,heatmap", r"^model: .*-m"),
        ("seed=-1", r"^seed: -1 .*0"),
        ("device=gpu", r"^device: 'gpu'"),
        (
            "trainer.precision=bf16",
            r"^trainer\.precision: 'bf16' .*'bf16-(mixed|true)'",
        ),
        ("export.schema=dlc2", r"^export\.schema: 'dlc2' .*dlc3, sectioned, flat"),
        ("split=by_video", r"^split\.test: "),
        (
            "model=heatmap",
            r"^model: HeatmapHead .* 2 individuals.*model=dekr",
        ),
        ("with_center_keypoints=false", r"^with_center_keypoints: False.*DEKRHead.*True"),
        (
            "evaluation.comparison_bodyparts=[snout,tial]",
            r"^evaluation\.comparison_bodyparts: .*'tial'",
        ),
        ("data.train.crop_sampling=null", r"^data\.train: .*32.*auto_padding"),
        ("+data.train.rotate=3", r"^data\.train\.rotate: "),
        ("+data.train.rotation=90", r"^data\.train\.rotation: .*affine\.rotation"),
        ("model._target_=os.system", r"^model\._target_: 'os.system'"),
        ("+data.train.mine={_target_: torch.load}", r"data\.train\.mine.*'torch\.load'"),
    ],
)
def test_a_mistake_is_one_message_with_the_key_and_the_nearest_match(override, message):
    with pytest.raises(ConfigError, match=message):
        compose(override)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("detector=ssdlite", r"^detector: 'ssdlite' .*method=bu.*method=td"),
        ("detector=ssdlight", r"^detector: 'ssdlight' .*'ssdlite'"),
        ("method=td detector=ssdlight", r"^detector: 'ssdlight' .*'ssdlite'"),
        ("data_detector=default", r"^data_detector: 'default' .*method=td"),
        ("method=ctd detector=ssdlite", r"^detector: 'ssdlite' .*method=ctd"),
        ("method=ctd detector.epochs=3", r"^detector\.epochs: 3 .*method=ctd"),
        ("detector.epochs=3", r"^detector\.epochs: 3 .*method=td"),
        ("detector.epochs=3 detector=ssdlite", r"^detector.*method=td"),
        ("+detector.epochs=3", r"^detector.*method=td"),
        ("++data_detector.train.hflip=null", r"^data_detector.*method=td"),
        (
            "optimizer@detector.optimizer=sgd",
            r"optimizer@detector\.optimizer: 'sgd' .*method=td",
        ),
        (
            "optimizer@detector.optimizer=sgd detector=ssdlite",
            r"optimizer@detector\.optimizer: 'sgd' .*method=td",
        ),
        (
            "method=td optimizer@detector.optimizer=sgdd",
            r"^optimizer: 'sgdd' .*'sgd'",
        ),
        (
            "method=td optimizer@detectr.optimizer=sgd",
            r"^optimizer@detectr\.optimizer: .*optimizer, optimizer@detector\.optimizer",
        ),
        ("method=td detector.epoch=3", r"^detector\.epoch: .*'epochs'"),
        ("method=td +detector.epoch=3", r"^detector\.epoch: .*'epochs'"),
        ("method=td detector.epochs=0", r"^detector\.epochs: 0 .*1"),
        ("method=td detector.key_metric=mAP", r"^detector\.key_metric: 'mAP'"),
        ("method=td +detector.optimizer.lrr=1", r"^detector\.optimizer\.lrr: .*'lr'"),
        ("method=td +detector.model.varient=x", r"^detector\.model\.varient: .*'variant'"),
        ("method=td +detector.scheduler.mileston=[1]", r"^detector\.scheduler\.mileston: "),
        (
            "method=td detector=fasterrcnn_resnet50_fpn_v2 detector.model.variant=fasterrcnn_v2",
            r"^detector\.model\.variant: 'fasterrcnn_v2' .*fasterrcnn_resnet50_fpn,",
        ),
        ("method=td +data_detector.cache=2GiB", r"^data_detector\.cache: "),
        ("method=td +data_detector.train.rotate=3", r"^data_detector\.train\.rotate: "),
        (
            "method=td +data_detector.train.mine={_target_: torch.load}",
            r"data_detector\.train\.mine.*'torch\.load'",
        ),
        ("method=tp", r"^method: 'tp' .*bu, ctd, td"),
        ("method=td model=dekr", r"^model: DEKRHead.*model=heatmap"),
        ("method=td model=paf", r"^model: DLCRNetHead.*model=heatmap"),
        ("model=rtmpose", r"^model: RTMCCHead.*method=td"),
        ("model=tokenpose", r"^model: TransformerHead.*method=td"),
        ("model=heatmap", r"^model: HeatmapHead.*method=td"),
        ("data=top_down", r"^data\.top_down_crop: .*method=td"),
        ("method=td data=default", r"^data\.train\.crop_sampling|^data\.top_down_crop"),
        ("train.stages=[detector,pose]", r"^train\.stages: .*method=td"),
        ("method=td train.stages=[]", r"^train\.stages: \[\]"),
        ("method=td train.stages=[pose,pose]", r"^train\.stages: .*'pose', 'pose'"),
        ("method=td train.stages=[pose,detector]", r"^train\.stages: .*'pose', 'detector'"),
        ("method=td train.stages=[detectr]", r"^train\.stages: 'detectr' .*'detector'"),
        (
            "net_type=rtmpose_m data.top_down_crop.width=100",
            r"^data\.top_down_crop\.width: 100 .*32",
        ),
        (
            "net_type=animaltokenpose_base data.top_down_crop.height=104",
            r"^data\.top_down_crop\.height: 104 .*16",
        ),
        (
            "net_type=rtmpose_m model.heads.bodypart.input_size=[128,128]",
            r"^model\.heads\.bodypart\.input_size: \[128, 128\] .*\[256, 256\]",
        ),
        (
            "net_type=animaltokenpose_base model.heads.bodypart.heatmap_dim=100",
            r"^model\.heads\.bodypart\.heatmap_dim: 100\b.*4096",
        ),
        (
            "net_type=animaltokenpose_base model.neck.feature_size=[32,32]",
            r"^model\.neck\.feature_size: \[32, 32\] .*\[64, 64\]",
        ),
    ],
)
def test_a_mistake_about_top_down_is_one_message_that_says_what_to_add(words, message):
    with pytest.raises(UserError, match=message):
        compose(*re.split(r" (?=[+\w@./]+=)", words))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("conditions=3", r"^conditions: 3 .*method=bu.*method=ctd"),
        ("method=ctd conditions=true", r"^conditions: there is no .true."),
        ("method=ctd conditions=-1", r"^conditions: .*-1"),
        ("method=ctd conditions={folder}/poses.h", r"^conditions: .*poses\.h'.*'poses\.h5'"),
        ("method=ctd conditions={folder}/notes.txt", r"^conditions: .*notes\.txt'"),
        ("method=ctd conditions={folder}", r"^conditions: "),
        ("method=ctd conditions={folder}/td", r"^conditions: .*method=td"),
        ("method=ctd model/backbone=hrnet_w32", r"^model\.backbone: HRNet.*coam_w32"),
        ("method=td model/backbone=coam_w32", r"^model\.backbone: HRNetCoAM .*method=ctd"),
        ("method=ctd model=dekr", r"^model: DEKRHead.*method=ctd"),
        ("method=ctd detector=ssdlite", r"^detector: .*method=td"),
        (
            "method=ctd model.backbone.img_size=[128,128]",
            r"^model\.backbone\.img_size: \[128, 128\] .*\[256, 256\]",
        ),
        (
            "method=ctd model.backbone.kpt_encoder.num_joints=3",
            r"^model\.backbone\.kpt_encoder\.num_joints: 3.*\d+ bodyparts",
        ),
        ("~model.backbone._target_", r"^model\.backbone: .*'_target_'"),
        ("net_type=ctd_coam_w46", r"^net_type: 'ctd_coam_w46' .*'ctd_coam_w4"),
    ],
)
def test_a_mistake_about_conditions_is_one_message_that_says_what_to_do(tmp_path, words, message):
    (tmp_path / "poses.h5").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "td").mkdir()
    (tmp_path / "td" / "config.yaml").write_text("method: td\n")
    with pytest.raises(ConfigError, match=message):
        compose(*words.format(folder=tmp_path.as_posix()).split(" "))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("uniquebodyparts: [corner]\nidentity: false\n", r"^method: 'td' .*corner.*method=bu"),
        ("uniquebodyparts: []\nidentity: true\n", r"^method: 'td' .*identity.*method=bu"),
    ],
    ids=["unique bodyparts", "identity"],
)
def test_top_down_refuses_what_deeplabcut_refuses_too(tmp_path, lines, message):
    (tmp_path / "config.yaml").write_text(
        "Task: several\nscorer: me\ndate: Nov24\nmultianimalproject: true\n"
        f"individuals: [a, b]\nmultianimalbodyparts: [x, y]\nbodyparts: MULTI!\n{lines}"
    )
    assert compose(f"project={tmp_path}", "model=paf")
    with pytest.raises(ConfigError, match=message):
        compose(f"project={tmp_path}", "method=td")
    with pytest.raises(ConfigError, match=message.replace("td", "ctd")):
        compose(f"project={tmp_path}", "method=ctd")


def test_dlcrnet_is_refused_for_a_single_animal_project_as_by_deeplabcut(single):
    with pytest.raises(ConfigError, match=r"^model: DLCRNet .*single-animal.*model=heatmap"):
        compose(f"project={single}", "net_type=dlcrnet_stride16_ms5")


def test_a_project_that_is_not_there_is_named():
    with pytest.raises(ProjectError, match="nowhere"):
        compose("project=nowhere/mouse")


def test_options_of_ones_own_stand_beside_ours(tmp_path):
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text(
        "_target_: torch.optim.SGD\n_partial_: true\nlr: 0.5\n"
    )
    assert compose("optimizer=mine", config_dir=tmp_path).optimizer.lr == 0.5


def test_a_custom_method_has_the_settings_of_the_one_it_extends(tmp_path):
    (tmp_path / "method").mkdir()
    text = "# @package _global_\ndefaults:\n  - td\nbatch_size: 3\n"
    (tmp_path / "method" / "mine.yaml").write_text(text)
    cfg = compose("method=mine", config_dir=tmp_path)
    assert cfg.model.heads.bodypart.target_generator.gradient_masking
    assert cfg.method == "td"


def test_the_hash_is_that_of_the_experiment_not_of_where_it_lies():
    tree = {"seed": 1, "project": "a", "export": {"file": "x"}}
    assert tree_hash(tree) == tree_hash({**tree, "project": "b", "export": {"file": "y"}})
    assert tree_hash(tree) != tree_hash({**tree, "seed": 2})


@pytest.mark.parametrize(
    ("words", "ascending"),
    [
        ([], True),
        (["trainer.key_metric=test.rmse"], False),
        (["trainer.key_metric=train.pck@0.1"], True),
        (["trainer.key_metric=test.rmse", "trainer.key_metric_asc=true"], True),
    ],
)
def test_the_best_snapshot_is_that_of_the_smallest_error(words, ascending):
    assert compose(*words).trainer.key_metric_asc is ascending


def test_null_chooses_no_option_of_a_sweep_either():
    check_choices(parse_overrides(["net_type=null,hrnet_w18", "scheduler=null,step_lr"]))
    with pytest.raises(ConfigError, match="hrnet_w17"):
        check_choices(parse_overrides(["net_type=null,hrnet_w17"]))


def test_a_file_of_options_whose_aliases_amount_to_gigabytes_is_refused(tmp_path):
    lines = ["lr: 1", "a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text("\n".join(lines))
    with pytest.raises(ProjectError, match=r"mine\.yaml, line \d+: has more than"):
        compose("optimizer=mine", config_dir=tmp_path)
