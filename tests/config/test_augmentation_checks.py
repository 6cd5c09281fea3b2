"""The augmentation menu: spellings that exist are accepted, mistakes are named."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from parity_support import config_files

from dlcexp.config.augmentation_checks import check_batchable, validate_data
from dlcexp.config.augmentation_keys import effective_menu, parse_bytes
from dlcexp.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (0, 0),
        (1000, 1000),
        ("2GiB", 2 * 1024**3),
        ("512MiB", 512 * 1024**2),
        ("1.5 kB", 1500),
        ("3gib", 3 * 1024**3),
        ("12", 12),
    ],
)
def test_amounts_of_memory(text: int | str, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "much", "-1", -1, True, "2GiBs"])
def test_what_is_no_amount_of_memory(text: object) -> None:
    with pytest.raises(ConfigError, match=r"data\.cache: "):
        validate_data({"cache": text})


ACCEPTED = [
    {"resize": {"width": 320, "height": 240, "keep_ratio": True}},
    {"resize": {"width": None, "height": 240}},
    {"train": {"rotation": 30, "scale_jitter": [0.5, 1.25], "covering": True, "hist_eq": False}},
    {"train": {"affine": {"p": 0.5, "rotation": [-10, 20], "translation": [0, 5]}}},
    {"train": {"hflip": 0.3, "grayscale": {"alpha": [0.2, 0.9]}, "motion_blur": {"p": 0.1}}},
    {"train": {"gaussian_noise": True, "elastic_transform": {"alpha": 3, "sigma": 2, "p": 1}}},
    {"train": {"mine": {"_target_": "albumentations.RandomGamma", "p": 0.3}}},
    {"mine": {"_target_": "albumentations.CLAHE"}, "train": {"mine": None}},
    {"train": {"collate": {"type": "ResizeFromListCollate", "scales": [[256, 320], [128, 128]]}}},
    {"train": {"top_down_crop": None, "random_bbox_transform": None}, "gen_sampling": None},
]


@pytest.mark.parametrize("data", ACCEPTED, ids=str)
def test_accepts(data: dict) -> None:
    validate_data(data)


REFUSED = {
    "a typo names the nearest": (
        {"train": {"rotate": 30}},
        r"data\.train\.rotate: .*30.*'rotation'",
    ),
    "a typo directly under data": ({"resiz": 1}, r"data\.resiz: .*'resize'"),
    "null does not hide a typo": ({"train": {"hfip": None}}, r"data\.train\.hfip: .*'hflip'"),
    "a typo one level down": (
        {"train": {"affine": {"rotaton": 3}}},
        r"data\.train\.affine\.rotaton: .*3.*'rotation'",
    ),
    "a wrong type": (
        {"train": {"affine": {"rotation": "x"}}},
        r"data\.train\.affine\.rotation: 'x' .*180",
    ),
    "an exchanged range": (
        {"train": {"scale_jitter": [1.25, 0.5]}},
        r"data\.train\.scale_jitter: \[1\.25, 0\.5\]",
    ),
    "a probability above one": ({"train": {"hflip": 2}}, r"data\.train\.hflip: 2 .*0 to 1"),
    "a size of zero": (
        {"train": {"crop_sampling": {"width": 0, "height": 9}}},
        r"data\.train\.crop_sampling\.width: 0",
    ),
    "half a crop": (
        {"train": {"crop_sampling": {"width": 9}}},
        r"data\.train\.crop_sampling\.height: ",
    ),
    "an unknown crop method": (
        {"train": {"crop_sampling": {"width": 9, "height": 9, "method": "dense"}}},
        r"\.method: 'dense' .*uniform, keypoints, density, hybrid",
    ),
    "both spellings of rotation": (
        {"train": {"rotation": 3, "affine": {"rotation": 4}}},
        r"data\.train\.rotation: 3 .*data\.train\.affine\.rotation=4",
    ),
    "both spellings of scaling": (
        {"train": {"scale_jitter": [1, 2], "affine": {"scaling": [1, 2]}}},
        r"data\.train\.scale_jitter",
    ),
    "two ways of scaling values": (
        {"normalize_images": True, "scale_to_unit_range": True},
        r"scale_to_unit_range: True .*normalize_images=True",
    ),
    "random steps in inference": (
        {"inference": {"affine": {"rotation": 3}}},
        r"data\.inference\.affine: .*'rotation': 3.*top_down_crop, resize",
    ),
    "a top-down step": (
        {"train": {"top_down_crop": {"width": 256, "height": 256}}},
        r"data\.train\.top_down_crop: .*method=td",
    ),
    "a conditional step": (
        {"gen_sampling": {"jitter_prob": 0.1}},
        r"data\.gen_sampling.*method=ctd",
    ),
    "an unknown collation": (
        {"train": {"collate": {"type": "Resize"}}},
        r"data\.train\.collate\.type: 'Resize' .*ResizeFromDataSize",
    ),
    "a collation without its sizes": (
        {"train": {"collate": {"type": "ResizeFromList"}}},
        r"data\.train\.collate\.scales: ",
    ),
    "two limits on one side": (
        {"auto_padding": {"min_width": 64, "pad_width_divisor": 32}},
        r"data\.auto_padding\.min_width: 64 .*pad_width_divisor=32",
    ),
    "another loader": ({"loader": {"type": "COCOLoader"}}, r"data\.loader: .*null"),
    "an unknown colour mode": ({"colormode": "HSV"}, r"data\.colormode: 'HSV'.*RGB, BGR"),
    "a section that is no mapping": ({"train": 3}, r"data\.train: 3 "),
}


CROPS = {"width": 256, "height": 192}
SHAKE = {"shift_factor": 0.16, "shift_prob": 0.3, "scale_factor": [0.75, 1.25], "scale_prob": 1.0}

ACCEPTED_TOP_DOWN = [
    {"top_down_crop": CROPS},
    {"train": {"top_down_crop": CROPS}, "inference": {"top_down_crop": CROPS}},
    {"top_down_crop": CROPS, "train": {"random_bbox_transform": {**SHAKE, "p": 0.5}}},
    {"top_down_crop": CROPS, "random_bbox_transform": {}, "train": {"hflip": True}},
    {"top_down_crop": CROPS, "resize": {"width": None, "height": None, "keep_ratio": True}},
    {"top_down_crop": CROPS, "auto_padding": {"pad_width_divisor": 32}, "gen_sampling": None},
    {
        "top_down_crop": CROPS,
        "crop_sampling": {"width": 9, "height": 9},
        "train": {"crop_sampling": None},
    },
]


@pytest.mark.parametrize("data", ACCEPTED_TOP_DOWN, ids=str)
def test_accepts_in_top_down(data: dict) -> None:
    validate_data(data, method="td")


REFUSED_TOP_DOWN = {
    "no crop": ({}, r"data\.top_down_crop: .*method=td.*'data\.top_down_crop=\{width: 256"),
    "a crop switched off": ({"top_down_crop": None}, r"data\.top_down_crop: missing"),
    "a crop in training only": (
        {"train": {"top_down_crop": CROPS}},
        r"data\.top_down_crop: missing",
    ),
    "half a crop": ({"top_down_crop": {"width": 9}}, r"data\.top_down_crop\.height: "),
    "a crop without extent": (
        {"top_down_crop": {"width": 0, "height": 9}},
        r"data\.top_down_crop\.width: 0 .*1",
    ),
    "a typo in the crop": (
        {"top_down_crop": {**CROPS, "heigth": 9}},
        r"data\.top_down_crop\.heigth: .*9.*'height'",
    ),
    "another crop": (
        {"top_down_crop": CROPS, "train": {"crop_sampling": {"width": 9, "height": 9}}},
        r"data\.train\.crop_sampling: \{'width': 9.*method=td.*null",
    ),
    "shaken boxes in inference": (
        {"top_down_crop": CROPS, "inference": {"random_bbox_transform": SHAKE}},
        r"data\.inference\.random_bbox_transform: .*top_down_crop, resize",
    ),
    "a scale of zero": (
        {"top_down_crop": CROPS, "train": {"random_bbox_transform": {"scale_factor": [0, 1]}}},
        r"data\.train\.random_bbox_transform\.scale_factor: \[0, 1\] .*above 0",
    ),
    "a shift to the other side": (
        {"top_down_crop": CROPS, "train": {"random_bbox_transform": {"shift_factor": -0.1}}},
        r"random_bbox_transform\.shift_factor: -0\.1 ",
    ),
    "a conditional step": (
        {"top_down_crop": CROPS, "gen_sampling": {"jitter_prob": 0.1}},
        r"data\.gen_sampling: .*method=ctd.*method=td.*null",
    ),
}


@pytest.mark.parametrize(
    ("data", "message"), REFUSED_TOP_DOWN.values(), ids=REFUSED_TOP_DOWN.keys()
)
def test_refuses_in_top_down(data: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate_data(data, method="td")


GEN_SAMPLING = {
    "a probability above 1": ({"swap_prob": 1.5}, r"gen_sampling\.swap_prob: 1\.5 "),
    "a typo": ({"jiter_prob": 0.1}, r"gen_sampling\.jiter_prob: .*'jitter_prob'"),
    "no spread": ({"keypoint_sigmas": 0}, r"gen_sampling\.keypoint_sigmas: 0 "),
    "too few spreads": ({"keypoint_sigmas": [0.1]}, r"keypoint_sigmas: 1 .*3 "),
    "null": (None, r"gen_sampling: null .*jitter_prob=0, .*miss_prob=0"),
    "more than all": (
        {"jitter_prob": 0.7, "miss_prob": 0.4},
        r"gen_sampling: .*1.*jitter_prob 0\.7, miss_prob 0\.4",
    ),
    "no such bodypart": (
        {"keypoints_symmetry": [["nose", "tial"]]},
        r"gen_sampling\.keypoints_symmetry: 'tial' .*'tail'",
    ),
}


@pytest.mark.parametrize(("sampling", "message"), GEN_SAMPLING.values(), ids=GEN_SAMPLING.keys())
def test_refuses_in_conditional_top_down(sampling: dict | None, message: str) -> None:
    data = {"top_down_crop": CROPS | {"crop_with_context": False}, "gen_sampling": sampling}
    with pytest.raises(ConfigError, match=message):
        validate_data(data, ["nose", "tail", "ear"], method="ctd")


def test_accepts_the_mistakes_of_conditions() -> None:
    sampling = {"keypoint_sigmas": [0.1, 0.2, 0.3], "keypoints_symmetry": [[0, "ear"]]}
    data = {"top_down_crop": CROPS, "gen_sampling": sampling | {"miss_prob": 0}}
    validate_data(data, ["nose", "tail", "ear"], method="ctd")


REFUSED_DETECTOR = {
    "a typo": ({"train": {"hfip": 1}}, r"data_detector\.train\.hfip: .*'hflip'"),
    "a wrong type": (
        {"train": {"affine": {"rotation": "x"}}},
        r"data_detector\.train\.affine\.rotation: 'x' ",
    ),
    "a crop": (
        {"top_down_crop": CROPS},
        r"data_detector\.top_down_crop: .*'data\.top_down_crop'",
    ),
    "shaken boxes": (
        {"train": {"random_bbox_transform": SHAKE}},
        r"data_detector\.train\.random_bbox_transform: .*'data\.train\.random_bbox_transform'",
    ),
    "a margin, which is that of data": ({"bbox_margin": 3}, r"data_detector\.bbox_margin: unknown"),
    "a cache, which is that of data": ({"cache": "2GiB"}, r"data_detector\.cache: unknown"),
    "an unknown colour mode": ({"colormode": "HSV"}, r"data_detector\.colormode: 'HSV'"),
    "random steps in inference": (
        {"inference": {"hflip": True}},
        r"data_detector\.inference\.hflip: True .*resize",
    ),
    "two ways of scaling values": (
        {"normalize_images": True, "scale_to_unit_range": True},
        r"data_detector\.normalize_images=false",
    ),
    "an unknown bodypart": (
        {"train": {"hflip": {"symmetries": [["a", "b"]]}}},
        r"data_detector\.train\.hflip\.symmetries: 'a' .*nose",
    ),
    "a collation without its sizes": (
        {"train": {"collate": {"type": "ResizeFromList"}}},
        r"data_detector\.train\.collate\.scales: ",
    ),
}


@pytest.mark.parametrize(
    ("data", "message"), REFUSED_DETECTOR.values(), ids=REFUSED_DETECTOR.keys()
)
def test_refuses_for_the_detector(data: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate_data(data, ["nose"], method="td", key="data_detector")


def test_the_detector_has_the_frames_of_bottom_up() -> None:
    data = {"resize": {"width": 640}, "train": {"crop_sampling": {"width": 300, "height": 300}}}
    validate_data(data, method="td", key="data_detector")


@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(data: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate_data(data)


@pytest.mark.parametrize(
    ("symmetries", "message"),
    [
        ([["earL", "earQ"]], r"data\.train\.hflip\.symmetries: 'earQ' .*'ear[LR]'"),
        ([[0, 7]], r"symmetries: 7 .*nose, earL, earR"),
        ([["earL", "earR"], [1, 2]], r"symmetries: .*'earL'"),
        ([["earL", "earL"]], r"symmetries: .*\['earL', 'earL'\]"),
    ],
)
def test_symmetries_name_bodyparts(symmetries: list, message: str) -> None:
    data = {"train": {"hflip": {"symmetries": symmetries}}}
    with pytest.raises(ConfigError, match=message):
        validate_data(data, bodyparts=("nose", "earL", "earR"))


def test_shared_keys_hold_in_both_sections_and_are_overridden() -> None:
    data = {
        "resize": {"width": 64, "height": 64},
        "auto_padding": {"pad_width_divisor": 32},
        "rotation": 30,
        "cache": 0,
        "train": {"auto_padding": None, "hflip": True, "covering": False},
        "inference": {"resize": {"width": None, "height": None, "keep_ratio": True}},
    }
    assert effective_menu(data, "train") == {
        "resize": data["resize"],
        "rotation": 30,
        "hflip": True,
    }
    # The specification: inference keeps normalisation, rescaling and padding only.
    assert effective_menu(data, "inference") == {"auto_padding": data["auto_padding"]}


PAD = {"pad_width_divisor": 32, "pad_height_divisor": 32}
WIDE = {"min_width": 500}
CROP = {"width": 448, "height": 448}
BATCHABLE = [
    {"auto_padding": PAD},
    {"resize": {"width": 320, "height": 256}},
    {"auto_padding": {"pad_width_divisor": 64, "pad_height_divisor": 32}},
    {"inference": {"auto_padding": PAD}, "train": {"crop_sampling": CROP}},
    {
        "inference": {"auto_padding": PAD},
        "train": {"collate": {"type": "ResizeFromDataSize", "multiple_of": 32}},
    },
]


@pytest.mark.parametrize("data", BATCHABLE, ids=str)
def test_sides_that_the_network_can_take(data: dict) -> None:
    check_batchable(data, 32)


@pytest.mark.parametrize(
    ("data", "section"),
    [
        ({}, "train"),
        ({"train": {"crop_sampling": CROP}}, "inference"),
        ({"auto_padding": PAD, "train": {"auto_padding": None}}, "train"),
        ({"auto_padding": PAD, "train": {"crop_sampling": CROP, "auto_padding": WIDE}}, "train"),
        ({"resize": {"width": 320, "height": 250}}, "train"),
        ({"resize": {"width": 320, "height": None}}, "train"),
        ({"auto_padding": {"pad_width_divisor": 16, "pad_height_divisor": 32}}, "train"),
        ({"auto_padding": PAD, "train": {"collate": {"type": "ResizeFromDataSize"}}}, "train"),
    ],
    ids=str,
)  # fmt: skip
def test_sides_that_the_network_cannot_take(data: dict, section: str) -> None:
    with pytest.raises(ConfigError, match=rf"data\.{section}: .*data\.{section}\.auto_padding="):
        check_batchable(data, 32)
    check_batchable(data, 1)


def test_crops_hold_in_training_and_inference() -> None:
    data = {"top_down_crop": CROPS, "random_bbox_transform": SHAKE, "resize": {"width": None}}
    assert effective_menu(data, "train") == {
        "top_down_crop": CROPS,
        "random_bbox_transform": SHAKE,
    }
    assert effective_menu(data, "inference") == {"top_down_crop": CROPS}


def test_the_crop_decides_whether_the_network_can_take_it() -> None:
    check_batchable({"top_down_crop": CROPS}, 32)
    padded = {"pad_width_divisor": 32, "pad_height_divisor": 32}
    check_batchable({"top_down_crop": {"width": 250, "height": 190}, "auto_padding": padded}, 32)
    remedy = r"data\.train: .*32 .*'data\.top_down_crop=\{width: 256, height: 192\}'"
    with pytest.raises(ConfigError, match=remedy):
        check_batchable({"top_down_crop": {"width": 250, "height": 190}}, 32)
    frames = {"train": {"collate": {"type": "ResizeFromDataSize", "multiple_of": 32}}}
    with pytest.raises(
        ConfigError, match=r"data_detector\.inference: .*data_detector\.inference\.au"
    ):
        check_batchable(frames, 32, key="data_detector")


def test_every_known_top_down_menu_is_accepted(samples: Path) -> None:
    files = [*config_files(), *samples.glob("sectioned_3.0.0/*.yaml")]
    trees = [yaml.safe_load(file.read_text()) for file in files]
    trees = [tree for tree in trees if tree["method"].lower() == "td"]
    assert len(trees) > 50
    for tree in trees:
        parts = tree["metadata"]["bodyparts"]
        validate_data(tree["data"], parts, method="td")
        validate_data(tree["detector"]["data"], parts, method="td", key="data_detector")
        check_batchable(tree["data"], 32)


def test_every_known_bottom_up_menu_is_accepted(samples: Path) -> None:
    files = [*config_files(), *samples.glob("*/*.yaml")]
    menus = {str(file): yaml.safe_load(file.read_text())["data"] for file in files}
    refused = {}
    for file, data in menus.items():
        try:
            validate_data(data)
        except ConfigError as error:
            refused[file] = error
    assert len(refused) < len(menus) / 1.5
    assert all("method=" in str(error) for error in refused.values())


def test_validation_imports_nothing_heavy() -> None:
    code = (
        "import sys, dlcexp.config.augmentation_keys; "
        "print({'torch', 'albumentations', 'cv2', 'numpy', 'pandas'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
