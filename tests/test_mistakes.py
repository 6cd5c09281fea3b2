"""Every kind of mistake as a command line: one message with key, value, what is allowed; exit 2."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from dlcexp.cli import main
from dlcexp.config.checks import late_milestones
from dlcexp.data.draw_demo import demo_project

# What is wrong, the words, what the message must say. {single} and {file} are filled in.
TREE = [
    ("group", "modle=dekr", r"modle: .*'dekr'.*'model'"),
    ("group with +", "+modle=dekr", r"modle: .*'dekr'.*'model'"),
    ("group with ++", "++modle=dekr", r"modle: .*'dekr'.*'model'"),
    ("group with ~", "~modle", r"modle: .*'model'"),
    ("group below a group", "model/bakcbone=hrnet_w18", r"model/bakcbone: .*'model/backbone'"),
    ("place of a group", "optimizer@trainer=sgd", r"optimizer@trainer: 'sgd'.*optimizer, "),
    ("option", "model=dekrr", r"model: 'dekrr' .*dekr, .*'dekr'"),
    ("option with +", "+model=dekrr", r"model: 'dekrr' .*dekr, .*'dekr'"),
    ("option with ++", "++model=dekrr", r"model: 'dekrr' .*dekr, .*'dekr'"),
    ("a second option", "+optimizer=sgd", r"optimizer: '\+optimizer=sgd'.* optimizer=sgd"),
    ("a group that must be", "~model", r"model: '~model' .*dekr, "),
    ("null for a group that must be", "model=null", r"model: 'model=null' .*dekr, "),
    ("key", "batch_sz=3", r"batch_sz: .*3.*'batch_size'"),
    ("key with +", "+batch_sz=3", r"batch_sz: .*3.*'batch_size'"),
    ("key with ++", "++trainer.devics=2", r"trainer\.devics: .*2.*'devices'"),
    ("key with ~", "~optimizer.lrr", r"optimizer\.lrr: .*'lr'"),
    ("value with ~", "~batch_size=3", r"batch_size: .*8.*3"),
    ("a key that must be", "~batch_size", r"batch_size: "),
    ("keyword: optimizer", "+optimizer.lrr=1", r"optimizer\.lrr: AdamW .*1.*'lr'"),
    ("keyword: scheduler", "+scheduler.milestone=[1]", r"scheduler\.milestone: .*'milestones'"),
    ("keyword: backbone", "+model.backbone.model_nam=x", r"backbone\.model_nam: .*'model_name'"),
    ("keyword: head", "+model.heads.bodypart.ofset_config=1", r"ofset_config: .*'offset_config'"),
    (
        "keyword: criterion",
        "+model.heads.bodypart.criterion.heatmap.wieght=1",
        r"model\.heads\.bodypart\.criterion\.heatmap\.wieght: .*'weight'",
    ),
    (
        "keyword: predictor",
        "+model.heads.bodypart.predictor.nms_treshold=1",
        r"model\.heads\.bodypart\.predictor\.nms_treshold: .*'nms_threshold'",
    ),
    (
        "keyword: target generator",
        "+model.heads.bodypart.target_generator.pos_dist_thres=1",
        r"model\.heads\.bodypart\.target_generator\.pos_dist_thres: .*'pos_dist_thresh'",
    ),
    ("keyword: logger", "+logger.csv.save_dirr=1", r"logger\.csv\.save_dirr: .*'save_dir'"),
    (
        "keyword: transform",
        "+data.train.mine={_target_: albumentations.Blur, blur_limt: 3}",
        r"data\.train\.mine\.blur_limt: Blur .*3.*'blur_limit'",
    ),
    ("keyword: split", "+split.train_fractio=1", r"split\.train_fractio: .*'train_fraction'"),
    ("class", "optimizer._target_=torch.optim.Adan", r"optimizer\._target_: .*Adan.*'Adam'"),
    ("enum", "trainer.precision=bf16", r"trainer\.precision: 'bf16' .*'bf16-(mixed|true)'"),
    (
        "enum of a target",
        "model.heads.bodypart.predictor.keypoint_score_type=combind",
        r"keypoint_score_type: 'combind' .*combined, heatmap, center.*'combined'",
    ),
    ("type", "batch_size=many", r"batch_size: 'many' .*whole number"),
    ("type: null", "epochs=null", r"epochs: None .*whole number"),
    ("type below", "data.resize.width=wide", r"data\.resize\.width: 'wide' .*whole number.*null"),
    ("type of a target", "optimizer.lr=fast", r"optimizer\.lr: 'fast' .*number"),
    ("type: a list", "train.stages=pose", r"train\.stages: 'pose' .*train\.stages=\[pose\]"),
    ("limit", "batch_size=0", r"batch_size: 0 .*1"),
    ("interpolation to nothing", "optimizer.lr=${optimizer.lrr}", r"lr: '\$\{.*'optimizer\.lr'"),
    ("interpolation to itself", "optimizer.lr=${optimizer.lr}", r"optimizer\.lr: "),
    ("unknown resolver", "optimizer.lr=${dlcexp.nope:1}", r"optimizer\.lr: .*dlcexp\.nope"),
    (
        "length: a limb",
        "model=paf model.recipe.graph=[[0,1,2]]",
        r"model\.recipe\.graph: \[0, 1, 2\]",
    ),
    (
        "length: fields",
        "model=paf model.heads.bodypart.paf_config.channels=[32,4]",
        r"paf_config\.channels: .*4.*\d+",
    ),
    ("length: milestones", "scheduler.milestones=[9]", r"scheduler\.milestones: \[9\] .*2"),
    (
        "length: learning rates",
        "scheduler.lr_list=[[1e-4]]",
        r"scheduler\.milestones: \[90, 120\] .*lr_list.*1",
    ),
    (
        "length: schedules",
        "scheduler=sequential_lr scheduler.milestones=[5,9]",
        r"scheduler\.milestones: \[5, 9\] .*1",
    ),
    (
        "length: betas",
        "optimizer.betas=[0.9]",
        r"optimizer\.betas: \[0\.9\] ",
    ),
    (
        "symmetries",
        "data.train.hflip={p: 0.5, symmetries: [[left_hindfot, tailtip]]}",
        r"data\.train\.hflip\.symmetries: 'left_hindfot' .*'left_hindfoot'",
    ),
    ("a YAML that is not there", "pytorch_config={folder}/none.yaml", r"none\.yaml: "),
    ("an empty YAML", "pytorch_config={folder}/empty.yaml", r"empty\.yaml: "),
    ("a broken YAML", "pytorch_config={folder}/broken.yaml", r"broken\.yaml, line 2: "),
    ("no form", "batch_size", r"'batch_size'.*key=value"),
    ("a value to quote", "optimizer.lr=a=b", r"optimizer\.lr='a=b'"),
]


def words_of(line: str, folder: Path) -> list[str]:
    line = line.replace("{folder}", folder.as_posix())
    return re.split(r" (?=[+~]*[\w@./]+=)", line)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "empty.yaml").touch()
    (folder / "broken.yaml").write_text("a: [1")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("line", "message"), [t[1:] for t in TREE], ids=[t[0] for t in TREE])
def test_a_mistake_in_the_tree_is_one_message(line, message, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words_of(line, files)]) == 2
    told = capsys.readouterr().err
    assert re.search(message, told), told
    assert len(told.splitlines()) == 1
    assert told.startswith("dlcexp: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("group", ["scheduler", "logger", "net_type", "experiment", "model/heads"])
def test_null_is_none(group, capsys):
    shown = []
    for option in ("null", "[]" if group == "model/heads" else "none"):
        line = f"{group}={option}"
        if group not in ("net_type", "experiment") or option == "null":
            assert main(["--cfg", "job", line]) == 0
        else:
            assert main(["--cfg", "job"]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]


@pytest.mark.parametrize("line", ["batch_size=many", "split=by_video", "trainer.strategy=dddp"])
def test_values_are_checked_before_a_tree_is_shown(line, capsys):
    assert main(["--cfg", "job", line]) == 2
    assert line.partition("=")[0] in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["batch_size=1,2,many"], r"batch_size: 'many'"),
        (["optimizer=adamw,sgd", "epochs=1,0"], r"epochs: 0 .*1"),
        (["batch_size=int(interval(0,4))"], r"batch_size: 0 .*1"),
        (["model=dekr,heatmap"], r"model: HeatmapHead"),
        (["optimizer=adamw,sgd", "+optimizer.lr=1"], r"optimizer\.lr: .*'optimizer\.lr=1'"),
    ],
    ids=str,
)
def test_an_impossible_value_of_a_sweep_is_told_before_the_first_job(
    words, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["-m", *words]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_milestones_after_the_last_epoch_are_a_warning(caplog, capsys):
    words = ["scheduler=multi_step_lr", "scheduler.milestones=[3,9]", "epochs=5"]
    assert main(["export", *words]) == 0
    assert re.search(r"scheduler\.milestones: 9 .*\[3, 9\].*epochs=5", caplog.text)


def test_a_key_metric_that_the_project_does_not_have_is_a_warning(tmp_path, caplog, capsys):
    (tmp_path / "config.yaml").write_text(
        "Task: t\nscorer: me\ndate: d\nmultianimalproject: true\nindividuals: [a, b]\n"
        "multianimalbodyparts: [spot]\nuniquebodyparts: []\nidentity: false\nbodyparts: MULTI!\n"
    )
    words = ["export", f"project={tmp_path}", "model=dekr"]
    assert main([*words, "trainer.key_metric=test.mAP"]) == 0
    assert "Set trainer.key_metric=val.rmse_detections" in caplog.text
    caplog.clear()
    assert main(words) == 0
    assert "key_metric" not in caplog.text


def test_milestones_of_nested_and_detector_schedules_are_seen():
    inner = {"milestones": [2, 7]}
    detector = {"epochs": 3, "scheduler": {"milestones": [3]}}
    tree = {"epochs": 5, "scheduler": {"schedulers": [inner]}, "detector": detector}
    told = [line.partition(":")[0] for line in late_milestones(tree)]
    assert told == ["scheduler.schedulers[0].milestones", "detector.scheduler.milestones"]


# What a project must be like; each case damages a copy of nine frames of one animal.


@pytest.fixture
def mouse(tmp_path) -> Path:
    project = tmp_path / "mouse"
    video = sorted((demo_project() / "labeled-data").iterdir())[0]
    shutil.copytree(video, project / "labeled-data" / video.name)
    shutil.copy2(demo_project() / "config.yaml", project)
    return project


def labels_of(project: Path) -> Path:
    return next(project.rglob("CollectedData*.h5"))


def only_csv(project: Path, content: bytes) -> None:
    csv = labels_of(project).with_suffix(".csv")
    labels_of(project).unlink()
    csv.write_bytes(content)


def word_among_labels(project: Path) -> None:
    table = pd.read_hdf(labels_of(project)).astype(object)
    table.iloc[0, 0] = "left"
    labels_of(project).unlink()
    table.to_csv(project / "labeled-data" / "x.csv")
    (project / "labeled-data" / "x.csv").rename(
        next((project / "labeled-data").glob("*/")) / "CollectedData_dlcexp.csv"
    )


def images(project: Path) -> list[Path]:
    return sorted(project.rglob("*.png"))


DAMAGE = {
    "labels missing": (
        lambda p: [f.unlink() for f in p.rglob("CollectedData*")],
        r"labeled-data: ",
    ),
    "labels empty": (lambda p: only_csv(p, b""), r"CollectedData_dlcexp\.csv: "),
    "labels broken": (lambda p: labels_of(p).write_bytes(b"x"), r"dlcexp\.h5: .*HDF5"),
    "labels of another kind": (lambda p: only_csv(p, b"a,b\n1,2\n"), r"dlcexp\.csv: .*scorer"),
    "a word among labels": (word_among_labels, r"dlcexp\.csv: .*'left'"),
    "images missing": (lambda p: [f.unlink() for f in images(p)], r"image.*labeled-data"),
    "an image empty": (lambda p: [f.write_bytes(b"") for f in images(p)], r"\.png: "),
    "an image cut": (lambda p: [f.write_bytes(b"\x89PNG") for f in images(p)], r"\.png: "),
    "config missing": (lambda p: (p / "config.yaml").unlink(), r"mouse: .*config\.yaml"),
    "config empty": (lambda p: (p / "config.yaml").write_text(""), r"config\.yaml: "),
    "config broken": (lambda p: (p / "config.yaml").write_text("a: ["), r"config\.yaml, line"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_project_is_named_with_the_path(
    what, mouse, tiny, tmp_path, monkeypatch, capsys, caplog
):
    damage, message = DAMAGE[what]
    damage(mouse)
    monkeypatch.chdir(tmp_path)
    assert main([f"project={mouse}", *tiny, "batch_size=2", "split.train_fraction=0.8"]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert re.match("dlcexp: ", told)
    assert re.search(message, told), told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["batch_size=64"], r"batch_size: 64 .*\d+"),
        pytest.param(
            ["device=cuda"],
            r"device: 'cuda' ",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
    ],
)
def test_what_this_machine_or_project_cannot_do(
    words, message, mouse, tiny, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main([f"project={mouse}", *tiny, *words, f"hydra.run.dir={tmp_path / 'run'}"]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


def test_a_broken_overlay_of_the_users_own_is_told_with_its_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    overlay = tmp_path / "own" / "experiment" / "mine.yaml"
    overlay.parent.mkdir(parents=True)
    overlay.write_text("# @package _global_\nepochs: [\n")
    for words in (["export"], ["--cfg", "job"], ["-m", "seed=1,2"]):
        assert main([*words, "experiment=mine", "--config-dir", "own"]) == 2
        told = capsys.readouterr().err
        assert re.search(r"mine\.yaml, line 3: ", told), told
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


@pytest.mark.parametrize("file", [".", "own.yaml/x.yaml"])
def test_a_place_where_nothing_can_be_written(file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("mine")
    assert main(["export", f"export.file={file}"]) == 2
    assert f"export.file: '{file}'" in capsys.readouterr().err
    assert (tmp_path / "own.yaml").read_text() == "mine"
