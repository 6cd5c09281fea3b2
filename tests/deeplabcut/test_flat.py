"""The one-level form of the specification, and the sections of DeepLabCut 3.0."""

from dlcexp.deeplabcut.flat import flatten, unflatten
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
