"""A value of another kind than its key takes is told with its key, before it is translated."""

import copy

import pytest
import yaml
from parity_support import config_files

from dlcexp.config.overrides import Override
from dlcexp.deeplabcut.read import check_shapes
from dlcexp.deeplabcut.to_overrides import import_config
from dlcexp.errors import ConfigError, ProjectError
from dlcexp.trees import select
from dlcexp.yaml_files import read_mapping

NODE = {"type": "X"}
SECTIONED = {
    "metadata": {"bodyparts": ["a"], "individuals": ["animal"], "project_path": "here"},
    "model": {
        "backbone": dict(NODE),
        "heads": {"bodypart": {**NODE, "predictor": NODE, "target_generator": NODE}},
    },
    "data": {"train": {"affine": {"p": 0.5}, "hflip": True, "resize": False}, "inference": {}},
    "runner": {"optimizer": {"type": "SGD", "params": {"lr": 0.1}}, "scheduler": None},
    "detector": None,
}


def with_value(path: str, value: object) -> dict:
    document = copy.deepcopy(SECTIONED)
    *parents, name = path.split(".")
    node = document
    for part in parents:
        node[part] = node.get(part) or {}
        node = node[part]
    node[name] = value
    return document


def test_every_sample_of_every_version_passes(samples):
    files = [*samples.rglob("*.yaml"), *config_files()]
    assert len(files) > 140
    for file in files:
        check_shapes(read_mapping(file), file)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("metadata", "x", r"^metadata: .*'x'"),
        ("metadata.bodyparts", {"a": 1}, r"^metadata\.bodyparts: .*\{'a': 1\}"),
        ("metadata.project_path", 3, r"^metadata\.project_path: .*\b3 "),
        ("model.backbone", "ResNet", r"^model\.backbone: .*'ResNet'"),
        ("model.backbone.type", {"a": 1}, r"^model\.backbone\.type: .*\{'a': 1\}"),
        ("model.heads.bodypart.predictor", [], r"^model\.heads\.bodypart\.predictor: .*\[\]"),
        ("model.heads.x.target_generator", -1, r"^model\.heads\.x\.target_generator: .*-1 "),
        ("model.heads.bodypart.heatmap_config", 3, r"heatmap_config: .*\b3 "),
        ("data", "\x00", r"^data: "),
        ("data.train.random_bbox_transform", "x", r"random_bbox_transform: .*'x'.*null"),
        ("data_detector.affine", True, r"^data_detector\.affine: .*True "),
        ("optimizer", "AdamW", r"^optimizer: .*'AdamW'"),
        ("runner.optimizer.params", [], r"^runner\.optimizer\.params: .*\[\]"),
        (
            "runner.scheduler",
            {"type": "ChainedScheduler", "params": {"schedulers": [{"type": 3}]}},
            r"^runner\.scheduler\.params\.schedulers\[0\]\.type: .*\b3 ",
        ),
        ("detector.model", "SSDLite", r"^detector\.model: .*'SSDLite'"),
        ("inference.conditions", {"shuffle": True}, r"conditions\.shuffle: .*True .*whole"),
        ("logger", "wandb", r"^logger: .*'wandb'"),
        ("model.heads.bodypart.target_generator", None, r"target_generator: "),
        ("model", None, r"^model: "),
    ],
)
def test_a_value_of_another_kind_is_told_with_its_key(tmp_path, path, value, told):
    check_shapes(SECTIONED, tmp_path)
    with pytest.raises(ConfigError, match=told):
        check_shapes(with_value(path, value), tmp_path)


def test_the_check_stands_before_the_translation_of_both_forms(samples, tmp_path, mouse_project):
    source = tmp_path / "odd.yaml"
    for sample, place in (
        ("flat_2024-02/single__resnet_50", "data"),
        ("sectioned_3.0.0/single__dekr_w18", "metadata"),
    ):
        document = read_mapping(samples / f"{sample}.yaml")
        assert isinstance(select(document, place), dict)
        source.write_text(yaml.safe_dump(document | {place: "x"}))
        with pytest.raises(ConfigError, match=rf"^{place}: .*'x'"):
            import_config(source, [Override("project", mouse_project.as_posix())])


def test_text_with_a_nul_is_refused_as_no_path_can_have_one(tmp_path):
    source = tmp_path / "odd.yaml"
    source.write_text('model: {}\nmetadata: {project_path: "a\\0b"}\n')
    with pytest.raises(ProjectError, match=r"metadata\.project_path: .*NUL"):
        read_mapping(source)


def test_the_home_of_a_stranger_is_no_traceback(tmp_path):
    source = tmp_path / "odd.yaml"
    source.write_text(yaml.safe_dump(with_value("metadata.project_path", "~nobody-here/mouse")))
    with pytest.raises(ConfigError, match=r"model\.backbone\.type: .*'X'"):
        import_config(source)
