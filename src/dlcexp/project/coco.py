"""A COCO keypoint file as a project: `project=FILE.json`.

Format: https://cocodataset.org/#format-data, section "Keypoint Detection". The keypoints and the
skeleton are those of the first category; an `individual` on every annotation, where there is one,
identifies the animal.
"""

import functools
import json
import logging
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlcexp.errors import ProjectError
from dlcexp.project.frames import natural_key, video_folder
from dlcexp.project.model import Labels, Project
from dlcexp.project.usable import usable_labels

logger = logging.getLogger(__name__)

# Where the images may be, seen from the folder that holds the file; or below, in a folder by whose
# name that of the file ends: annotations/person_keypoints_train2017.json is of train2017/.
_IMAGE_FOLDERS = (".", "images", "..", "../images")


@dataclass(frozen=True, eq=False)
class Animal:
    """One annotation: its slot, its points and its box.

    Attributes:
        slot: place among the individuals.
        points: (bodyparts, 3) x px, y px, v; v is 0 unlabelled, 1 hidden, 2 visible.
        box: x, y, width, height in px, or None.
    """

    slot: int
    points: NDArray[np.float64]
    box: tuple[float, ...] | None


@dataclass(frozen=True, eq=False)
class CocoFile:
    """The content of a COCO file that dlcexp uses.

    Attributes:
        frames: the animals of each image, by its file name with forward slashes.
    """

    bodyparts: tuple[str, ...]
    skeleton: tuple[tuple[str, str], ...]
    individuals: tuple[str, ...]
    frames: dict[str, list[Animal]]


def coco_project(source: Path) -> Project:
    """Read the head of a COCO keypoint file as a project.

    Raises:
        ProjectError: it is not a COCO keypoint file.
    """
    coco = read_coco(source)
    return Project(
        source=source,
        root=source.parent,
        kind="coco",
        name=source.stem,
        scorer="",
        date="",
        multianimal=len(coco.individuals) > 1,
        bodyparts=coco.bodyparts,
        unique_bodyparts=(),
        individuals=coco.individuals,
        with_identity=None,
        skeleton=coco.skeleton,
        iteration=0,
        pcutoff=None,
        labeled_data=images_per_folder(source),
    )


def read_coco(source: Path) -> CocoFile:
    """Parse a COCO keypoint file, once for each version of it.

    Raises:
        ProjectError: it is not JSON, or not a COCO keypoint file.
    """
    stat = source.stat()
    return _read_coco(source, stat.st_mtime_ns, stat.st_size)


def images_per_folder(source: Path) -> dict[str, int]:
    """Count listed images in each folder, in natural order."""
    counts = Counter(video_folder(name) for name in read_coco(source).frames)
    return {folder: counts[folder] for folder in sorted(counts, key=natural_key)}


def load_coco_labels(project: Project) -> Labels:
    """Load labels of the images that exist, in the order of the file; warn once of the others.

    Raises:
        ProjectError: no image exists.
    """
    coco = read_coco(project.source)
    slots, names = len(coco.individuals), list(coco.frames)
    keypoints = np.full((len(names), slots, len(coco.bodyparts), 2), np.nan)
    boxes = np.full((len(names), slots, 4), np.nan)
    for frame, animals in enumerate(coco.frames.values()):
        for animal in animals:
            labelled = animal.points[:, 2] > 0
            keypoints[frame, animal.slot, labelled] = animal.points[labelled, :2]
            boxes[frame, animal.slot] = np.nan if animal.box is None else animal.box
    labels = Labels(
        names=tuple(names),
        images=tuple(_find_image(project.source, name) for name in names),
        folders=tuple(video_folder(name) for name in names),
        keypoints=keypoints,
        unique=np.empty((len(names), 0, 2)),
        boxes=None if np.isnan(boxes).all() else boxes,
    )
    return usable_labels(labels, project)


def _find_image(source: Path, name: str) -> Path:
    part = source.stem.rpartition("_")[2]
    folders = [
        source.parent / folder / inside for inside in ("", part) for folder in _IMAGE_FOLDERS
    ]
    found = (path.resolve() for folder in folders if (path := folder / name).is_file())
    return next(found, folders[0] / name)


@functools.lru_cache(maxsize=4)
def _read_coco(source: Path, _modified: int, _size: int) -> CocoFile:
    try:
        return _parse(source)
    except json.JSONDecodeError as error:
        raise ProjectError(
            f"{source}, line {error.lineno}: is not valid JSON: {error.msg}."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{source}: cannot be read: {error}.") from None
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise ProjectError(
            f"{source}: is not a COCO keypoint file: {_reason(error)}. It needs images (id, "
            "file_name), annotations (image_id, keypoints) and categories[0].keypoints."
        ) from None


def _parse(source: Path) -> CocoFile:
    tree = json.loads(source.read_text(encoding="utf-8-sig"))
    category = tree["categories"][0]
    bodyparts = tuple(str(name) for name in category["keypoints"])
    images = {image["id"]: _file_name(image) for image in tree["images"]}
    annotations = _usable(source, tree["annotations"], tree["categories"])
    if not bodyparts or not images:
        raise ProjectError(f"{source}: has no {'images' if bodyparts else 'keypoints'}.")
    if len(set(images.values())) < len(images):
        raise ProjectError(f"{source}: lists the same file_name more than once.")
    by_image = _by_image(source, annotations, images)
    individuals, slots = _individuals(by_image)
    frames: dict[str, list[Animal]] = {name: [] for name in images.values()}
    for image, group in by_image.items():
        for order, annotation in enumerate(group):
            slot = slots.get(annotation.get("individual"), order)
            frames[images[image]].append(_animal(source, annotation, slot, len(bodyparts)))
    return CocoFile(bodyparts, _skeleton(category, bodyparts), individuals, frames)


def _file_name(image: dict[str, Any]) -> str:
    return str(image["file_name"]).replace("\\", "/").removeprefix("./")


def _usable(source: Path, annotations: Any, categories: Any) -> list[dict[str, Any]]:
    """Annotations of one animal each, of the categories with the keypoints of the first."""
    keypoints = categories[0]["keypoints"]
    known = {kind.get("id") for kind in categories if kind.get("keypoints") == keypoints}
    usable = [
        annotation
        for annotation in annotations
        if not annotation.get("iscrowd") and annotation.get("category_id") in {*known, None}
    ]
    if len(usable) < len(annotations):
        logger.warning(
            "%s: %d annotations are left out: crowds, or of a category with other keypoints",
            source,
            len(annotations) - len(usable),
        )
    if not usable:
        raise ProjectError(f"{source}: has no annotation.")
    return usable


def _by_image(
    source: Path, annotations: list[dict[str, Any]], images: dict[Any, str]
) -> dict[Any, list[dict[str, Any]]]:
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in annotations:
        image = annotation.get("image_id")
        if image not in images:
            raise ProjectError(
                f"{source}: annotation {annotation.get('id')} is of image {image!r}, which is not "
                "among the images."
            )
        groups[image].append(annotation)
    return groups


def _individuals(
    by_image: dict[Any, list[dict[str, Any]]],
) -> tuple[tuple[str, ...], dict[Any, int]]:
    """Names of the slots, and the slot of each `individual` if every annotation has its own."""
    named = [[a.get("individual") for a in group] for group in by_image.values()]
    if all(None not in group and len(set(group)) == len(group) for group in named):
        found = sorted({name for group in named for name in group}, key=_by_text)
        names = tuple(_individual_name(slot, name) for slot, name in enumerate(found))
        return names, {name: slot for slot, name in enumerate(found)}
    most = max(map(len, named))
    return tuple(_individual_name(slot, None) for slot in range(most)), {}


def _individual_name(slot: int, individual: Any) -> str:
    return individual if isinstance(individual, str) else f"individual_{slot + 1}"


def _by_text(individual: Any) -> list[tuple[int, str]]:
    return natural_key(str(individual))


def _animal(source: Path, annotation: dict[str, Any], slot: int, num_bodyparts: int) -> Animal:
    where = f"{source}: annotation {annotation.get('id')}"
    try:
        flat = annotation.get("keypoints") or [0] * (3 * num_bodyparts)
        points = np.array(flat, dtype=np.float64)
        box = annotation.get("bbox")
        values = tuple(float(value) for value in box) if box else None
    except (TypeError, ValueError, OverflowError):
        raise ProjectError(f"{where}: has keypoints or a bbox that are not numbers.") from None
    if points.shape != (3 * num_bodyparts,):
        raise ProjectError(
            f"{where}: has {points.size} keypoint values; {num_bodyparts} keypoints have "
            f"{3 * num_bodyparts} (x, y, v each)."
        )
    if values is not None and len(values) != 4:
        raise ProjectError(f"{where}: bbox has {len(values)} values, not x, y, width, height.")
    return Animal(slot, points.reshape(num_bodyparts, 3), values)


def _skeleton(category: dict[str, Any], names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Pairs of names, as they are or by number from 1; some writers count from 0."""
    listed = category.get("skeleton") or []
    edges = [edge for edge in listed if isinstance(edge, list) and len(edge) == 2]
    if edges and all(isinstance(end, str) for edge in edges for end in edge):
        return tuple((a, b) for a, b in edges if {a, b} <= set(names))
    base = 0 if any(0 in edge for edge in edges) else 1
    inside = [edge for edge in edges if all(0 <= end - base < len(names) for end in edge)]
    return tuple((names[a - base], names[b - base]) for a, b in inside)


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
