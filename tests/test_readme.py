"""Every command of README.md, docs/ and multirun_examples/ runs, on a small project and shortened.

Commands that several pages show run once. The tutorial and the pages on custom models and
callbacks, whose commands build on each other, are run as a whole in test_docs.py.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import cv2
import huggingface_hub
import pandas as pd
import pytest
import timm
import torch
import yaml
from hub_support import place_in_cache
from omegaconf import OmegaConf
from training_support import write_topviewmouse

from dlcexp.cli import main
from dlcexp.config.typed import in_grammar
from dlcexp.data.draw_demo import demo_project

ROOT = Path(__file__).resolve().parents[1]
COMMAND = re.compile(r"^ {4}(dlcexp .*?)(?: +#.*)?$", re.MULTILINE)
README = ROOT / "README.md"
OWN_OPTIONS = ROOT / "docs" / "how-to" / "own-options.md"
PYTHON = ROOT / "docs" / "how-to" / "python.md"
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [
    README,
    *(ROOT / "docs" / name for name in ("index.md", "evaluation.md", "benchmarks.md")),
]
RUN_ELSEWHERE = {"adding_a_model.md", "callbacks.md", "tutorial.md", "reference.md", "commands.md"}
PAGES += [
    path
    for name in ("how-to", "concepts")
    for path in sorted((ROOT / "docs" / name).glob("*.md"))
    if path.name not in RUN_ELSEWHERE
]
SHOWN = {path: COMMAND.findall(path.read_text(encoding="utf-8")) for path in PAGES}
COMMANDS = list(dict.fromkeys(command for commands in SHOWN.values() for command in commands))
EXAMPLES = {
    path.stem: path.read_text(encoding="utf-8").splitlines()[1].removeprefix("# ")
    for path in sorted((ROOT / "multirun_examples" / "experiment").glob("*.yaml"))
}

# Commands whose words are no experiment's.
OWN_WORDS = (
    "evaluate",
    "predict",
    "export",
    "import",
    "diff",
    "schema",
    "explain",
    "report",
    "best",
    "install",
)

# What a sweep of the README says, and what makes it fewer jobs.
FEWER_JOBS = {
    "optimizer.lr=1e-3,1e-4": "optimizer.lr=1e-3",
    "split.fold=range(5)": "split.fold=0,1",
    "hydra/sweeper=optuna": "hydra.sweeper.n_trials=2",
}

SMALL_BACKBONE = {"model/backbone": "timm", "model.backbone.model_name": "resnet10t"}

# What makes an experiment take seconds; what a command says itself still wins.
SHORT = {
    "device": "cpu",
    "epochs": "1",
    "save_epochs": "1",
    "batch_size": "2",
    "evaluation.examples": "0",
    "data.resize.width": "64",
    "data.resize.height": "64",
    "data.train.crop_sampling.width": "64",
    "data.train.crop_sampling.height": "64",
}
SHORT_TOP_DOWN = {
    "device": "cpu",
    "epochs": "1",
    "save_epochs": "1",
    "batch_size": "2",
    "trainer.num_workers": "0",
    "evaluation.examples": "0",
    "data.top_down_crop.width": "64",
    "data.top_down_crop.height": "64",
    "data_detector.resize.width": "64",
    "data_detector.train.collate.min_short_side": "64",
    "detector.epochs": "1",
    "detector.batch_size": "2",
    "detector.model.weights": "null",
    "detector.model.freeze_bn_stats": "false",
}
# The Faster R-CNN that shows itself images of 320 pixels, not of 800.
SMALL_FASTER_RCNN = {"detector.model.variant": "fasterrcnn_mobilenet_v3_large_320_fpn"}
SHORT_CONDITIONAL = {
    **{key: value for key, value in SHORT_TOP_DOWN.items() if "detector" not in key},
    "model/backbone": "prenet_timm",
    "model.backbone.backbone.model_name": "resnet10t",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A working folder with a single-animal project of nine frames, and a finished run of it."""
    folder = tmp_path_factory.mktemp("readme")
    write_mouse(folder / "mouse")
    cwd = Path.cwd()
    os.chdir(folder)
    try:
        # Long enough for poses that are worth correcting.
        longer = ["epochs=10", "save_epochs=10", "trainer.eval_interval=10", "optimizer.lr=0.005"]
        words = shorten(["project=mouse", "hydra.run.dir=runs/mouse/done", *longer])
        assert main(words) == 0
        flat = ["export.schema=flat", "export.file=pytorch_config.yaml"]
        assert main(["export", "project=mouse", *flat]) == 0
        write_video(folder / "mouse", folder / "videos" / "m1.mp4")
    finally:
        os.chdir(cwd)
    return folder


@pytest.fixture(autouse=True)
def fetched(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the hub with the weights that commands name."""
    cache = home / "hub"
    if not cache.exists():
        backbone = place_in_cache(cache, "timm/resnet10t.c3_in1k", "pytorch_model.bin")
        torch.save(timm.create_model("resnet10t").state_dict(), backbone)
        zoo = "mwmathis/DeepLabCutModelZoo-SuperAnimal-TopViewMouse"
        pose = place_in_cache(cache, zoo, "superanimal_topviewmouse_hrnet_w32.pt")
        write_topviewmouse(home / "mouse", pose)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))  # for jobs in processes of their own


def train_buildable() -> None:
    """A run of a model that DeepLabCut has, too; once."""
    folder = Path("runs", "buildable", "done")
    if not folder.exists():
        words = ["project=mouse", "model/backbone=resnet_50", f"hydra.run.dir={folder}"]
        assert main(shorten(words)) == 0


def trained_shuffle() -> Path:
    """The folder `train` of a shuffle of the project; once."""
    train_buildable()
    if not list(Path("mouse").glob("dlc-models-pytorch/*/*/train")):
        assert main(["install", "run=runs/buildable/done"]) == 0
    return next(Path("mouse").glob("dlc-models-pytorch/*/*/train"))


def write_mouse(project: Path) -> None:
    """One animal of the demo, three frames of each video; the first video is called m4s1."""
    demo = demo_project()
    for number, video in enumerate(sorted((demo / "labeled-data").iterdir())):
        name = "m4s1" if number == 0 else video.name
        folder = project / "labeled-data" / name
        folder.mkdir(parents=True)
        table = pd.read_hdf(video / "CollectedData_dlcexp.h5")[:3].xs(
            "amber", level="individuals", axis=1
        )
        table.index = pd.MultiIndex.from_tuples([(a, name, c) for a, _, c in table.index])
        table.to_csv(folder / "CollectedData_dlcexp.csv")
        for _, _, image in table.index:
            shutil.copy2(video / image, folder / image)
    config = yaml.safe_load((demo / "config.yaml").read_text(encoding="utf-8"))
    config |= {
        "Task": "mouse",
        "multianimalproject": False,
        "bodyparts": config["multianimalbodyparts"],
        "video_sets": {f"{folder.name}.avi": {} for folder in project.glob("labeled-data/*")},
    }
    (project / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def write_video(project: Path, path: Path) -> None:
    """The labelled frames of the project, one after the other."""
    path.parent.mkdir()
    images = [cv2.imread(str(image)) for image in sorted(project.glob("labeled-data/*/*.png"))]
    size = images[0].shape[1::-1]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, size)
    for image in images:
        writer.write(cv2.resize(image, size))
    writer.release()


def shorten(words: list[str]) -> list[str]:
    """The words of an experiment with what makes it short before them, so that they win."""
    line = " ".join(words)
    if "method=ctd" in line:
        return [f"{key}={value}" for key, value in SHORT_CONDITIONAL.items()] + words
    top_down = any(word in line for word in ("method=td", "top_down", "rtmpose"))
    short = {**(SHORT_TOP_DOWN if top_down else SHORT)}
    if "detector=fasterrcnn" in line:
        short |= SMALL_FASTER_RCNN
    if not any(
        word in line for word in ("net_type=", "model/backbone", "=backbones", "_and_backbones")
    ):
        short |= SMALL_BACKBONE
    return [f"{key}={value}" for key, value in short.items()] + words


def words_of(command: str, home: Path) -> list[str]:
    """The words after `dlcexp`, with the project and the run that this test has."""
    words = shlex.split(command.partition(" > ")[0], comments=True)[1:]
    finished = re.compile(r"(run|conditions)=runs/mouse/\d\S+")
    words = [word.replace("~/mouse", str(home / "mouse")) for word in words]
    words = ["batch_size=4" if word == "batch_size=16" else word for word in words]
    words = [finished.sub(r"\1=runs/mouse/done", word) for word in words]
    return [re.sub(r"^multirun/\S+$", "runs/mouse", word) for word in words]


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in COMMANDS if " -m " not in c and "FOLDER" not in c])
def test_a_command_of_a_page_runs(command, home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:mlruns")  # a database takes time to make
    if "detector.snapshot" in command:
        assert main(shorten(words_of(COMMANDS[COMMANDS.index(command) - 1], home))) == 0
    words = words_of(command, home)
    if "install" in command:
        words = [word.replace("runs/mouse", "runs/buildable") for word in words]
        train_buildable()
    if "dlc-models-pytorch" in command:
        words = [re.sub(r"^run=.*", f"run={trained_shuffle()}", word) for word in words]
    own = words[0] in OWN_WORDS
    command_word = words[:1] if "=" not in words[0] else []
    rest = words[len(command_word) :]
    assert main([*command_word, *(rest if own else shorten(rest))]) == 0
    assert capsys.readouterr().out


@pytest.mark.slow
def test_an_option_of_ones_own_is_a_file(home, tmp_path, monkeypatch):
    monkeypatch.chdir(home)
    shown = re.findall(r"`(\w+/\w+\.yaml)`.*?```yaml\n(.*?)```", OWN_OPTIONS.read_text(), re.DOTALL)
    for name, content in shown:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(content, encoding="utf-8")
    wanted = {
        "optimizer/mine.yaml": ("optimizer.lr", 0.05),
        "experiment/night.yaml": ("batch_size", 4),
    }
    commands = [command for command in COMMANDS if "FOLDER" in command]
    assert len(commands) == len(shown) == len(wanted)
    for command, (key, value) in zip(commands, wanted.values(), strict=True):
        run = tmp_path / key
        words = words_of(command.replace("FOLDER", str(tmp_path)), home)
        own = [word for word in shorten([]) if key not in word]
        assert main([*own, *words, f"hydra.run.dir={run}"]) == 0
        assert OmegaConf.select(OmegaConf.load(run / "config.yaml"), key) == value


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if " -m " in c and c not in EXAMPLES.values()]
)
def test_a_sweep_of_a_page_runs(command, home, tmp_path, monkeypatch):
    monkeypatch.chdir(home)
    fewer = [word for said, word in FEWER_JOBS.items() if said in command]
    sweep(command, home, tmp_path / "sweep", fewer)


# What makes an example of a sweep few jobs; each still varies all that it varies.
REDUCED = {
    "accuracy_and_speed": ["hydra.sweeper.n_trials=2", "data.resize.width=64,96"],
    "augmentation_ablation": [],
    "backbones": ["model/backbone=hrnet_w18,resnet_50"],
    "kfold": ["split.k=2", "split.fold=0,1"],
    "learning_curve": ["split.train_frames=3,4,5", "seed=0"],
    "methods": [],
    "models_and_backbones": ["model/backbone=hrnet_w18,resnet_50", "model=dekr"],
    "optimizer_grid": ["optimizer.lr=1e-3"],
    "optuna": ["hydra.sweeper.n_trials=3"],
    "paired": ["batch_size=1,2", "optimizer.lr=0.0005,0.001"],
    "slurm": ["optimizer.lr=1e-3"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ("methods", "slurm")])
def test_an_example_of_a_sweep_runs(name, home, tmp_path, monkeypatch):
    monkeypatch.chdir(home)
    sweep(EXAMPLES[name], home, tmp_path / "sweep", REDUCED[name])


@pytest.mark.slow
def test_the_example_of_methods_runs_with_each_job_as_short_as_it_can_be(
    home, tmp_path, monkeypatch
):
    monkeypatch.chdir(home)
    path = ROOT / "multirun_examples" / "experiment" / "methods.yaml"
    example = yaml.safe_load(path.read_text(encoding="utf-8"))
    example["hydra"]["sweeper"]["where"] = {
        "method=bu": {**SHORT, **SMALL_BACKBONE},
        "method=td": {**SHORT_TOP_DOWN, **SMALL_BACKBONE},
    }
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\n" + yaml.safe_dump(example)
    (tmp_path / "experiment" / "methods.yaml").write_text(text, encoding="utf-8")
    command = f"{EXAMPLES['methods']} --config-dir {tmp_path}"
    here = ["hydra/launcher=basic", "hydra.sweep.dir=methods"]
    assert main([*words_of(command, home), *here]) == 0
    assert (home / "methods" / "1" / "metrics-detector.csv").is_file()


@pytest.mark.slow
def test_the_example_for_slurm_runs_without_a_cluster(home, tmp_path, monkeypatch):
    monkeypatch.chdir(home)
    folder = tmp_path / "sweep"
    local = ["hydra/launcher=submitit_local", "hydra.launcher.gpus_per_node=0"]
    words = words_of(EXAMPLES["slurm"], home)
    assert main([*shorten(words), *local, *REDUCED["slurm"], f"hydra.sweep.dir={folder}"]) == 0
    assert len(list(folder.glob("*/metrics.json"))) == 1


# Prints its arguments, each on a line.
PRINT_WORDS = "dlcexp() { printf '%s\\n' \"$@\"; }\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "dash"])
def test_every_shell_reads_the_commands_of_the_pages_alike(shell, tmp_path, monkeypatch):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    script = PRINT_WORDS + "\n".join(command.partition(" > ")[0] for command in COMMANDS)
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, check=True)
    words = [
        word
        for command in COMMANDS
        for word in shlex.split(command.partition(" > ")[0], comments=True)[1:]
    ]
    read = [word.replace("=~/", f"={tmp_path}/") for word in done.stdout.splitlines()]
    assert read == [word.replace("=~/", f"={tmp_path}/") for word in words]
    assert in_grammar(done.stdout.splitlines()[0]) == f"project={tmp_path}/mouse"


def test_no_command_of_a_page_has_a_pattern_that_zsh_expands():
    """It refuses one that matches no file; in the other shells it may match one."""
    unquoted = re.compile(r"'[^']*'|\"[^\"]*\"")
    for command in COMMANDS:
        assert not set("[]*?()") & set(unquoted.sub("", command.partition("  #")[0])), command


@pytest.mark.slow
def test_the_python_blocks_run(home, monkeypatch):
    monkeypatch.chdir(home)
    (shown,) = PYTHON_BLOCK.findall(README.read_text(encoding="utf-8"))
    trained, opened = PYTHON_BLOCK.findall(PYTHON.read_text(encoding="utf-8"))
    assert trained.startswith(shown)
    overrides = ", ".join(map(repr, shorten(["model=dekr"])))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    assert '"net_type=dekr_w32"' in trained
    trained = trained.replace('"net_type=dekr_w32"', overrides)
    names = {"images": torch.zeros(2, 3, 64, 64)}
    exec(trained.replace("some/images", "mouse/labeled-data/m4s1"), names)
    assert names["outputs"]["bodypart"]["heatmap"].shape[0] == 2
    assert names["poses"].shape[0] == 2
    assert [poses.shape[-1] for poses in names["found"].values()] == [3] * 3
    assert names["moving"]["videos/m1.mp4"].ndim == 4
    exec(opened.replace("some/images", "mouse/labeled-data/m4s1"), names)
    assert names["run"].folder == Path("runs/mouse/done")
    assert names["again"].metrics["test"]["rmse"] == names["run"].metrics["test.rmse"]
    assert [poses.shape[-1] for poses in names["found"].values()] == [3] * 3


def test_every_example_is_reduced_in_a_test_of_its_own():
    assert REDUCED.keys() == EXAMPLES.keys()


def test_the_pages_show_examples_that_are_there():
    shown = {command for command in COMMANDS if " -m experiment=" in command}
    assert EXAMPLES["optimizer_grid"] in SHOWN[README]
    assert shown <= set(EXAMPLES.values())


def test_no_page_and_no_command_is_left_out():
    pages = {path for path in (ROOT / "docs").rglob("*.md") if path.name not in RUN_ELSEWHERE}
    assert pages == set(PAGES) - {README}
    fenced = re.compile(r"^```(\S+)\n.*?^```$", re.MULTILINE | re.DOTALL)
    for path in pages:
        text = path.read_text(encoding="utf-8")
        # `sh` is what needs a server: test_docs.py has the tools read it.
        allowed = {"yaml", "text", "{toctree}", "sh"} | ({"python"} if path == PYTHON else set())
        assert set(fenced.findall(text)) <= allowed, path
        assert set(re.findall(r"^ {4}(\S+)", fenced.sub("", text), re.MULTILINE)) <= {"dlcexp"}, (
            path
        )


def sweep(command: str, home: Path, folder: Path, more: Sequence[str] = ()) -> None:
    """Run a sweep with every job in this process; every job ends as it should."""
    words = words_of(command, home)
    here = ["hydra/launcher=basic", f"hydra.sweep.dir={folder}"]
    assert main([*shorten(words), *here, *more]) == 0
    states = [json.loads(path.read_text())["status"] for path in folder.glob("*/status.json")]
    assert len(states) > 1
    assert set(states) <= {"completed", "pruned"}
