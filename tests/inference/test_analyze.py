"""From a run and a video to DeepLabCut's files, stopped and damaged on the way."""

import logging
import pickle
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from process_support import wait_until

import dlcexp
from dlcexp.cli import main
from dlcexp.data.draw_demo import demo_project
from dlcexp.errors import ProjectError, UserError
from dlcexp.inference import stream
from dlcexp.inference.analyze import Wishes, analyze
from dlcexp.inference.finder import PoseFinder
from dlcexp.inference.sources import find_sources
from dlcexp.training import Run

SCORER = "shuffle0_snapshot_best-3"


def table_of(folder: Path) -> pd.DataFrame:
    (path,) = folder.glob(f"*{SCORER}.h5")
    return pd.read_hdf(path)


@pytest.fixture(scope="module")
def analyzed(run: Run, video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("analyzed")
    words = [f"run={run.folder}", f"source={video}", f"output={folder}", "--label"]
    assert main(["predict", *words, "evaluation.pcutoff=0"]) == 0
    return folder


def test_the_table_holds_what_the_model_finds(run: Run, video: Path, analyzed: Path) -> None:
    table = table_of(analyzed)
    assert table.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert list(table.index) == list(range(24))
    # The same frames as images, which go another way.
    capture = cv2.VideoCapture(str(video))
    image = analyzed / "frame.png"
    for number in range(3):
        cv2.imwrite(str(image), capture.read()[1])
        (poses,) = dlcexp.predict(run, image).values()
        np.testing.assert_allclose(table.iloc[number], poses.reshape(-1), rtol=1e-5)
    image.unlink()
    assert np.isfinite(table.to_numpy()).any()


def test_a_video_is_an_array_from_python(run: Run, video: Path, analyzed: Path) -> None:
    ((path, poses),) = dlcexp.predict(run, str(video.parent / "*.mp4")).items()
    assert path == str(video)
    np.testing.assert_array_equal(poses.reshape(24, -1), table_of(analyzed))


def test_beside_the_table_is_what_deeplabcut_reads(analyzed: Path) -> None:
    found = {}
    for kind in ("meta", "full", "assemblies"):
        (path,) = analyzed.glob(f"*_{kind}.pickle")
        found[kind] = pickle.loads(path.read_bytes())
    assert found["meta"]["data"]["nframes"] == 24
    assert found["meta"]["data"]["fps"] == 10
    table = table_of(analyzed)
    animals = table.iloc[5].to_numpy().reshape(table.columns.levshape[1], -1, 3)
    present = animals[np.isfinite(animals).any(axis=(1, 2))]
    np.testing.assert_array_equal(found["assemblies"][5][..., :3], present)
    (csv,) = analyzed.glob("*.csv")
    again = pd.read_csv(csv, header=[0, 1, 2, 3], index_col=0)
    np.testing.assert_allclose(again.to_numpy(), table.to_numpy(), rtol=1e-5)


def test_a_labelled_copy_shows_the_poses(video: Path, analyzed: Path) -> None:
    (path,) = analyzed.glob("*_labeled.mp4")
    drawn, plain = (cv2.VideoCapture(str(each)) for each in (path, video))
    assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == 24
    table = table_of(analyzed)
    difference = np.abs(drawn.read()[1].astype(int) - plain.read()[1]).max(axis=-1)
    points = table.iloc[0].to_numpy().reshape(-1, 3)
    height, width = difference.shape
    inside = points[np.isfinite(points).all(axis=1)]
    inside = inside[(inside[:, :2] > 0).all(axis=1) & (inside[:, 0] < width - 1)]
    inside = inside[inside[:, 1] < height - 1].round().astype(int)
    at_points = difference[inside[:, 1], inside[:, 0]]
    assert np.median(at_points) > 40 > 5 * np.median(difference)


def test_what_is_there_is_not_found_again(
    run: Run, video: Path, analyzed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (path,) = analyzed.glob("*.h5")
    before = path.stat().st_mtime_ns
    (source,) = find_sources(video)
    with caplog.at_level(logging.INFO):
        assert analyze(PoseFinder(run), source, Wishes(analyzed)) == [path]
    assert "overwrite=true" in caplog.text
    assert path.stat().st_mtime_ns == before


def predict(run: Run, *words: object) -> int:
    return main(["predict", f"run={run.folder}", "csv=false", *map(str, words)])


def write_video(path: Path, frames: Sequence[np.ndarray], codec: str = "mp4v") -> Path:
    path.parent.mkdir(exist_ok=True)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


@pytest.fixture(scope="session")
def other_run(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of the same project with the same best epoch, as another job of a sweep."""
    folder = tmp_path_factory.mktemp("other") / "run"
    shutil.copytree(run.folder, folder)
    (path,) = folder.glob("snapshots/*.pt")
    content = torch.load(path, weights_only=True)
    content["model"] = {name: 1.5 * weight for name, weight in content["model"].items()}
    torch.save(content, path)
    return Run.open(folder)


def test_poses_of_another_run_are_not_taken(
    run: Run,
    other_run: Run,
    frames: list[np.ndarray],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    video = write_video(tmp_path / "m.mp4", frames[:3])
    tables = []
    for each in (run, other_run):
        assert predict(each, f"source={video}") == 0
        tables.append(table_of(tmp_path))
    assert not tables[0].equals(tables[1])
    assert "different weights" in capfd.readouterr().err
    for change in ("predict.precision=bf16", "data.normalize_images=false"):
        assert predict(run, f"source={video}", change) == 0
        assert re.search("different (weights, )?(precision|configuration)", capfd.readouterr().err)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("a/m.mp4", "b/m.mp4", id="one name in two folders"),
        pytest.param("a/m.mp4", "a/m.avi", id="two formats"),
    ],
)
def test_two_videos_do_not_share_a_file(
    first: str,
    second: str,
    run: Run,
    frames: list[np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = write_video(tmp_path / first, frames[:2])
    other = write_video(tmp_path / second, frames[2:5], "MJPG" if "avi" in second else "mp4v")
    output = tmp_path / "output"
    assert predict(run, f"source=[{one},{other}]", f"output={output}") == 2
    message = capsys.readouterr().err
    assert str(one) in message
    assert str(other) in message
    assert not output.exists()
    assert predict(run, f"source={one}", f"output={output}") == 0
    assert predict(run, f"source={other}", f"output={output}") == 2
    assert f"holds the poses of {one}" in capsys.readouterr().err
    assert len(table_of(output)) == 2
    assert predict(run, f"source={other}", f"output={output}", "overwrite=true") == 0
    assert len(table_of(output)) == 3


def test_a_video_that_is_recorded_again_gets_its_poses_and_a_moved_one_keeps_them(
    run: Run, frames: list[np.ndarray], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "m.mp4", frames[:2])
    assert predict(run, f"source={video}") == 0
    for recording in (frames[2:4], frames[2:5]):
        before = table_of(tmp_path)
        write_video(video, recording)
        assert predict(run, f"source={video}") == 0
        assert "different frames" in capfd.readouterr().err
        assert len(table_of(tmp_path)) == len(recording)
        assert not table_of(tmp_path).equals(before)
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in (video, *tmp_path.glob("*DLC*")):
        shutil.copyfile(path, moved / path.name)  # at another time
    video.unlink()
    assert predict(run, f"source={moved}/m.mp4") == 0
    assert "is there already" in capfd.readouterr().err


def test_folders_of_images_have_a_table_each_with_all_of_them(
    run: Run, frames: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / "rec.1", tmp_path / "rec.2"]
    for folder in folders:
        folder.mkdir()
        cv2.imwrite(str(folder / "a.png"), frames[0])
        assert predict(run, f"source={folder}", f"output={tmp_path}") == 0
    one, _ = sorted(tmp_path.glob("*.h5"))
    assert one.name.startswith("rec.1DLC_")
    cv2.imwrite(str(folders[0] / "b.png"), frames[1])
    assert predict(run, f"source={folders[0]}", f"output={tmp_path}") == 0
    assert list(pd.read_hdf(one).index) == ["a.png", "b.png"]
    # Not replaced by the poses of a part.
    assert predict(run, f"source={folders[0]}/a.png", f"output={tmp_path}") == 2
    assert "overwrite=true" in capsys.readouterr().err
    (folders[0] / "b.png").unlink()
    assert predict(run, f"source={folders[0]}", f"output={tmp_path}") == 0
    assert list(pd.read_hdf(one).index) == ["a.png"]


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("a pickle has run code",))


def test_poses_of_unknown_origin_are_neither_taken_nor_replaced(
    run: Run, frames: list[np.ndarray], tmp_path: Path
) -> None:
    (source,) = find_sources(write_video(tmp_path / "m.mp4", frames[:2]))
    finder = PoseFinder(run)
    analyze(finder, source, Wishes(csv=False))
    (path,) = tmp_path.glob("*_meta.pickle")
    for meta in ({}, {"data": {}}, {"data": Harmful()}, None):
        path.write_bytes(pickle.dumps(meta))
        with pytest.raises(UserError, match="overwrite=true"):
            analyze(finder, source, Wishes(csv=False))
    path.write_bytes(b"cut off")
    with pytest.raises(UserError, match="overwrite=true"):
        analyze(finder, source, Wishes(csv=False))
    assert len(analyze(finder, source, Wishes(csv=False, overwrite=True))) > 1


# `dlcexp predict` that finds the poses of ten frames and then waits to be killed.
STUCK = """
import sys, time
from dlcexp.cli import main
from dlcexp.data.draw_demo import demo_project
from dlcexp.inference import stream

stream.CHUNK = 5
find, calls = stream._find, []

def stuck(*given):
    calls.append(given)
    if len(calls) > 2:
        time.sleep(600)
    return find(*given)

stream._find = stuck
sys.exit(main(["predict", *sys.argv[1:]]))
"""


@pytest.mark.slow
def test_a_killed_job_goes_on(
    run: Run, video: Path, analyzed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [f"run={run.folder}", f"source={video}", f"output={tmp_path}"]
    job = subprocess.Popen([sys.executable, "-c", STUCK, *words], stderr=subprocess.DEVNULL)

    def written() -> bool:
        return any(path.stat().st_size for path in tmp_path.glob(".*.unfinished.bin"))

    wait_until(written, job)
    assert main(["predict", *words]) == 2
    assert f"in use by process {job.pid} on " in capfd.readouterr().err
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert not list(tmp_path.glob("*.h5"))
    assert main(["predict", *words]) == 0
    assert re.search(r"frame \d+ of 24", capfd.readouterr().err)
    pd.testing.assert_frame_equal(table_of(tmp_path), table_of(analyzed))
    assert not list(tmp_path.glob(".*"))


def test_other_weights_do_not_go_on(run: Run, video: Path, tmp_path: Path) -> None:
    (source,) = find_sources(video)
    finder = PoseFinder(run)
    from dlcexp.inference.unfinished import Unfinished

    path = tmp_path / ".unfinished.bin"
    kept = Unfinished(path, {"weights": 1}, stream.shapes(finder))
    kept.append(next(stream.find_poses(finder, source)))
    with path.open("ab") as file:
        file.write(b"cut off")
    again = Unfinished(path, {"weights": 1}, stream.shapes(finder))
    assert again.frames == stream.CHUNK
    assert Unfinished(path, {"weights": 2}, stream.shapes(finder)).frames == 0


def test_an_unreadable_frame_has_no_pose_and_is_counted(
    run: Run,
    analyzed: Path,
    damaged: Callable[[int], Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (source,) = find_sources(damaged(8))
    analyze(PoseFinder(run), source, Wishes(tmp_path, csv=False))
    assert re.search(r"1 of 24 frames .*\b8\b", caplog.text)
    table, intact = table_of(tmp_path), table_of(analyzed)
    assert table.iloc[8].isna().all()
    np.testing.assert_array_equal(table.iloc[12:], intact.iloc[12:])
    assert not list(tmp_path.glob("*.csv"))


def test_images_have_their_names(run: Run, frames: list[np.ndarray], tmp_path: Path) -> None:
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"img{number}.png"), frames[number])
    (tmp_path / "img2.png").write_bytes(b"broken")
    assert main(["predict", f"run={run.folder}", f"source={tmp_path}"]) == 0
    table = table_of(tmp_path)
    assert list(table.index) == ["img0.png", "img1.png", "img2.png"]
    assert table.iloc[2].isna().all()
    with pytest.raises(ProjectError, match=r"img2\.png"):
        dlcexp.predict(run, tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["source=x.mp4"], "run="),
        (["run=RUN"], "source="),
        (["run=RUN", "source=nothing/*.mp4"], "'nothing/*.mp4'"),
        (["run=RUN", "source=absent.mp4"], "source: there is no 'absent.mp4'"),
        (["run=RUN", "source=VIDEO", "predict.precison=16"], "'predict.precision'"),
        (["run=RUN", "source=VIDEO", "predict.precision=8"], "32, bf16, 16"),
        (["run=RUN", "source=VIDEO", "label=perhaps"], "'perhaps'"),
        (["run=RUN", "source=VIDEO", "snapshot=9"], "snapshot-009.pt"),
    ],
)
def test_mistakes_are_told(
    words: list[str], message: str, run: Run, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [each.replace("RUN", str(run.folder)).replace("VIDEO", str(video)) for each in words]
    assert main(["predict", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_broken_video_stops_no_other(
    run: Run, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(video.read_bytes()[:2000])
    words = [f"run={run.folder}", f"source=[{broken},{video}]", f"output={tmp_path}"]
    assert main(["predict", *words]) == 1
    assert len(table_of(tmp_path)) == 24
    told = capsys.readouterr().err
    assert "1 of 2 sources failed" in told
    assert f"  {broken}: {broken}: cannot be read as a video" in told
    assert "Traceback" not in told


def test_a_label_that_draws_nothing_is_told_with_the_cutoff_of_the_project(
    run: Run, video: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = [f"run={run.folder}", f"source={video}", f"output={tmp_path}", "--label"]
    assert main(["predict", *words, "evaluation.pcutoff=1"]) == 0
    assert "no keypoint is drawn" in caplog.text
    assert "evaluation.pcutoff is 1." in caplog.text
    project = tmp_path / "project"
    shutil.copytree(demo_project(), project, ignore=shutil.ignore_patterns("videos"))
    config = project / "config.yaml"
    config.write_text(re.sub("pcutoff:.*", "pcutoff: 0.99", config.read_text()))
    caplog.clear()
    (path, *_) = tmp_path.glob("*_labeled.mp4")
    path.unlink()
    assert main(["predict", *words, f"project={project}"]) == 0
    assert "evaluation.pcutoff is 0.99." in caplog.text
