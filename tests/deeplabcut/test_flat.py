"""The one-level form of the specification, and the sections of DeepLabCut 3.0."""

import re

import pytest

from dlcexp.cli import main
from dlcexp.config.checks import check_keys
from dlcexp.config.compose import compose_tree, resolve
from dlcexp.config.overrides import parse_overrides
from dlcexp.deeplabcut.export import export_sections
from dlcexp.deeplabcut.flat import flatten, lost_in_flat, unflatten
from dlcexp.yaml_files import read_mapping

FLAT = {
    "batch_size": 4,
    "colormode": "RGB",
    "data": {"hflip": True, "rotation": 30, "scale_jitter": [0.5, 1.25], "normalize_images": True},
    "method": "bu",
    "model": {
        "backbone": {
            "type": "HRNet",
            "model_name": "hrnet_w18",
            "pretrained": True,
            "only_high_res": True,
        },
        "heads": {"bodypart": {"type": "DEKRHead"}},
    },
    "optimizer": {"type": "AdamW", "params": {"lr": 0.001}},
    "project_path": "here",
    "runner": {"type": "PoseRunner"},
    "save_epochs": 50,
}


def test_each_value_stands_in_its_section():
    sections = unflatten(FLAT)
    assert sections["train_settings"] == {"batch_size": 4}
    assert sections["metadata"] == {"project_path": "here"}
    assert sections["runner"] == {
        "optimizer": {"type": "AdamW", "params": {"lr": 0.001}},
        "snapshots": {"save_epochs": 50},
    }
    assert sections["data"]["colormode"] == "RGB"
    assert sections["data"]["train"]["affine"] == {
        "p": 0.5,
        "rotation": 30,
        "scaling": [0.5, 1.25],
        "translation": 0,
    }
    assert sections["data"]["inference"] == {"normalize_images": True}


def test_only_the_high_resolution_is_no_interpolation_of_branches():
    backbone = unflatten(FLAT)["model"]["backbone"]
    assert backbone["interpolate_branches"] is False
    assert "only_high_res" not in backbone
    assert "pretrained" not in backbone
    assert backbone["freeze_bn_stats"] is False  # the flat form implies it


def test_the_file_is_not_changed_by_being_read():
    before = repr(FLAT)
    unflatten(FLAT)
    assert repr(FLAT) == before


def test_every_sample_says_the_same_after_both_ways(samples):
    """What the flat files of DeepLabCut say, apart from the words that mean nothing."""
    files = sorted(samples.glob("flat_*/*.yaml"))
    assert len(files) == 29
    for file in files:
        flat = read_mapping(file)
        sections = unflatten(flat) | {"metadata": {"individuals": ["a"]}}
        back = flatten(sections)
        for name in ("batch_size", "epochs", "optimizer", "scheduler", "seed", "save_epochs"):
            assert back.get(name) == flat.get(name), (file.name, name)
        assert back["model"]["heads"] == flat["model"]["heads"], file.name
        assert back["model"]["backbone"] == flat["model"]["backbone"], file.name
        given = {name: value for name, value in flat["data"].items() if value}
        assert {name: back["data"].get(name) for name in given} == given, file.name


def lost(project, *words: str) -> list[str]:
    line = [f"project={project.as_posix()}", "net_type=dekr_w18", "data.bbox_margin=25", *words]
    return lost_in_flat(export_sections(check_keys(resolve(compose_tree(parse_overrides(line))))))


def test_what_both_forms_can_say_is_not_lost(mouse_project):
    said = ["batch_size=3", "optimizer.lr=0.5", "data.train.affine.rotation=90", "seed=7"]
    assert lost(mouse_project, *said, "data.train.auto_padding=${data.auto_padding}") == []


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("evaluation.pcutoff=0.4", "inference.eval.pcutoff: 0.4.* 0.6"),
        ("data.train.affine.p=0.7", "data.train.affine.p: 0.7.* 0.5"),
        ("data.bbox_margin=3", "data.bbox_margin: 3.* 25"),
        ("trainer.key_metric=test.mAR", "runner.key_metric: test.mAR.* test.mAP"),
    ],
)
def test_what_the_flat_form_has_no_words_for_is_lost(word, line, mouse_project):
    own = lost(mouse_project, word, "data.train.auto_padding=${data.auto_padding}")
    assert len(own) == 1
    assert re.match(line, own[0])


def test_export_prints_the_list(mouse_project, capsys):
    words = [f"project={mouse_project.as_posix()}", "evaluation.pcutoff=0.4", "export.schema=flat"]
    assert main(["export", *words]) == 0
    assert re.search("inference.eval.pcutoff: 0.4.* 0.6", capsys.readouterr().err)
