"""The demo project: whole, deterministic, kept safe, and worth training on."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from dlcexp.data import draw_demo as demo_module
from dlcexp.data.demo_animals import GROUNDS, Video
from dlcexp.data.draw_demo import demo_metadata, demo_project, write_demo_project
from dlcexp.errors import UserError
from dlcexp.project import Labels, demo, load_labels, open_project


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_project(tmp_path_factory.mktemp("demo") / "project")


@pytest.fixture(scope="module")
def labels(drawn: Path) -> Labels:
    return load_labels(open_project(drawn))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short videos, for tests that are not about what is drawn."""
    monkeypatch.setattr(demo, "FRAMES", 4)


def test_what_is_known_without_drawing_is_what_is_drawn(drawn: Path) -> None:
    opened = open_project(drawn)
    assert opened.metadata() == demo_metadata() == open_project("demo").metadata()
    head = demo.demo_head()
    assert (opened.scorer, opened.date, opened.pcutoff) == (head.scorer, head.date, head.pcutoff)


def test_labels_cover_every_frame_and_both_files_agree(drawn: Path, labels: Labels) -> None:
    assert 60 <= len(labels) <= 100
    assert labels.keypoints.shape[1:] == (2, 7, 2)
    assert not labels.absent
    for h5 in drawn.glob("labeled-data/*/*.h5"):
        table = pd.DataFrame(pd.read_hdf(h5))
        assert list(table.columns.names) == ["scorer", "individuals", "bodyparts", "coords"]
        text = pd.read_csv(h5.with_suffix(".csv"), header=[0, 1, 2, 3], index_col=[0, 1, 2])
        np.testing.assert_array_equal(table.to_numpy(), text.to_numpy())
        assert list(table.columns) == list(text.columns)
        assert list(table.index) == list(text.index)


def test_some_points_are_hidden_and_most_are_not(labels: Labels) -> None:
    hidden = np.isnan(labels.keypoints[..., 0])
    assert 0.02 < hidden.mean() < 0.2
    assert hidden.any(axis=(0, 1)).all()
    assert not hidden.all(axis=2).any()


def test_animals_are_of_a_size_and_left_stays_left(labels: Labels) -> None:
    parts = dict(zip(demo.BODYPARTS, np.moveaxis(labels.keypoints, 2, 0), strict=True))
    length = np.linalg.norm(parts["snout"] - parts["tailbase"], axis=-1)
    length += np.linalg.norm(parts["tailbase"] - parts["tailtip"], axis=-1)
    assert np.nanmin(length) > 45
    assert np.nanmax(length) < 75
    ahead = parts["snout"] - parts["tailbase"]
    for foot in ("forefoot", "hindfoot"):
        across = parts[f"right_{foot}"] - parts[f"left_{foot}"]
        # With y pointing down, right is a positive turn from ahead.
        turn = ahead[..., 0] * across[..., 1] - ahead[..., 1] * across[..., 0]
        assert np.nanmin(turn) > 0


def test_labels_lie_on_the_animals(labels: Labels) -> None:
    """Where the label of an animal is, the picture differs from the video's empty ground."""
    for folder in set(labels.folders):
        rows = [i for i, name in enumerate(labels.folders) if name == folder]
        images = np.stack([cv2.imread(str(labels.images[i])) for i in rows]).astype(float)
        ground = np.median(images, axis=0)
        at, elsewhere = [], []
        for image, row in zip(images, rows, strict=True):
            change = cv2.blur(np.abs(image - ground).max(axis=-1), (3, 3))
            points = labels.keypoints[row].reshape(-1, 2)
            columns, lines = np.rint(points[np.isfinite(points[:, 0])]).astype(int).T
            at.extend(change[lines, columns])
            elsewhere.append(np.median(change))
        assert np.median(at) > 4 * np.median(elsewhere)


def test_the_seed_decides_the_drawing() -> None:
    def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
        return Video(next(iter(GROUNDS)), 2, np.random.default_rng(seed)).frame(0)

    (image, points), (again, same), (other, _) = draw(0), draw(0), draw(1)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(points, same)
    assert image.shape == (160, 160, 3)
    assert (image != other).mean() > 0.5


def test_the_videos_play_and_hold_the_labelled_frames(drawn: Path, labels: Labels) -> None:
    config = yaml.safe_load((drawn / "config.yaml").read_text(encoding="utf-8"))
    assert config["project_path"] == str(drawn)
    assert {Path(name).stem for name in config["video_sets"]} == set(labels.folders)
    for name in config["video_sets"]:
        capture = cv2.VideoCapture(name)
        assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == demo.FRAMES
        _, first = capture.read()
        still = cv2.imread(str(drawn / "labeled-data" / Path(name).stem / "img000.png"))
        assert np.abs(first.astype(float) - still).mean() < 10


@pytest.mark.usefixtures("small")
def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"thesis\.txt"):
        write_demo_project(tmp_path)
    with pytest.raises(UserError, match=r"thesis\.txt"):
        write_demo_project(tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.usefixtures("small")
def test_a_demo_project_is_kept_or_drawn_anew_by_its_seed(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "demo"
    write_demo_project(folder)
    image = folder / "labeled-data" / "sand" / "img000.png"
    first = image.read_bytes()
    (folder / "config.yaml").write_text((folder / "config.yaml").read_text() + "\n# mine\n")
    write_demo_project(folder)
    assert "# mine" in (folder / "config.yaml").read_text()
    write_demo_project(folder, seed=1)
    assert image.read_bytes() != first
    assert len(load_labels(open_project(folder))) == 6
    (folder / "dlc-models-pytorch").mkdir()
    with pytest.raises(UserError, match="dlc-models-pytorch"):
        write_demo_project(folder, seed=2)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["demo"]


@pytest.mark.usefixtures("small")
def test_an_empty_folder_may_be_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_demo_project(Path())
    assert sorted(path.name for path in Path().iterdir()) == [
        ".dlcexp-demo", "config.yaml", "labeled-data", "videos"
    ]  # fmt: skip


@pytest.mark.usefixtures("small")
def test_nothing_is_left_of_a_drawing_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(demo_module, "_write_movie", fail)
    with pytest.raises(UserError, match="disk full"):
        write_demo_project(tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small")
def test_the_cache_is_drawn_once_even_when_two_ask_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "user_cache_path", lambda _: tmp_path / "cache")
    with ThreadPoolExecutor(2) as pool:
        folders = [pool.submit(demo_project) for _ in range(2)]
    folder = folders[0].result()
    assert folder == folders[1].result() == demo.demo_head().root
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    image = folder / "labeled-data" / "sand" / "img000.png"
    written = image.stat().st_mtime_ns
    demo_project()
    assert image.stat().st_mtime_ns == written
    image.unlink()
    demo_project()
    assert image.is_file()


def test_asking_for_the_metadata_imports_nothing_heavy() -> None:
    code = (
        "import sys; from dlcexp.data.draw_demo import demo_metadata; demo_metadata(); "
        "print(sorted({'numpy', 'cv2', 'pandas', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
