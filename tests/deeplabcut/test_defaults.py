"""What a file leaves unsaid, and how it is written in the form of another."""

import pytest

from dlcexp.deeplabcut.defaults import assume, schema_of, without_what_is_off, write_like
from dlcexp.trees import same
from dlcexp.yaml_files import read_mapping


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        (None, False, False),
        ({"a": [1, {"b": 2}]}, {"a": (1.0, {"b": 2})}, True),
        ({"a": 1}, {"a": 1, "b": None}, False),
        ([1, 2], [2, 1], False),
    ],
)
def test_values_are_alike_as_yaml_reads_them(one, other, alike):
    assert same(one, other) is alike
    assert same(other, one) is alike


@pytest.mark.parametrize("schema", ["flat", "sectioned"])
def test_the_form_of_every_sample_is_that_of_its_folder(samples, schema):
    files = sorted(samples.glob(f"{schema}_*/**/*.yaml"))
    assert len(files) > 20
    assert {schema_of(read_mapping(file)) for file in files} == {schema}


@pytest.mark.parametrize("document", [{}, {"runner": 3}, {"runner": "optimizer"}, {"x": {}}])
def test_what_is_no_such_file_has_no_form(document):
    assert schema_of(document) is None


def test_what_is_given_stays_and_a_missing_detector_stays_away():
    given = {"train_settings": {"epochs": 7}, "model": {"backbone": {}}, "detector": None}
    full = assume(given)
    assert full["train_settings"]["epochs"] == 7
    assert full["detector"] is None
    assert full["model"] == {"backbone": {}}
    assert "runner" not in full
    assert given["train_settings"] == {"epochs": 7}


def test_a_section_that_is_there_is_completed():
    full = assume({"train_settings": {}, "runner": {"snapshots": {"max_snapshots": 1}}})
    assert full["train_settings"]["batch_size"] == 8
    assert full["runner"]["snapshots"]["max_snapshots"] == 1
    assert full["runner"]["snapshots"]["save_epochs"] == 25


def test_before_3_0_1_nothing_stands_that_is_off():
    sections = {
        "config_version": 0,
        "net_type": "resnet_50",
        "data": {"train": {"hflip": None, "hist_eq": False, "affine": {"p": 0.5}}},
        "runner": {"optimizer": {"type": "SGD", "params": {}}, "gpus": None},
        "with_center_keypoints": False,
        "detector": None,
    }
    assert without_what_is_off(sections) == {
        "net_type": "resnet_50",
        "data": {"train": {"affine": {"p": 0.5}}},
        "runner": {"optimizer": {"type": "SGD", "params": {}}},
        "with_center_keypoints": False,
    }


def test_a_file_is_written_in_the_order_of_another_without_what_goes_without_saying():
    template = {"train_settings": {"seed": 1, "epochs": 9}, "device": "auto"}
    sections = {
        "device": "cpu",
        "train_settings": {"batch_size": 8, "epochs": 9, "seed": 1},
        "with_center_keypoints": True,
    }
    written = write_like(template, sections, sections, "dlc3")
    assert list(written) == ["train_settings", "device", "with_center_keypoints"]
    assert list(written["train_settings"]) == ["seed", "epochs"]
    assert written["device"] == "cpu"


def test_an_entry_that_is_off_is_off_in_the_word_of_the_other_file():
    template = {"data": {"train": {"hist_eq": None, "hflip": False}}}
    sections = {"data": {"train": {"hist_eq": False, "hflip": True}}}
    written = write_like(template, sections, sections, "sectioned")
    assert written == {"data": {"train": {"hist_eq": None, "hflip": True}}}
