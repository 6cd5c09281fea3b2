"""Any pytorch_config in, the same out."""

import copy
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import yaml
from parity_support import Parity, config_files

from dlcexp.config.checks import check_keys
from dlcexp.config.compose import compose_tree, resolve
from dlcexp.config.options import options
from dlcexp.config.overrides import Override, parse_overrides
from dlcexp.deeplabcut.export import export_config
from dlcexp.deeplabcut.to_overrides import Imported, import_config
from dlcexp.errors import ConfigError, ProjectError
from dlcexp.project import load_labels, open_project
from dlcexp.trees import select
from dlcexp.yaml_files import read_mapping

PADDING = {"pad_width_divisor": 32, "pad_height_divisor": 32}
COLLATE = {"type": "ResizeFromDataSizeCollate", "min_scale": 0.4, "max_scale": 1.0}


def known(name: str) -> bool:
    return name.partition("__")[0].partition("/")[2] in options("net_type")


# Every net type in either project with the smallest detector, each detector once.
IDENTICAL = [
    name
    for name in (f"{file.parent.name}/{file.stem}" for file in config_files())
    if known(name)
    and ("__" not in name or name.startswith("openfield") or "resnet_50" in name)
    and ("__" not in name or name.endswith("ssdlite") or "flies13/top_down_resnet_50" in name)
]


def ordered(node):
    """Nested lists of pairs, so that a comparison also sees the order of keys."""
    if isinstance(node, dict):
        return [(key, ordered(value)) for key, value in node.items()]
    return [ordered(item) for item in node] if isinstance(node, list) else node


def tree_of(overrides: Iterable[Override]) -> dict:
    return check_keys(resolve(compose_tree([*overrides])))


def line_of(imported: Imported) -> list[str]:
    """The overrides that a file amounts to, as typed, without that of its project."""
    return [str(override) for override in imported.overrides if override.key != "project"]


@pytest.fixture
def record(tmp_path: Path, parity: Parity) -> Callable[[str], Path]:
    """Write the file that DeepLabCut wrote for PROJECT/NET[__DETECTOR]."""

    def write(name: str) -> Path:
        file = tmp_path / "pytorch_config.yaml"
        file.write_text(parity.config(*name.split("/")), encoding="utf-8")
        return file

    return write


def edited(source: Path, edits: dict[str, object], *, drop: tuple[str, ...] = ()) -> Path:
    """The file with values at dotted paths set, as an editor that keeps the order does."""
    document = read_mapping(source)
    for path, value in edits.items():
        *parents, name = path.split(".")
        node = document
        for parent in parents:
            node = node[int(parent)] if isinstance(node, list) else node[parent]
        node[name] = copy.deepcopy(value)
    for path in drop:
        *parents, name = path.split(".")
        node = document
        for parent in parents:
            node = node[parent]
        del node[name]
    source.write_text(yaml.safe_dump(document, sort_keys=False))
    return source


def comes_back(source: Path) -> Imported:
    """Import, compose the line, export: the same values in the same order."""
    imported = import_config(source)
    tree = tree_of(imported.overrides)
    written = export_config(tree, schema=tree["export"]["schema"])
    target = source.with_suffix(".out.yaml")
    target.write_text(written, encoding="utf-8")
    assert ordered(read_mapping(target)) == ordered(read_mapping(source))
    assert imported.notes == ()
    return imported


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in IDENTICAL if "rtmpose_x" not in n])
def test_a_file_of_deeplabcut_is_one_net_type_and_comes_back_the_same(record, name):
    imported = comes_back(record(name))
    words = [text for text in line_of(imported) if text != "conditions=1"]  # the records have it
    net, _, detector = name.partition("/")[2].partition("__")
    expected = [f"net_type={net}"]
    if detector and detector != "ssdlite":
        expected.append(f"detector={detector}")
    assert words == expected
    assert imported.schema == "dlc3"


def test_crops_that_do_not_fit_the_head_follow_the_head_and_that_is_told(record):
    source = record("openfield/rtmpose_x__ssdlite")
    imported = import_config(source)
    assert line_of(imported) == ["net_type=rtmpose_x"]
    assert [note.partition(":")[0] for note in imported.notes] == [
        "data.train.top_down_crop",
        "data.inference.top_down_crop",
    ]


SGD = {"type": "SGD", "params": {"lr": 0.01, "momentum": 0.9, "weight_decay": 0}}
STEP = {"type": "StepLR", "params": {"step_size": 7}}
CHAINED = {
    "type": "SequentialLR",
    "params": {
        "schedulers": [
            {"type": "LinearLR", "params": {"start_factor": 0.01, "total_iters": 3}},
            {"type": "CosineAnnealingLR", "params": {"T_max": 50}},
        ],
        "milestones": [3],
    },
}
WANDB = {"type": "WandbLogger", "project_name": "mice", "run_name": "a b"}
EDITS = {
    "learning rate": ({"runner.optimizer.params.lr": 3e-05}, ["optimizer.lr=3e-05"]),
    "a parameter at torch's default": (
        {"runner.optimizer.params": {"lr": 0.0005, "weight_decay": 0.01}},
        ["export.like={source}"],
    ),
    "another optimizer": (
        {"runner.optimizer": SGD},
        ["optimizer=sgd", "optimizer.lr=0.01", "optimizer.momentum=0.9", "export.like={source}"],
    ),
    "another scheduler": (
        {"runner.scheduler": STEP},
        ["scheduler=step_lr", "~scheduler.gamma", "scheduler.step_size=7"],
    ),
    "no scheduler": ({"runner.scheduler": None}, ["scheduler=none"]),
    "schedulers in one": ({"runner.scheduler": CHAINED}, None),
    "milestones": (
        {"runner.scheduler.params.milestones": [10, 20]},
        ["scheduler.milestones=[10,20]"],
    ),
    "settings": (
        {"train_settings.epochs": 30, "train_settings.batch_size": 2, "train_settings.seed": 0},
        ["batch_size=2", "epochs=30", "seed=0"],
    ),
    "augmentations": (
        {
            "data.train.hflip": {"p": 0.5, "symmetries": [[1, 2]]},
            "data.train.affine.rotation": 90,
            "data.train.crop_sampling": None,
            "data.train.motion_blur": {"p": 0.3, "blur_limit": [3, 7]},
            "data.train.covering": False,
            "data.train.auto_padding": {"pad_width_divisor": 64, "pad_height_divisor": 64},
        },
        None,
    ),
    "resize in both menus": (
        {
            f"data.{menu}.resize": {"width": 320, "height": 256, "keep_ratio": True}
            for menu in ("train", "inference")
        },
        [
            *("data.resize.width=320", "data.resize.height=256"),
            # The crops of the file, which would follow the resized frames.
            *("data.train.crop_sampling.width=448", "data.train.crop_sampling.height=448"),
        ],
    ),
    "resize in inference alone": (
        {"data.inference.resize": {"width": 320, "height": 256, "keep_ratio": True}},
        None,
    ),
    "weights and biases": (
        {"logger": WANDB},
        [
            "logger=[csv,wandb]",
            "logger.wandb.project_name=mice",
            "logger.wandb.run_name='a b'",
        ],
    ),
    "more for weights and biases": (
        {"logger": WANDB | {"wandb_kwargs": {"entity": "lab", "save_code": True}}},
        None,
    ),
    "extra keys of the logger": (
        {"logger": {"type": "WandbLogger", "entity": "lab", "tags": ["x"], "run_name": "r"}},
        None,
    ),
    "what has no effect here": (
        {
            "runner.gpus": [0, 1],
            "runner.snapshot_prefix": "mine",
            "train_settings.weight_init": {"dataset": "superanimal_topviewmouse"},
            "resume_training_from": "C:\\Users\\me\\snapshot-010.pt",
        },
        None,
    ),
    "sizes of one's own": (
        {
            "model.heads.bodypart.heatmap_config.channels": [270, 24, 5],
            "model.heads.bodypart.predictor.max_absorb_distance": 50,
            "model.heads.bodypart.criterion.offset": {
                "type": "WeightedHuberCriterion",
                "weight": 0.1,
            },
        },
        None,
    ),
    "evaluation": (
        {"inference.eval.pcutoff": 0.4, "inference.eval.comparison_bodyparts": ["snout"]},
        ["evaluation.pcutoff=0.4", "evaluation.comparison_bodyparts=[snout]"],
    ),
    "another backbone under the head": (
        {
            "model.backbone": {"type": "ResNet", "model_name": "resnet50_gn", "output_stride": 8},
            "model.backbone_output_channels": 2048,
            "net_type": "resnet_50",
        },
        None,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("edit", EDITS)
def test_a_file_edited_by_hand_comes_back_and_only_the_edit_is_in_the_line(record, edit):
    changes, expected = EDITS[edit]
    source = edited(record("openfield/dekr_w18"), changes)
    imported = comes_back(source)
    if expected is not None:
        words = ["net_type=dekr_w18", *(word.format(source=source) for word in expected)]
        assert sorted(line_of(imported)) == sorted(words)


def test_an_edited_detector_comes_back(record):
    source = edited(
        record("openfield/top_down_resnet_50__ssdlite"),
        {
            "detector.runner.optimizer": SGD,
            "detector.runner.scheduler": None,
            "detector.train_settings.batch_size": 3,
            "detector.train_settings.seed": 7,
            "detector.data.train.hflip": None,
            "detector.model.box_score_thresh": 0.3,
            "data.train.top_down_crop.width": 128,
            "data.inference.top_down_crop.width": 128,
        },
    )
    words = line_of(comes_back(source))
    assert "optimizer@detector.optimizer=sgd" in words
    assert "scheduler@detector.scheduler=none" in words
    assert "data.top_down_crop.width=128" in words
    assert "+export.extra.detector.train_settings.seed=7" in words


def test_what_a_file_leaves_unsaid_stays_unsaid(record):
    unsaid = (
        *("inference", "logger", "detector", "net_type", "config_version", "model.pose_model"),
        *("data.gen_sampling", "data.train.resize", "data.train.covering", "runner.gpus"),
        *("runner.eval_interval", "train_settings.seed", "data.inference.hflip"),
    )
    imported = comes_back(edited(record("openfield/dekr_w18"), {}, drop=unsaid))
    assert line_of(imported)[0] == "net_type=dekr_w18"
    assert imported.schema == "sectioned"


def test_the_order_of_keys_is_kept(record):
    source = record("openfield/dekr_w18")
    source.write_text(yaml.safe_dump(read_mapping(source), sort_keys=True))
    assert line_of(comes_back(source)) == ["net_type=dekr_w18", f"export.like={source}"]


def test_what_follows_from_other_values_needs_no_words(record, mouse_project):
    source = record("openfield/rtmpose_s__ssdlite")
    words = ["net_type=rtmpose_s", "data.top_down_crop.width=128", "epochs=30"]
    words.append("optimizer.lr=0.01")
    project = f"project={mouse_project.as_posix()}"
    source.write_text(export_config(tree_of(parse_overrides([project, *words]))))
    assert sorted(line_of(comes_back(source))) == sorted(words)


@pytest.mark.parametrize(
    "sample",
    [
        *("sectioned_3.0.0/single__rtmpose_m", "sectioned_3.0.0/single__dekr_w32"),
        *("sectioned_3.0.0/single__topdown_hrnet_w32", "sectioned_3.0rc1/single__resnet_50"),
        *("sectioned_3.0rc1/single__topdown_hrnet_w18", "flat_2024-02/single__topdown_hrnet_w18"),
        *("flat_2024-02/single__resnet_50", "flat_2024-02/single__hrnet_w32"),
    ],
)
def test_older_files_come_back_in_their_own_form(samples, tmp_path, mouse_project, sample):
    text = (samples / f"{sample}.yaml").read_text()
    source = tmp_path / "pytorch_config.yaml"
    source.write_text(text.replace("PROJECT", mouse_project.as_posix()))
    imported = comes_back(source)
    form = sample.partition("_")[0]
    assert f"export.schema={form}" in line_of(imported)


@pytest.mark.parametrize(
    "words", [["net_type=dekr_w18"], ["method=td", "epochs=7", "logger=wandb"]]
)
def test_a_tree_goes_through_the_flat_form_and_back(mouse_project, tmp_path, words):
    project = f"project={mouse_project.as_posix()}"
    tree = tree_of(parse_overrides([project, *words, "data.train.auto_padding=null"]))
    source = tmp_path / "pytorch_config.yaml"
    source.write_text(export_config(tree, schema="flat"))
    imported = import_config(source)
    back = tree_of(imported.overrides)
    keys = ("model", "optimizer", "scheduler", "epochs", "batch_size", "seed", "save_epochs")
    assert {key: back[key] for key in keys} == {key: tree[key] for key in keys}
    assert back["data"]["train"]["affine"] == tree["data"]["train"]["affine"]


# The project


def test_a_stale_path_gives_way_to_the_folder_around_the_file(record, tmp_path, mouse_project):
    project = tmp_path / "moved"
    folder = project / "dlc-models-pytorch" / "iteration-0" / "x-trainset80shuffle1" / "train"
    folder.mkdir(parents=True)
    shutil.copy2(mouse_project / "config.yaml", project)
    source = record("openfield/dekr_w18").rename(folder / "pytorch_config.yaml")
    old = "C:\\Users\\me\\openfield"
    path = "\\dlc-models-pytorch\\iteration-0\\x-trainset80shuffle1\\train\\pytorch_config.yaml"
    edited(source, {"metadata.project_path": old, "metadata.pose_config_path": old + path})
    imported = import_config(source)
    assert imported.overrides[0] == Override("project", str(project))
    metadata = read_text(export_config(tree_of(imported.overrides)))["metadata"]
    assert metadata["project_path"] == str(project)
    assert metadata["pose_config_path"] == str(source)


def read_text(text: str) -> dict:
    return yaml.safe_load(text)


def test_the_project_of_the_command_line_counts(record, mouse_project):
    source = edited(record("openfield/dekr_w18"), {"metadata.project_path": "/gone"})
    imported = import_config(source, [Override("project", str(mouse_project))])
    assert imported.overrides == (Override("net_type", "dekr_w18"),)


@pytest.mark.parametrize(
    "sample", ["sectioned_3.0.0/multi__dekr_w18", "flat_2024-02/multi__dekr_w32"]
)
def test_a_file_without_its_project_is_described_by_itself(samples, tmp_path, sample):
    source = Path(shutil.copy2(samples / f"{sample}.yaml", tmp_path / "a file.yaml"))
    imported = import_config(source)
    tree = tree_of(imported.overrides)
    head = select(read_mapping(source), "model.heads.bodypart.target_generator")
    assert tree["project"] == str(source)
    assert len(tree["metadata"]["bodyparts"]) == head["num_joints"]
    assert "project=PATH" in imported.notes[0]
    written = yaml.safe_load(export_config(tree, schema=imported.schema))
    same = ("model", "runner", "batch_size", "optimizer")
    assert {name: written.get(name) for name in same} == {
        name: read_mapping(source).get(name) for name in same
    }
    with pytest.raises(ProjectError, match=r"a file\.yaml.*no labelled frames.*project=PATH"):
        load_labels(open_project(source))


def test_the_names_of_a_file_without_its_project_are_those_of_its_metadata(record):
    imported = import_config(record("flies13/dekr_w18"))
    written = yaml.safe_load(export_config(tree_of(imported.overrides)))["metadata"]
    recorded = read_mapping(imported.source)["metadata"]
    for name in ("bodyparts", "unique_bodyparts", "individuals", "with_identity"):
        assert written[name] == recorded[name]


# What DeepLabCut 3.0.2 loads or wrote earlier: keys of the tree, and what is kept.
LOADED = {
    "no mask value": (
        {"data.inference.auto_padding": PADDING | {"border_mask_value": None}},
        {},
        "",
    ),
    "a mask value": (
        {"data.train.auto_padding": PADDING | {"border_mask_value": 3}},
        {"data.train.auto_padding.pad_width_divisor": 32},
        "data.train.auto_padding.border_mask_value=3",
    ),
    "shifts of cuts": (
        {"data.train.collate": COLLATE | {"max_shift": 10, "max_size": 600}},
        {"data.train.collate.min_scale": 0.4},
        "data.train.collate.max_shift=10",
    ),
    "no threshold of boxes, as 3.0.1 writes it": (
        {"detector.model.box_score_thresh": None},
        {"detector.model.box_score_thresh": 0.01},
        "",
    ),
    "a random detector": (
        {"detector.model.pretrained": False},
        {"detector.model.weights": None},
        "",
    ),
    "a detector trained on COCO": (
        {"detector.model.pretrained": True},
        {"detector.model.weights": "auto"},
        "",
    ),
    "weights of 2024": ({"train_settings.pretrained_weights": None}, {}, ""),
    "resized crops": (
        {"data.train.resize": {"width": 128, "height": 96, "keep_ratio": True}},
        {"data.train.resize.width": 128},
        "",
    ),
    "normalisation that is null": (
        {"data.inference.normalize_images": None, "data.train.normalize_images": None},
        {"data.normalize_images": False},
        "",
    ),
    "no bodyparts to compare": (
        {"inference.eval.comparison_bodyparts": None},
        {"evaluation.comparison_bodyparts": "all"},
        "",
    ),
    "devices": ({"runner.gpus": [0, 1]}, {}, "runner.gpus=[0,1]"),
    "a compiled model": (
        {"inference.compile": {"enabled": True, "backend": "inductor"}},
        {"inference.compile.enabled": True},
        "inference.compile.enabled=true",
    ),
    "a snapshot": ({"resume_training_from": "x.pt"}, {}, "resume_training_from=x.pt"),
}


@pytest.mark.parametrize("case", LOADED)
def test_what_deeplabcut_loads_is_imported_and_named_where_it_has_no_effect(record, case):
    edits, keys, kept = LOADED[case]
    imported = import_config(edited(record("openfield/top_down_resnet_50__ssdlite"), edits))
    tree = tree_of(imported.overrides)
    assert {key: select(tree, key, "absent") for key in keys} == keys
    assert kept in " ".join(imported.kept)
    assert bool(kept) == bool(imported.kept)


def test_the_plateau_generator_of_the_first_files(samples, tmp_path, mouse_project):
    source = Path(shutil.copy2(samples / "flat_2024-02/single__resnet_50.yaml", tmp_path))
    node = "model.heads.bodypart.target_generator"
    first = {
        "type": "PlateauGenerator",
        "num_joints": 4,
        "pos_dist_thresh": 17,
        "locref_stdev": 7.3,
    }
    project = [Override("project", str(mouse_project))]
    edited(source, {node: first}, drop=("data.normalize_images",))
    imported = import_config(source, project)
    tree = tree_of([*project, *imported.overrides])
    generator = select(tree, node)
    assert generator["_target_"].endswith(".HeatmapPlateauGenerator")
    assert (generator["num_heatmaps"], generator["locref_std"]) == (4, 7.3)
    assert tree["data"]["normalize_images"] is False
    assert any("data.normalize_images" in note for note in imported.notes)


def test_bodyparts_of_another_project_are_named(record, small_project):
    source = record("openfield/dekr_w18")
    with pytest.raises(ConfigError, match=r"metadata.bodyparts.*snout, leftear"):
        import_config(source, [Override("project", str(small_project))])


# Mistakes


@pytest.mark.parametrize(
    ("edits", "told"),
    [
        (
            {"train_settings.batch_sise": 4},
            "train_settings.batch_sise.*4.*'batch_size'",
        ),
        ({"model.backbone.type": "HRNett"}, "model.backbone.type.*'HRNett'.*'HRNet'"),
        ({"model.heads.bodypart.type": "Dekr"}, "model.heads.bodypart.type.*'Dekr'"),
        ({"runner.optimizer.type": "Adan"}, "runner.optimizer.type.*'Adan'.*Adam"),
        ({"runner.scheduler.type": "StepRL"}, "runner.scheduler.type.*'StepLR'"),
        ({"method": "tdd"}, "method.*'tdd'.*'td'"),
        ({"data.train.hflipp": True}, "data.train.hflipp.*'hflip'"),
        ({"logger": {"type": "Wandb"}}, "logger.type.*'WandbLogger'"),
        ({"train_settings": 3}, "train_settings.*3"),
        ({"model": None}, "^model: "),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_key_and_the_nearest_match(record, edits, told):
    source = edited(record("openfield/dekr_w18"), edits)
    with pytest.raises(ConfigError, match=told):
        import_config(source)


def test_a_projects_config_is_no_pytorch_config(mouse_project):
    with pytest.raises(ProjectError, match=r"config\.yaml.*project="):
        import_config(mouse_project / "config.yaml")
