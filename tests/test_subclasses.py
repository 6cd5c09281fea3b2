"""A trivial subclass of each class of a model behaves as its parent, wherever it is asked."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import own_classes
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

import dlcexp
from dlcexp.cli import main
from dlcexp.composition import compose
from dlcexp.config.build import allowing, build, iterate_targets
from dlcexp.config.compose import checked, compose_tree, resolve
from dlcexp.config.overrides import parse_overrides
from dlcexp.deeplabcut.class_names import POSE_MODEL, kind_at
from dlcexp.deeplabcut.export import cannot_build, export_config, net_type
from dlcexp.errors import ConfigError
from dlcexp.runs.stages import pose_stage
from dlcexp.training.pose_module import PoseModule

SIDE = 64
CROP = f"data.top_down_crop={{width: {SIDE}, height: {SIDE}}}"
SMALL = [
    "model/backbone=timm",
    "model.backbone.model_name=test_resnet.r160_in1k",
    "model.backbone.feature_level=1",
]
SMALL_BEHIND = [word.replace("model.backbone.", "model.backbone.backbone.") for word in SMALL[1:]]
HRNET = "hrnet_w18_small"

# Small models that have, together, every class; {single} and {known} are the projects below.
FAMILIES = {
    "dekr": ["model=dekr", *SMALL],
    "paf": ["model=paf", *SMALL],
    "dlcrnet": ["model=dlcrnet", "model.backbone.model_name=resnet26"],
    "heatmap": [
        *("project={single}", "model=heatmap", "model/backbone=resnet_50"),
        "model.backbone.model_name=resnet18",
        "model.backbone.recipe.channels=512",
    ],
    "hrnet": [
        *("method=td", "model/backbone=hrnet_w18", f"model.backbone.model_name={HRNET}", CROP),
        "model.backbone.recipe.channels=16",
    ],
    "identity": ["project={known}", "model=paf", *SMALL],
    "rtmpose": ["net_type=rtmpose_s", CROP],
    "tokenpose": [
        *("method=td", "model=tokenpose", *SMALL, CROP),
        "detector=fasterrcnn_mobilenet_v3_large_320_fpn",
    ],
    "coam": [
        *("method=ctd", f"model.backbone.base_model_name={HRNET}", CROP),
        "model.backbone.recipe.channels=16",
    ],
    "prenet": ["method=ctd", "model/backbone=prenet_timm", *SMALL_BEHIND, CROP],
}
# What a family refuses.
HEAD = "model.heads.bodypart"
REFUSED = [
    ["model=heatmap"],
    ["model=rtmpose"],
    ["model=tokenpose"],
    ["model=dekr", "with_center_keypoints=false"],
    ["model=paf", "with_center_keypoints=true"],
    ["method=td", "model=dekr"],
    ["method=td", "model=paf"],
    ["method=td", "model/backbone=coam_w32"],
    ["method=ctd", "model/backbone=hrnet_w32"],
    ["method=ctd", "model=rtmpose"],
    ["method=ctd", "model.backbone.img_size=[128,128]"],
    ["method=ctd", "model/backbone=prenet_hrnet_w32", "model.backbone.img_size=[128,128]"],
    ["method=ctd", "model.backbone.kpt_encoder.num_joints=3"],
    ["method=ctd", "model.backbone.kpt_encoder.kernel_size=[4,5]"],
    ["net_type=rtmpose_m", "data.top_down_crop.width=100"],
    ["net_type=rtmpose_m", f"{HEAD}.input_size=[128,128]"],
    ["net_type=rtmpose_m", f"{HEAD}.target_generator.input_size=[128,128]"],
    ["net_type=animaltokenpose_base", "data.top_down_crop.height=104"],
    ["net_type=animaltokenpose_base", "model.neck.feature_size=[32,32]"],
    ["net_type=animaltokenpose_base", f"{HEAD}.heatmap_dim=100"],
    ["model=paf", f"{HEAD}.predictor.graph=[[0,1],[1,0]]"],
    ["model=paf", f"{HEAD}.predictor.edges_to_keep=[99]"],
    ["model=paf", f"{HEAD}.paf_config.channels=[32,10]"],
    ["model=paf", "project={spot}"],
    ["model=dlcrnet", "project={single}"],
    ["method=td", "detector.model.variant=fasterrcnn_resnet50_fpn"],
    ["method=td", "detector=fasterrcnn_resnet50_fpn", "detector.model.variant=ssd"],
    ["model=dekr", f"+{HEAD}.ofset_config=1"],
    ["model=dekr", f"+{HEAD}.predictor.nms_treshold=1"],
    ["model=dekr", f"{HEAD}.target_generator.pos_dist_thresh=far"],
    ["model=dekr", f"~{HEAD}.criterion.heatmap.weight", f"+{HEAD}.criterion.heatmap.wieght=1"],
]


@pytest.fixture(scope="module")
def projects(tmp_path_factory) -> dict[str, str]:
    """Folders of projects without frames: one animal, one bodypart, individuals with identity."""
    configs = {
        "single": {"multianimalproject": False, "bodyparts": ["nose", "tail"]},
        "spot": {"multianimalbodyparts": ["spot"], "identity": False},
        "known": {"multianimalbodyparts": ["nose", "ear", "tail"], "identity": True},
    }
    folders = {}
    for name, config in configs.items():
        several = {"multianimalproject": True, "individuals": ["a", "b"], "bodyparts": "MULTI!"}
        common = {"Task": name, "scorer": "me", "date": "Nov24", "uniquebodyparts": []}
        folder = tmp_path_factory.mktemp(name)
        OmegaConf.save({**common, **several, **config}, folder / "config.yaml")
        folders[name] = folder.as_posix()
    return folders


def words_of(words: list[str], projects: Mapping[str, str]) -> list[str]:
    return [re.sub(r"^project=\{(\w+)\}$", lambda m: f"project={projects[m[1]]}", w) for w in words]


def subclassed(node: Any, parents: list[type] = own_classes.PARENTS) -> Any:
    """A plain node in which every class that is one of `parents` is replaced by its subclass."""
    names = [parent.__name__ for parent in parents]
    if isinstance(node, Mapping):
        node = {name: subclassed(value, parents) for name, value in node.items()}
        package, _, name = str(node.get("_target_", "")).rpartition(".")
        if package.startswith("dlcexp.models") and name in names:
            node["_target_"] = f"own_classes.My{name}"
        return node
    return [subclassed(item, parents) for item in node] if isinstance(node, list) else node


def composed_of_subclasses(words: list[str]) -> DictConfig:
    """The tree of these overrides with all classes replaced, checked."""
    tree = subclassed(resolve(compose_tree(parse_overrides(words))))
    return DictConfig(checked(DictConfig({**tree, "allow_targets": ["own_classes."]})))


def as_of_parents(text: str) -> str:
    """A message about subclasses as it is about their parents."""
    return re.sub(r"\bMy(?=[A-Z])", "", text)


def targets_of(tree: Any) -> Iterator[tuple[str, str]]:
    """Path and class of every node of the networks."""
    plain = OmegaConf.to_container(tree)
    for key in ("model", "detector"):
        for path, node in iterate_targets(plain[key], key):
            if node["_target_"].startswith(("dlcexp.models.", "own_classes.")):
                yield path, node["_target_"].rpartition(".")[2]


@pytest.fixture(scope="module")
def families(projects) -> dict[str, tuple[DictConfig, DictConfig]]:
    """The tree of each family, and that of its subclasses."""
    words = {name: words_of(words, projects) for name, words in FAMILIES.items()}
    return {name: (compose(*each), composed_of_subclasses(each)) for name, each in words.items()}


@pytest.mark.slow
def test_every_class_is_in_a_family(families):
    seen = {name for parent, _ in families.values() for _, name in targets_of(parent)}
    assert seen == {parent.__name__ for parent in own_classes.PARENTS}


@pytest.mark.parametrize("family", FAMILIES)
def test_subclasses_are_accepted_as_their_parents(family, families):
    parent, child = families[family]
    own = [(path, f"My{name}") for path, name in targets_of(parent)]
    assert list(targets_of(child)) == own
    changed = {"allow_targets": None, "model": None, "detector": None}
    assert {**child, **changed} == {**parent, **changed}


@pytest.mark.slow
@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_subclasses_are_refused_as_their_parents(words, projects):
    words = words_of(words, projects)
    with pytest.raises(ConfigError) as of_parent:
        compose(*words)
    with pytest.raises(ConfigError) as of_child:
        composed_of_subclasses(words)
    assert of_child.value.key == of_parent.value.key
    assert as_of_parents(str(of_child.value)) == str(of_parent.value)


def one_step(cfg: DictConfig) -> dict[str, torch.Tensor]:
    """The losses of two images, and what is found in them after one step of gradient descent."""
    torch.manual_seed(0)
    with allowing(cfg.allow_targets):
        module = PoseModule(build(cfg.model), None, cfg, pose_stage(cfg))  # type: ignore[arg-type]
    batch = labelled_images(cfg)
    losses = module.losses(batch)
    losses["total_loss"].backward()
    trained = [parameter for parameter in module.parameters() if parameter.grad is not None]
    torch.optim.SGD(trained, lr=0.01).step()
    model = module.model.eval()
    with torch.no_grad():
        conditions = [batch["conditions"]] if "conditions" in batch else []
        predicted = model.predict(model(batch["image"], *conditions))  # type: ignore[operator]
    for head, found in predicted.items():
        losses |= {f"{head} {name}": maps for name, maps in found.items()}
    return losses


def labelled_images(cfg: DictConfig) -> dict[str, torch.Tensor]:
    """Two images of noise with the labels of one animal each, and conditions for method=ctd."""
    generator = torch.Generator().manual_seed(0)
    metadata = cfg.metadata
    keypoints = torch.full((2, 1, metadata.num_bodyparts + cfg.with_center_keypoints, 3), 2.0)
    keypoints[..., :2] = torch.rand(keypoints[..., :2].shape, generator=generator) * SIDE
    batch = {
        "image": torch.randn(2, 3, SIDE, SIDE, generator=generator),
        "keypoints": keypoints,
        "area": torch.full((2, 1), 400.0),
        "individual_ids": torch.zeros(2, 1, dtype=torch.long),
    }
    return batch | ({"conditions": keypoints} if cfg.method == "ctd" else {})


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_subclasses_learn_and_predict_as_their_parents(family, families):
    expected, found = (one_step(cfg) for cfg in families[family])
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["rtmpose", "tokenpose"])  # with SSDLite, with Faster R-CNN
def test_a_detector_learns_and_finds_as_its_parent(family, families):
    results = []
    for cfg in families[family]:
        torch.manual_seed(0)
        with allowing(cfg.allow_targets):
            detector = build(cfg.detector.model)
        images = torch.rand(2, 3, SIDE, SIDE)
        losses = detector.losses(images, torch.tensor([[[8.0, 8, 30, 40]]] * 2))
        results.append([losses, detector.eval()(images)])
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


@pytest.mark.parametrize("parent", own_classes.PARENTS, ids=lambda parent: parent.__name__)
def test_the_export_names_a_class_that_deeplabcut_does_not_have(parent, families):
    name = parent.__name__
    cfg, path = next(
        (cfg, path)
        for cfg, _ in families.values()
        for path, found in targets_of(cfg)
        if found == name
    )
    own = subclassed(OmegaConf.to_container(cfg), [parent])
    kind = POSE_MODEL if path == "model" else kind_at(path)
    problem = cannot_build(own)
    assert f"own_classes.My{name}" in problem
    assert f"no {kind.noun} " in problem
    assert kind.known in problem
    assert f"type: My{name}" in export_config(own) or parent is dlcexp.models.PoseModel


def test_the_export_has_no_net_type_of_a_head_that_deeplabcut_does_not_have(projects):
    tree = resolve(compose_tree(parse_overrides(["net_type=dekr_w18"])))
    assert net_type(tree["model"]) == "dekr_w18"
    assert net_type(subclassed(tree["model"])) == "hrnet_w18"


@pytest.mark.slow
def test_a_sweep_trains_and_scores_a_subclass_as_its_parent(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    classes = f"{HEAD}._target_=dlcexp.models.heads.DEKRHead,own_classes.MyDEKRHead"
    words = [*tiny, "batch_size=8", "evaluation.examples=0", "trainer.progress_bar=false"]
    where = ["hydra.sweep.dir=sweep", "hydra/launcher=basic"]
    assert main(["-m", classes, "allow_targets=[own_classes.]", *words, *where]) == 0
    expected, found = (
        {
            key: value
            for key, value in json.loads(path.read_text()).items()
            if "." in key and not key.startswith("speed.")
        }
        for path in sorted(tmp_path.glob("sweep/*/metrics.json"))
    )
    assert found == expected
    assert "test.mAP" in expected
