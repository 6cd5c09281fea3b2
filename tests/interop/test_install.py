"""Runs installed as shuffles: the real DeepLabCut evaluates them, and finds our numbers and poses.

And it goes on with the files of our analysis: it tracks, filters and draws.
"""

import json
import pickle
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

import dlcexp
from dlcexp.cli import main
from dlcexp.commands.install import install_run
from dlcexp.data.draw_demo import demo_project

FRAMES = 6  # labelled ones, and those of the video
COMMON = [
    "device=cpu",
    "epochs=1",
    "batch_size=5",
    "trainer.num_workers=0",
    "trainer.progress_bar=false",
    "evaluation.examples=0",
    "evaluation.pcutoff=0.0",
]
WHOLE_FRAMES = [
    "data.resize={width: 96, height: 96}",
    "data.train.crop_sampling=null",
    "data.train.auto_padding=${data.auto_padding}",
]
CROPS = "data.top_down_crop={width: 64, height: 64}"
RUNS = {
    "bottom-up": (
        "lizards",
        "model=dekr",
        "model/backbone=resnet_50",
        # What it finds has a score near 1/2 from the first, so that it can be corrected.
        "model.heads.bodypart.predictor.apply_sigmoid=true",
        *WHOLE_FRAMES,
    ),
    "top-down": (
        "lizards",
        "net_type=top_down_resnet_50",
        CROPS,
        "detector={epochs: 1, batch_size: 5}",
        "detector.model={weights: null, freeze_bn_stats: false}",
        "data_detector.resize={width: 96, height: 96}",
    ),
    "conditional": (
        "lizards",
        "net_type=ctd_prenet_rtmpose_s",
        CROPS,
        "model.backbone.freeze_bn_stats=false",
    ),
    "identity": ("den", "model=dekr", "model/backbone=resnet_50", *WHOLE_FRAMES),
    "single": ("lizard", "net_type=resnet_50", *WHOLE_FRAMES),
}
TRACKED = "bottom-up"
SEVERAL = [name for name in RUNS if name != "single"]
# Of a corrected pose DeepLabCut gives all keypoints one score; here each has its own.
COMPARED = {"conditional": 2}


def project(root: Path) -> Path:
    """Frames of the demo project: of both animals, of the first, or of both with their den."""
    videos = ("moss*", "litter*")
    shutil.copytree(demo_project(), root, ignore=shutil.ignore_patterns(*videos))
    config = yaml.safe_load((root / "config.yaml").read_text()) | {"Task": root.name}
    (path,) = root.glob("labeled-data/*/CollectedData_*.h5")
    table = pd.read_hdf(path)
    for _, _, name in table.index[FRAMES:]:
        (path.parent / name).unlink()
    table = table[:FRAMES]
    if root.name == "lizard":
        config |= {"multianimalproject": False, "bodyparts": config["multianimalbodyparts"]}
        table = table.xs("amber", level="individuals", axis=1)
    if root.name == "den":
        config |= {"identity": True, "uniquebodyparts": ["den"]}
        for axis, place in (("x", 40.0), ("y", 60.0)):
            table[(config["scorer"], "single", "den", axis)] = place
    table.to_csv(path.with_suffix(".csv"))
    path.unlink()
    video = root / "videos" / "sand.mp4"
    config["video_sets"] = {str(video): {"crop": "0, 160, 0, 160"}}
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    repeat(video)
    return root


def repeat(video: Path) -> None:
    """Leave its first and its last frame, each several times: poses of new models jump."""
    capture = cv2.VideoCapture(str(video))
    first = capture.read()[1]
    capture.set(cv2.CAP_PROP_POS_FRAMES, capture.get(cv2.CAP_PROP_FRAME_COUNT) - 1)
    last = capture.read()[1]
    capture.release()
    height, width = first.shape[:2]
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 10, (width, height))
    for frame in [first] * (FRAMES // 2) + [last] * (FRAMES // 2):
        writer.write(frame)
    writer.release()


@dataclass(frozen=True)
class Installed:
    """A run as a shuffle, with our analysis of a video, and what DeepLabCut says of it."""

    run: dlcexp.Run
    video: Path
    ours: Path
    said: list[str]
    told: dict[str, Any]

    def file(self, folder: Path, ending: str) -> Path:
        return folder / f"{self.video.stem}{self.told['scorer']}{ending}"


def numbers(lines: list[str]) -> list[dict[str, int]]:
    """The shuffles that DeepLabCut is to evaluate, in this order."""
    found = re.findall(
        r"evaluate_network\(.*Shuffles=\[(\d+)\], trainingsetindex=(\d+)", "\n".join(lines)
    )
    return [{"shuffle": int(shuffle), "index": int(index)} for shuffle, index in found]


@pytest.fixture(scope="module")
def installed(
    deeplabcut: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Installed]]:
    """All runs; trained and installed here, then used in one process of DeepLabCut."""
    folder = tmp_path_factory.mktemp("installed")
    projects = {name: project(folder / name) for name in ("lizards", "den", "lizard")}
    made: dict[str, Installed] = {}
    for name, (where, *words) in RUNS.items():
        if name == "conditional":
            words.append(f"conditions={made['bottom-up'].run.folder}")
        cfg = dlcexp.compose(f"project={projects[where]}", *COMMON, *words)
        run = dlcexp.train(cfg, folder / "runs" / name)
        # The conditional run brings the bottom-up run along.
        said = [] if name == "bottom-up" else install_run(run.folder)
        video = projects[where] / "videos" / "sand.mp4"
        made[name] = Installed(run, video, folder / "ours" / name, said, {})
    which = {name: numbers(each.said) for name, each in made.items()}
    which["bottom-up"] = which["conditional"][:1]
    orders = []
    for name, each in made.items():
        words = [f"run={each.run.folder}", f"source={each.video}", f"output={each.ours}"]
        assert main(["predict", *words, f"shuffle={which[name][-1]['shuffle']}"]) == 0
        places = {"root": each.video.parents[1], "video": each.video, "ours": each.ours}
        if name in SEVERAL and name != TRACKED:
            # Under this name DeepLabCut looks for animals that it has followed.
            (table,) = each.ours.glob("*.h5")
            shutil.copyfile(table, table.with_name(f"{table.stem}_el.h5"))
        orders.append(
            {n: str(path) for n, path in places.items()}
            | which[name][-1]
            | {"track": name == TRACKED}
        )
    (folder / "orders.json").write_text(json.dumps(orders))
    for each, told in zip(
        made.values(), deeplabcut("use_shuffles", folder / "orders.json")["told"], strict=True
    ):
        each.told.update(told)
    yield made
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_its_evaluation_finds_our_numbers(installed: dict[str, Installed], name: str) -> None:
    each = installed[name]
    for metric in ("train.rmse", "test.rmse", "train.mAP", "test.mAP", "train.mAR", "test.mAR"):
        theirs = each.told["scores"][metric.replace(".", " ")]
        assert theirs == pytest.approx(each.run.metrics[metric], abs=0.01), metric


@pytest.mark.slow
@pytest.mark.parametrize("name", SEVERAL)
def test_its_analysis_finds_our_poses_under_our_name(
    installed: dict[str, Installed], name: str
) -> None:
    each = installed[name]
    for ending in ("_full.pickle", "_meta.pickle"):
        assert each.file(each.video.parent, ending).is_file()
        assert each.file(each.ours, ending).is_file()
    expected, found = (
        pickle.loads(each.file(folder, "_assemblies.pickle").read_bytes())
        for folder in (each.video.parent, each.ours)
    )
    assert set(found) >= set(range(FRAMES))
    assert found.keys() == expected.keys()
    values = COMPARED.get(name, 3)
    for frame in range(FRAMES):
        np.testing.assert_allclose(
            found[frame][..., :values], expected[frame][..., :values], atol=0.01
        )
    assert found["single"].keys() == expected["single"].keys()
    for frame, points in found["single"].items():
        np.testing.assert_allclose(points, expected["single"][frame], atol=0.01)


@pytest.mark.slow
def test_an_animal_that_is_told_from_others_is_so_in_the_files(
    installed: dict[str, Installed],
) -> None:
    each = installed["identity"]
    found = pickle.loads(each.file(each.ours, "_assemblies.pickle").read_bytes())
    assert (found[0][..., 3] == [[0], [1]]).all()


@pytest.mark.slow
def test_its_analysis_of_a_single_animal_has_our_table(installed: dict[str, Installed]) -> None:
    each = installed["single"]
    theirs, ours = (
        pd.read_csv(each.file(folder, ".csv"), header=[0, 1, 2], index_col=0)
        if folder == each.ours
        else pd.read_hdf(each.file(folder, ".h5"))
        for folder in (each.video.parent, each.ours)
    )
    assert list(ours.columns) == list(theirs.columns)
    np.testing.assert_allclose(ours, theirs, atol=0.01)


@pytest.mark.slow
def test_it_tracks_what_we_found_as_what_it_found(installed: dict[str, Installed]) -> None:
    told = installed[TRACKED].told
    assert told["tracks of ours"] == told["tracks"]


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_it_filters_and_draws_what_we_found(installed: dict[str, Installed], name: str) -> None:
    each = installed[name]
    (table,) = (each.ours / n for n in each.told["made"] if n.endswith("_filtered.h5"))
    (drawn,) = (each.ours / n for n in each.told["made"] if n.endswith("_labeled.mp4"))
    frames = cv2.VideoCapture(str(drawn)).get(cv2.CAP_PROP_FRAME_COUNT)
    # Of animals that it has followed, DeepLabCut draws the frames where it has some.
    assert frames == len(pd.read_hdf(table))
    assert frames == FRAMES if name != TRACKED else frames > 0


@pytest.mark.slow
def test_conditions_that_are_a_shuffle_already_are_not_installed_again(
    installed: dict[str, Installed],
) -> None:
    each = installed["conditional"]
    conditions, corrected = numbers(install_run(each.run.folder))
    assert conditions == numbers(each.said)[0]
    assert corrected["shuffle"] == numbers(each.said)[1]["shuffle"] + 1
