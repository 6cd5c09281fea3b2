"""From override strings to a validated tree; every mistake in one message that names its key."""

from pathlib import Path

import pytest

from dlcexp.config import compose
from dlcexp.config.composition import expand, groups, options
from dlcexp.config.resolvers import tree_hash
from dlcexp.errors import ConfigError, ProjectError

MODELS = {"dekr": [], "paf": [], "heatmap": ["project={single}"]}


@pytest.fixture(scope="session")
def single(tmp_path_factory) -> Path:
    """The config.yaml of a single-animal project; composing needs no more."""
    folder = tmp_path_factory.mktemp("single")
    (folder / "config.yaml").write_text(
        "Task: single\nscorer: me\ndate: Nov24\nmultianimalproject: false\nbodyparts: [a, b, c]\n"
    )
    return folder


def overrides_of(model: str, single: Path) -> list[str]:
    return [f"model={model}", *(word.format(single=single) for word in MODELS[model])]


def test_the_defaults_compose_without_any_override():
    cfg = compose()
    assert cfg.project == "demo"
    assert cfg.model.heads.bodypart.heatmap_config.channels[-1] == cfg.metadata.num_bodyparts + 1


@pytest.mark.parametrize("model", MODELS)
def test_every_choice_of_the_user_wins_over_the_recommendation_of_the_model(model, single):
    base = overrides_of(model, single)
    recommended = compose(*base)
    cfg = compose(
        *base, "optimizer=sgd", "optimizer.lr=0.01", "batch_size=3", "scheduler=step_lr", "epochs=7"
    )
    assert cfg.optimizer["_target_"] == "torch.optim.SGD"
    assert (cfg.optimizer.lr, cfg.batch_size, cfg.epochs) == (0.01, 3, 7)
    assert cfg.scheduler["_target_"] == "torch.optim.lr_scheduler.StepLR"
    assert recommended.optimizer.lr == recommended.model.recipe.lr != 0.01
    assert recommended.batch_size == recommended.model.recipe.batch_size != 3
    assert recommended.scheduler.milestones == recommended.model.recipe.scheduler.milestones


@pytest.mark.parametrize("group", sorted(set(groups()) - {"model/backbone"}))
def test_every_option_of_every_group_composes(group, single):
    for option in options(group):
        words = [f"{group}={option}"]
        if option == "heatmap" or group == "net_type":
            words.append(f"project={single}")
        if (group, option) == ("split", "by_video"):
            words.append("split.test=[x]")
        assert compose(*words)


def test_the_list_of_learning_rates_follows_an_overridden_recipe():
    assert compose("model.recipe.lr=0.02").optimizer.lr == 0.02


def test_a_plain_net_type_means_heatmaps_for_one_animal_and_affinity_fields_for_several(single):
    one = compose("net_type=hrnet_w18", f"project={single}")
    several = compose("net_type=hrnet_w18", "project=demo")
    assert one.model.heads.bodypart["_target_"].endswith(".HeatmapHead")
    assert several.model.heads.bodypart["_target_"].endswith(".DLCRNetHead")
    assert one.model.backbone.model_name == several.model.backbone.model_name == "hrnet_w18"


def test_a_sweep_over_net_types_is_made_specific_to_the_project():
    words = expand(["net_type=dekr_w18,hrnet_w18", "project=demo"])
    assert words[0] == "net_type=dekr_w18,multi_animal/hrnet_w18"


def test_null_means_none():
    cfg = compose("scheduler=null", "logger=null", "net_type=null")
    assert cfg.scheduler is None
    assert cfg.logger == {}


def test_loggers_compose():
    assert list(compose("logger=[csv,wandb]").logger) == ["csv", "wandb"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("batch_sz=3", r"^batch_sz: .*'batch_size'"),
        ("+batch_sz=3", r"^batch_sz: .*3.*'batch_size'"),
        ("trainer.devics=2", r"^trainer\.devics: .*'devices'"),
        ("+trainer.devics=2", r"^trainer\.devics: .*'devices'"),
        ("++data.resize.widht=2", r"^data\.resize\.widht: .*'width'"),
        ("model=dekrr", r"^model: 'dekrr' is not one of .*'dekr'"),
        ("model/backbone=hrnet_w19", r"^model/backbone: 'hrnet_w19' .*'hrnet_w18'"),
        ("net_type=dekr_w31", r"^net_type: 'dekr_w31' .*'dekr_w32'"),
        ("optimizer=adamww", r"^optimizer: 'adamww' .*'adamw'"),
        ("optimiser=adamw", r"^optimiser: .*'optimizer'"),
        ("model=null", r"^model: 'null' is not one of"),
        ("model=dekr,heatmap", r"^model: .*-m"),
        ("+optimizer.lrr=1", r"^optimizer\.lrr: AdamW has no such argument.*'lr'"),
        ("+model.backbone.model_nam=x", r"^model\.backbone\.model_nam: HRNet.*'model_name'"),
        ("+scheduler.milestone=[1]", r"^scheduler\.milestone: .*'milestones'"),
        ("batch_size=many", r"^batch_size: Value 'many'.*could not be converted to Integer"),
        ("batch_size=0", r"^batch_size: 0 is below 1"),
        ("seed=-1", r"^seed: -1 is below 0"),
        ("epochs=1.5", r"^epochs: Value '1.5'"),
        ("device=gpu", r"^device: 'gpu'"),
        (
            "trainer.precision=bf16",
            r"^trainer\.precision: 'bf16' is not one of .*'bf16-mixed'|'bf16-true'",
        ),
        ("export.schema=dlc2", r"^export\.schema: 'dlc2' is not one of dlc3, flat"),
        ("split=by_video", r"^split\.test: must be given"),
        ("optimizer.lr=${nothing.here}", r"optimizer\.lr: .*nothing\.here"),
        (
            "model=heatmap",
            r"^model: the heatmap model finds one animal, .* 2 individuals.*model=dekr",
        ),
        ("with_center_keypoints=false", r"^with_center_keypoints: .*needs the centres"),
        ("evaluation.comparison_bodyparts=[snout,tial]", r"'tial'"),
        ("data.train.crop_sampling=null", r"^data\.train: .*32.*auto_padding"),
        ("+data.train.rotate=3", r"^data\.train\.rotate: "),
        ("+data.train.rotation=90", r"^data\.train\.rotation: .*affine\.rotation"),
        ("data.train.hflip={p: 0.5, symmetries: [[left_hindfot, tailtip]]}", r"'left_hindfoot'"),
        ("foo", r"cannot read the override 'foo'"),
        ("model._target_=os.system", r"^model\._target_: 'os.system' is not allowed"),
        ("+data.train.mine={_target_: torch.load}", r"data\.train\.mine.*not allowed"),
    ],
)
def test_a_mistake_is_one_message_with_the_key_and_the_nearest_match(override, message):
    with pytest.raises(ConfigError, match=message):
        compose(override)


def test_a_project_that_is_not_there_is_named():
    with pytest.raises(ProjectError, match="nowhere"):
        compose("project=nowhere/mouse")


def test_options_of_ones_own_stand_beside_ours(tmp_path):
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text(
        "_target_: torch.optim.SGD\n_partial_: true\nlr: 0.5\n"
    )
    assert compose("optimizer=mine", config_dir=tmp_path).optimizer.lr == 0.5


def test_the_hash_is_that_of_the_experiment_not_of_where_it_lies():
    tree = {"seed": 1, "project": "a", "export": {"file": "x"}}
    assert tree_hash(tree) == tree_hash({**tree, "project": "b", "export": {"file": "y"}})
    assert tree_hash(tree) != tree_hash({**tree, "seed": 2})
