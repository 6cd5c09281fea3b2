"""The synthetic DeepLabCut project: two lizards in three videos, drawn by our own code from a seed.

`project=demo` means this one. It is small, but it has what makes real projects hard: clutter that
looks like tails, animals that cover each other, leaves above them, another light in each video.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcexp.errors import ProjectError, UserError
from dlcexp.files import expanded
from dlcexp.project import demo, open_project
from dlcexp.vocabulary import LABEL_TABLE, LABELED_DATA, LABELS, PROJECT_FILE
from dlcexp.yaml_files import dump_yaml

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Marks a folder as one that may be drawn again, and records what is in it.
_MARK = ".dlcexp-demo"
_DRAWN = frozenset({PROJECT_FILE, LABELED_DATA, "videos", _MARK})


def demo_metadata() -> dict[str, Any]:
    """Return the `metadata` block of the demo project, without drawing it."""
    return demo.demo_head().metadata()


def demo_project() -> Path:
    """Return the folder of the demo project in the user's cache; draw it if it does not exist.

    Raises:
        UserError: the cache cannot be written.
    """
    folder = demo.demo_head().root
    if not _is_whole(folder):
        _refuse_foreign(folder)
        _draw(folder, seed=0)
    return folder


def write_demo_project(folder: Path, seed: int = 0) -> Path:
    """Draw the project into `folder`; it appears there whole or not at all.

    A project that was drawn there with this seed is left as it is. One of another seed is drawn
    again, unless something was added to it since.

    Returns:
        The absolute path of the project.

    Raises:
        UserError: the folder holds something else, or cannot be written.
    """
    folder = expanded(folder).resolve()
    if not ((folder / PROJECT_FILE).is_file() and _mark_in(folder) == _mark(seed)):
        _refuse_foreign(folder)
        _draw(folder, seed)
    return folder


def _draw(folder: Path, seed: int) -> None:
    is_new = not folder.exists()
    try:
        with _folder_beside(folder) as temporary:
            _write(temporary, folder, seed)
            if is_new:
                temporary.chmod(0o755)
                temporary.rename(folder)
            else:
                _replace_content(folder, temporary)
    except OSError as error:
        # The rename fails where another process was faster; its drawing is as good as ours.
        if not (_mark_in(folder) == _mark(seed) and _is_whole(folder)):
            raise UserError(f"{folder}: the demo project cannot be written: {error}.") from error


# Folders


def _is_whole(folder: Path) -> bool:
    try:
        return open_project(folder).metadata() == demo_metadata()
    except ProjectError:
        return False


def _mark(seed: int) -> str:
    return f"drawing {demo.DRAWING}, seed {seed}\n"


def _mark_in(folder: Path) -> str:
    try:
        return (folder / _MARK).read_text(encoding="utf-8")
    except OSError:
        return ""


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder that is not empty and holds more than a drawn project."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder}: is a file; the demo project needs a folder.")
    names = {path.name for path in folder.iterdir()}
    if names and _MARK not in names:
        raise UserError(
            f"{folder}: holds {_some(names)} and is not a demo project; choose a new or empty"
            " folder."
        )
    if names - _DRAWN:
        raise UserError(
            f"{folder}: holds {_some(names - _DRAWN)} in addition to the demo project; drawing "
            "again would delete it. Choose a different folder."
        )


def _some(names: set[str]) -> str:
    shown = sorted(names)[:3]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")


@contextmanager
def _folder_beside(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder on the same disk, removed afterwards unless it was renamed.

    It is within an existing folder: the one around that may belong to somebody else.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    parent = folder if folder.is_dir() else folder.parent
    temporary = Path(tempfile.mkdtemp(prefix=".dlcexp-demo-", dir=parent))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_content(folder: Path, drawn: Path) -> None:
    """Replace the files; the config.yaml, which makes it a project, goes first and comes last."""
    for name in sorted(_DRAWN, key=lambda name: name != PROJECT_FILE):
        old = folder / name
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    for name in sorted(_DRAWN, key=lambda name: name == PROJECT_FILE):
        (drawn / name).rename(folder / name)


# Content


def _write(folder: Path, final: Path, seed: int) -> None:
    import numpy as np

    for number, video in enumerate(demo.VIDEOS):
        _write_video(folder, video, np.random.default_rng([seed, number]))
    text = dump_yaml(_config(final))
    (folder / PROJECT_FILE).write_text(text, encoding="utf-8", newline="\n")
    (folder / _MARK).write_text(_mark(seed), encoding="utf-8", newline="\n")


def _write_video(folder: Path, name: str, rng: "np.random.Generator") -> None:
    """Write the frames of one video, those of them that are labelled, and their labels."""
    import cv2
    import numpy as np

    from dlcexp.data.demo_animals import Video

    frames, keypoints = zip(
        *map(Video(name, demo.FRAMES, rng).frame, range(demo.FRAMES)), strict=True
    )
    labeled = folder / LABELED_DATA / name
    labeled.mkdir(parents=True)
    numbers = range(0, demo.FRAMES, demo.LABELED_EVERY)
    names = [f"img{number:03d}.png" for number in numbers]
    for image, number in zip(names, numbers, strict=True):
        _, png = cv2.imencode(".png", cv2.cvtColor(frames[number], cv2.COLOR_RGB2BGR))
        (labeled / image).write_bytes(png.tobytes())
    _write_labels(labeled, names, np.stack([keypoints[number] for number in numbers]))
    (folder / "videos").mkdir(exist_ok=True)
    _write_movie(folder / "videos" / f"{name}.mp4", frames)


def _write_movie(path: Path, frames: "tuple[NDArray[np.uint8], ...]") -> None:
    import cv2

    codec = cv2.VideoWriter.fourcc(*"mp4v")
    size = (demo.IMAGE_SIZE, demo.IMAGE_SIZE)
    writer = cv2.VideoWriter(str(path), codec, demo.FRAMES_PER_SECOND, size)
    if not writer.isOpened():
        raise OSError(f"OpenCV cannot write {path.name}")
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


def _write_labels(folder: Path, names: list[str], keypoints: "NDArray[np.float64]") -> None:
    """Write the label table of a multi-animal project as DeepLabCut does, to h5 and csv."""
    import pandas as pd

    columns = pd.MultiIndex.from_product(
        [[demo.SCORER], demo.INDIVIDUALS, demo.BODYPARTS, ["x", "y"]],
        names=["scorer", "individuals", "bodyparts", "coords"],
    )
    index = pd.MultiIndex.from_tuples([(LABELED_DATA, folder.name, name) for name in names])
    table = pd.DataFrame(keypoints.reshape(len(names), -1).round(2), index=index, columns=columns)
    table.to_csv(folder / f"{LABELS}{demo.SCORER}.csv")
    table.to_hdf(folder / f"{LABELS}{demo.SCORER}.h5", key=LABEL_TABLE, mode="w")


def _config(folder: Path) -> dict[str, Any]:
    """Return every field that DeepLabCut puts into the config.yaml of a multi-animal project."""
    size = demo.IMAGE_SIZE
    crop = {"crop": f"0, {size}, 0, {size}"}
    return {
        "Task": demo.demo_head().name,
        "scorer": demo.SCORER,
        "date": demo.DATE,
        "multianimalproject": True,
        "identity": False,
        "project_path": str(folder),
        "engine": "pytorch",
        "video_sets": {str(folder / "videos" / f"{name}.mp4"): dict(crop) for name in demo.VIDEOS},
        "individuals": list(demo.INDIVIDUALS),
        "uniquebodyparts": [],
        "multianimalbodyparts": list(demo.BODYPARTS),
        "bodyparts": "MULTI!",
        "start": 0,
        "stop": 1,
        "numframes2pick": 20,
        "skeleton": [list(edge) for edge in demo.SKELETON],
        "skeleton_color": "black",
        "pcutoff": demo.demo_head().pcutoff,
        "dotsize": 4,
        "alphavalue": 0.7,
        "colormap": "rainbow",
        "TrainingFraction": [0.8],
        "iteration": 0,
        "default_net_type": "resnet_50",
        "default_augmenter": "albumentations",
        "default_track_method": "ellipse",
        "snapshotindex": "all",
        "detector_snapshotindex": -1,
        "batch_size": 8,
        "detector_batch_size": 1,
        "cropping": False,
        "x1": 0,
        "x2": size,
        "y1": 0,
        "y2": size,
        "corner2move2": [50, 50],
        "move2corner": True,
        "SuperAnimalConversionTables": None,
    }
