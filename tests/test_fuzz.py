"""Whatever is typed, and whatever stands in a file: composed or refused in words, nothing touched.

A few hundred inputs a door, quickly; `DLCEXP_FUZZ=10000` tries that many. Every input goes through
the checks of its door; a share goes all the way, as composing a tree takes a third of a second.
"""

import json
import os
import zlib
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dlcexp.cli import main
from dlcexp.commands import NAMES, command_module
from dlcexp.commands.settings import parse
from dlcexp.composition import compose
from dlcexp.config.checks import check_keys
from dlcexp.config.compose import compose_tree, modified, resolve
from dlcexp.config.overrides import Override, parse_overrides
from dlcexp.config.rewrite import expand
from dlcexp.deeplabcut.to_overrides import import_config
from dlcexp.errors import UserError
from dlcexp.project import load_labels, open_project
from dlcexp.runs.folder import RunFolder
from dlcexp.runs.run import Run
from dlcexp.yaml_files import read_mapping

INPUTS = int(os.environ.get("DLCEXP_FUZZ", "200"))
# One input in so many is put on a finished run's tree, or composed.
TREE, WHOLE = 10, 40

fuzz = settings(
    max_examples=INPUTS,
    derandomize=INPUTS < 1000,
    database=None,
)
# Damaged label and project files: each is read from the disk.
fuzz_files = settings(fuzz, max_examples=INPUTS // 2, deadline=None)

KEYS = [
    *("model", "model/backbone", "optimizer", "scheduler@detector.scheduler", "net_type", "method"),
    *("logger", "model/heads", "experiment", "split", "project", "pytorch_config", "weights"),
    *("batch_size", "epochs", "device", "conditions", "optimizer.lr", "scheduler.milestones"),
    *("data.train.hflip", "data.resize.width", "weights.lr_scale.backbone", "weights.freeze"),
    *("model.heads.bodypart._target_", "model.recipe.graph", "export.extra.x", "hydra.run.dir"),
    *("metadata.bodyparts", "trainer", "detector.epochs", "train.stages", "allow_targets", "data"),
]
VALUES = [
    *("dekr", "paf", "null", "none", "[]", "{}", "1", "-1", "1e400", "nan", "true", "''", "a,b"),
    *("[csv,wandb]", "${batch_size}", "${optimizer.lr", "${oc.env:HOME}", "${dlcexp.hash:}", "???"),
    *("choice(1,2)", "range(3)", "interval(0,1)", "glob(*)", "os.system", "torch.load", "{a:1}"),
    *("{_target_:os.system}", "[[0,1],[1,9]]", "[a,[b]]", "_base", "nowhere/at/all", "\\", "'"),
]


def spelt(words: list[str]) -> st.SearchStrategy[str]:
    """One of the words, as it is, with a slip, or any text at all."""
    slip = st.tuples(st.sampled_from(words), st.integers(0, 30), st.sampled_from("x.=[@/~ ${'"))
    slips = slip.map(lambda s: s[0][: s[1]] + s[2] + s[0][s[1] + 1 :])
    return st.sampled_from(words) | st.sampled_from(words) | slips | st.text(max_size=12)


overrides = st.lists(
    st.builds(
        lambda sign, key, equals, value: f"{sign}{key}{equals}{value}",
        st.sampled_from(["", "", "", "+", "++", "~"]),
        spelt(KEYS),
        st.sampled_from(["=", "=", "=", ""]),
        spelt(VALUES),
    ),
    min_size=1,
    max_size=3,
)


@pytest.fixture(scope="module")
def single(tmp_path_factory) -> Path:
    """The config.yaml of a project, alone in an empty folder that is the current one."""
    folder = tmp_path_factory.mktemp("fuzz") / "mouse"
    folder.mkdir()
    (folder / "config.yaml").write_text(
        "Task: mouse\nscorer: me\ndate: Nov24\nmultianimalproject: false\nbodyparts: [a, b, c]\n"
    )
    return folder


def untouched(folder: Path) -> bool:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return names == ["mouse", "mouse/config.yaml"]


def one_in(share: int, example: object) -> bool:
    """The same answer for the same example, whenever it is tried."""
    return zlib.crc32(repr(example).encode(errors="replace")) % share == 0


def is_refused(door: Callable[[], object]) -> bool:
    """Whether the door refuses, and says something; any other exception passes through."""
    try:
        door()
    except UserError as error:
        return bool(str(error))
    return False


def test_any_words_are_composed_or_refused_in_words(single):
    project = f"project={single.as_posix()}"
    finished = compose(project, "model=heatmap")

    def whole(line):
        check_keys(resolve(compose_tree(parse_overrides(line))))

    @fuzz
    @given(overrides)
    def try_words(words):
        line = [project, "model=heatmap", *words]
        is_refused(lambda: expand(parse_overrides(line)))
        if one_in(TREE, words):
            is_refused(lambda: modified(finished, parse_overrides(words)))
        if one_in(WHOLE, words):
            is_refused(lambda: whole(line))

    with chdir(single.parent):
        try_words()
        assert Path.cwd() == single.parent
    assert untouched(single.parent)


DECLARED = {name: command_module(name).COMMAND for name in NAMES}
TYPED = [name for command in DECLARED.values() for name in command.by_name]


@pytest.mark.parametrize("name", NAMES)
def test_any_arguments_of_a_command_are_read_or_refused(name, single):
    setting = st.builds("{}{}{}".format, spelt(TYPED), st.sampled_from(["=", ""]), spelt(VALUES))

    @fuzz
    @given(st.lists(setting, max_size=4))
    def try_arguments(arguments):
        is_refused(lambda: parse(DECLARED[name], arguments))

    with chdir(single.parent):
        try_arguments()


SAMPLE = {
    "data": {
        "colormode": "RGB",
        "inference": {"normalize_images": True},
        "train": {"affine": {"p": 0.5, "rotation": 30}, "hflip": True},
    },
    "metadata": {"project_path": "x", "bodyparts": ["a", "b", "c"], "individuals": ["animal"]},
    "method": "bu",
    "model": {
        "backbone": {"type": "ResNet", "model_name": "resnet50_gn", "output_stride": 16},
        "backbone_output_channels": 2048,
        "heads": {"bodypart": {"type": "HeatmapHead", "predictor": {"type": "HeatmapPredictor"}}},
    },
    "net_type": "resnet_50",
    "runner": {"optimizer": {"type": "AdamW", "params": {"lr": 1e-3}}, "scheduler": None},
    "train_settings": {"batch_size": 8, "epochs": 200},
}
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["${x}", "???", "!!python/name:os", "HRNet", "bu", "td", "1e-4"])
)
NAMES = st.text(max_size=6) | st.sampled_from(["type", "_target_", "params", "model", "detector"])
ODD = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
)


def places(node, path=()):
    for name, child in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*path, name)
        if isinstance(child, dict | list):
            yield from places(child, (*path, name))


PLACES = list(places(SAMPLE))


@st.composite
def documents(draw) -> str:
    """The text of a file of DeepLabCut's that was edited, cut, or is no such file at all."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.text(max_size=200))
    if kind == 1:
        return yaml.safe_dump(draw(ODD))
    document = yaml.safe_load(yaml.safe_dump(SAMPLE))
    for _ in range(draw(st.integers(1, 3))):
        *parents, name = draw(st.sampled_from(PLACES))
        node = document
        for part in parents:
            node = node[part] if isinstance(node, dict) and part in node else None
        if isinstance(node, dict):
            if draw(st.booleans()):
                node[name] = draw(ODD)
            else:
                node.pop(name, None)
                node[draw(NAMES)] = draw(ODD)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    if kind == 2:
        at = draw(st.integers(0, len(text)))
        return text[:at] + draw(st.sampled_from(["\t", "&a [*a]", "!x ", "{", "- ", "\0", ": "]))
    return text


def test_any_file_is_imported_or_refused_in_words(single):
    source = single.parent / "odd.yaml"

    @fuzz
    @given(documents())
    def try_file(text):
        source.write_text(text, encoding="utf-8", errors="surrogatepass")
        if not is_refused(lambda: read_mapping(source)) and one_in(WHOLE, text):
            is_refused(lambda: import_config(source, [Override("project", single.as_posix())]))

    with chdir(single.parent):
        try_file()
    source.unlink()
    assert untouched(single.parent)


PARTS = ["a", "b", "c"]
COCO = {
    "images": [{"id": 1, "file_name": "0.png"}, {"id": 2, "file_name": "1.png"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2, 3, 4, 2, 5, 6, 0]},
        {"id": 2, "image_id": 2, "category_id": 1, "keypoints": [0] * 9, "bbox": [1, 2, 3, 4]},
    ],
    "categories": [{"id": 1, "name": "x", "keypoints": PARTS, "skeleton": [[1, 2]]}],
}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    """A project of four frames, its labels in a .csv and both layouts of .h5; a COCO file."""
    root = tmp_path_factory.mktemp("fuzz") / "labelled"
    (root / "labeled-data" / "v").mkdir(parents=True)
    (root / "config.yaml").write_text(
        "Task: t\nscorer: me\ndate: d\nmultianimalproject: false\nbodyparts: [a, b, c]\n"
        "video_sets:\n  v.mp4: {crop: 1}\nskeleton: [[a, b]]\npcutoff: 0.6\niteration: 0\n"
    )
    columns = pd.MultiIndex.from_product([["me"], PARTS, ["x", "y"]])
    columns.names = ["scorer", "bodyparts", "coords"]
    table = pd.DataFrame(np.arange(24.0).reshape(4, 6), columns=columns)
    table.index = [f"labeled-data/v/{frame}.png" for frame in range(4)]
    table.iloc[1, :2] = np.nan
    for name in (*table.index, "0.png", "1.png"):
        (root / name).touch()
    table.to_csv(root / "labels.csv")
    table.to_hdf(root / "table.h5", key="df_with_missing", mode="w", format="table")
    table.index = pd.MultiIndex.from_tuples([tuple(name.split("/")) for name in table.index])
    table.to_hdf(root / "fixed.h5", key="df_with_missing", mode="w")
    (root / "coco.json").write_text(json.dumps(COCO))
    return root


@st.composite
def damages(draw, content: bytes) -> bytes:
    """The content with some bytes changed, cut off, or left out."""
    damaged = bytearray(content)
    for _ in range(draw(st.sampled_from([1, 1, 2, 5, 20]))):
        place = draw(st.integers(0, len(damaged) - 1))
        damaged[place] = draw(st.integers(0, 255) | st.sampled_from(b"\0\xff,:\n[{\"'0-#"))
    start, end = sorted(draw(st.integers(0, len(damaged))) for _ in range(2))
    kind = draw(st.integers(0, 9))
    return bytes(
        damaged[:end] if kind == 0 else damaged[:start] + damaged[end:] if kind == 1 else damaged
    )


@pytest.mark.parametrize(
    ("source", "damaged"),
    [
        ("fixed.h5", "labeled-data/v/CollectedData_me.h5"),
        ("table.h5", "labeled-data/v/CollectedData_me.h5"),
        ("labels.csv", "labeled-data/v/CollectedData_me.csv"),
        ("config.yaml", "config.yaml"),
        ("coco.json", "coco.json"),
    ],
)
def test_a_damaged_project_is_read_or_refused_in_words(labelled, source, damaged):
    content, path = (labelled / source).read_bytes(), labelled / damaged
    labels = labelled / "labeled-data" / "v" / "CollectedData_me.csv"
    if damaged == "config.yaml":
        labels.write_bytes((labelled / "labels.csv").read_bytes())
    project = path if path.suffix == ".json" else labelled

    @fuzz_files
    @given(damages(content))
    def try_file(text):
        path.write_bytes(text)
        is_refused(lambda: load_labels(open_project(project)))

    try_file()
    path.write_bytes(content)
    for left in (labels, labels.with_suffix(".h5")):
        left.unlink(missing_ok=True)


RUN_FILES = [
    *("config.yaml", "config.yaml", "metrics.json", "status.json", "metrics.csv", "overrides.yaml"),
    *("pytorch_config.yaml", "environment.json", "frames.json", "weights.json"),
]
# A file that was opened in an editor, cut, or is none of ours.
FOREIGN = [
    *(b"", b"3", b"null", b"- 1", b"\xff\xfe", b"a: " + b"9" * 5000, b'{"a": NaN, "status": NaN}'),
    *(b"model: " + b"[" * depth + b"]" * depth for depth in (30, 90, 900, 4000)),
    *(b'{"a": ' * depth + b"1" + b"}" * depth for depth in (30, 90, 900, 4000)),
    b"".join(b" " * depth + b"a:\n" for depth in range(900)),
]


@pytest.fixture(scope="module")
def finished(single, tmp_path_factory) -> dict[str, bytes]:
    """The files of a run folder, without weights."""
    cfg = compose(f"project={single.as_posix()}", "model=heatmap")
    folder = tmp_path_factory.mktemp("finished")
    RunFolder(folder).start(cfg, ["model=heatmap"], fresh=[], device="cpu")
    record = {"project": "mouse", "source": str(single / "config.yaml"), "frames": {"0.png": "a"}}
    for name, content in {
        "metrics.json": {"epoch": 1, "snapshot": "snapshot-best-001.pt", "test.mAP": 5.0},
        "status.json": {"status": "completed", "error": None, "kind": None, "seconds": 5.1},
        "frames.json": record,
        "weights.json": {"file": "x.pt", "loaded": 3},
    }.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "metrics.csv").write_text("epoch,train.total_loss,test.mAP\n1,0.5,5.0\n2,0.4,nan\n")
    return {name: (folder / name).read_bytes() for name in RUN_FILES}


@st.composite
def run_files(draw, files: dict[str, bytes]) -> tuple[str, bytes]:
    """A file of a run folder, and what it holds instead."""
    name = draw(st.sampled_from(RUN_FILES))
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return name, draw(st.sampled_from(FOREIGN))
    if kind == 1 or name == "metrics.csv":
        return name, draw(damages(files[name]))
    document = yaml.safe_load(files[name])
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from(list(places(document))))
        node = document
        for part in parents:
            node = node[part]
        if isinstance(node, dict) and draw(st.booleans()):
            del node[last]
        else:
            node[last] = draw(ODD)
        if not document:
            break
    is_json = name.endswith(".json")
    return name, (json.dumps if is_json else yaml.safe_dump)(document).encode()


@pytest.mark.slow
def test_a_damaged_run_is_read_or_refused_in_words(finished, single, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    (single.parent / "image.png").touch()
    doors = [
        ["best", folder, "--export"],
        ["report", folder],
        ["export", f"run={folder}"],
        ["diff", folder, folder / "pytorch_config.yaml"],
        ["evaluate", folder],
        ["predict", f"run={folder}", f"source={single.parent / 'image.png'}"],
        ["install", f"run={folder}"],
        ["train", f"project={single}", "model=heatmap", f"hydra.run.dir={folder}"],
    ]

    @fuzz_files
    @given(run_files(finished))
    def try_file(damaged):
        for name, content in [*finished.items(), damaged]:
            (folder / name).write_bytes(content)
        assert main(["best", str(folder)]) in (0, 2)
        is_refused(lambda: Run.open(folder))
        if one_in(TREE, damaged):
            arguments = doors[len(damaged[1]) % len(doors)]
            assert main([str(each) for each in arguments]) in (0, 2)
        capsys.readouterr()

    with chdir(tmp_path):
        try_file()
    (single.parent / "image.png").unlink()
    assert untouched(single.parent)
