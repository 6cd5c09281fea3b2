"""COCO keypoint files: a real one against its DeepLabCut twin, and handmade ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcexp.errors import ProjectError
from dlcexp.project import load_labels, open_project


def coco(**changes: Any) -> dict[str, Any]:
    """Two images; one animal in the first, two in the second."""
    boxes: list[dict[str, Any]] = [
        {"id": 7, "image_id": 10, "keypoints": [1, 2, 2, 3, 4, 1], "bbox": [0, 1, 5, 6]},
        {"id": 8, "image_id": 20, "keypoints": [5, 6, 2, 9, 9, 0], "bbox": [4, 5, 2, 2]},
        {"id": 9, "image_id": 20, "keypoints": [7, 8, 2, 7, 9, 2]},
    ]
    return {
        "images": [{"id": 10, "file_name": "a\\1.png"}, {"id": 20, "file_name": "b/2.png"}],
        "annotations": [{"category_id": 1, **box} for box in boxes],
        "categories": [{"id": 1, "keypoints": ["nose", "tail"], "skeleton": [[2, 1], [1, 5]]}],
    } | changes


def write(root: Path, tree: Any, images: str = ".", file: str = "labels.json") -> Path:
    for name in ("a/1.png", "b/2.png"):
        path = root / images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(tree if isinstance(tree, str) else json.dumps(tree))
    return root / file


def test_a_real_file_has_the_labels_of_its_deeplabcut_project(flies13: Path) -> None:
    source = flies13 / "coco" / "ma_flies13.json"
    project = open_project(source)
    twin = open_project(flies13)
    metadata = project.metadata()
    expected = twin.metadata()
    for key in ("bodyparts", "skeleton", "num_individuals", "multianimal", "labeled_data"):
        assert metadata[key] == expected[key]
    labels, twins = load_labels(project), load_labels(twin)
    assert labels.names == twins.names
    assert [path.resolve() for path in labels.images] == list(twins.images)
    assert labels.folders == twins.folders
    # The file rounds to 3 decimals.
    np.testing.assert_allclose(labels.keypoints, twins.keypoints, atol=6e-4, equal_nan=True)
    assert labels.boxes is not None
    # Its boxes have a margin around the points.
    corner, size = labels.boxes[..., :2], labels.boxes[..., 2:]
    assert (corner <= np.nanmin(twins.keypoints, axis=2)).all()
    assert (corner + size >= np.nanmax(twins.keypoints, axis=2)).all()


def test_points_visibility_boxes_and_slots(tmp_path: Path) -> None:
    project = open_project(write(tmp_path, coco()))
    assert project.name == "labels"
    assert project.individuals == ("individual_1", "individual_2")
    assert project.skeleton == (("tail", "nose"),)
    assert project.metadata()["labeled_data"] == {"a": 1, "b": 1}
    labels = load_labels(project)
    nan = np.nan
    assert labels.names == ("a/1.png", "b/2.png")
    assert labels.folders == ("a", "b")
    np.testing.assert_array_equal(labels.keypoints[0], [[[1, 2], [3, 4]], [[nan, nan]] * 2])
    np.testing.assert_array_equal(labels.keypoints[1], [[[5, 6], [nan, nan]], [[7, 8], [7, 9]]])
    np.testing.assert_array_equal(labels.boxes, [[[0, 1, 5, 6], [nan] * 4],
                                                 [[4, 5, 2, 2], [nan] * 4]])  # fmt: skip


@pytest.mark.parametrize(
    ("images", "file"),
    [(".", "x.json"), ("images", "x.json"), (".", "coco/x.json"), ("images", "annotations/x.json")],
    ids=["beside", "in images", "in the parent", "in the parent's images"],
)
def test_images_are_found(tmp_path: Path, images: str, file: str) -> None:
    labels = load_labels(open_project(write(tmp_path, coco(), images, file)))
    assert labels.images[0] == (tmp_path / images / "a" / "1.png").resolve()


def test_a_missing_image_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = write(tmp_path, coco())
    (tmp_path / "a" / "1.png").unlink()
    labels = load_labels(open_project(source))
    assert (labels.names, labels.absent) == (("b/2.png",), ("a/1.png",))
    assert labels.boxes is not None
    assert len(labels.boxes) == 1
    assert "1 of 2" in caplog.text


def test_given_individuals_keep_their_slots(tmp_path: Path) -> None:
    tree = coco()
    for annotation, name in zip(tree["annotations"], ("m2", "m10", "m2"), strict=True):
        annotation["individual"] = name
    project = open_project(write(tmp_path, tree))
    assert project.individuals == ("m2", "m10")
    labels = load_labels(project)
    np.testing.assert_array_equal(labels.keypoints[1, :, 0], [[7, 8], [5, 6]])


def test_crowds_and_other_categories_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree = coco()
    tree["categories"].append({"id": 2, "keypoints": ["wheel"]})
    tree["annotations"][1]["category_id"] = 2
    tree["annotations"][2]["iscrowd"] = 1
    project = open_project(write(tmp_path, tree))
    assert project.individuals == ("individual_1",)
    assert np.isnan(load_labels(project).keypoints[1]).all()
    assert "2 annotations" in caplog.text


def test_a_skeleton_may_name_its_keypoints(tmp_path: Path) -> None:
    tree = coco()
    tree["categories"][0]["skeleton"] = [["tail", "nose"], ["tail", "paw"]]
    assert open_project(write(tmp_path, tree)).skeleton == (("tail", "nose"),)


def test_a_skeleton_that_counts_from_0_is_understood(tmp_path: Path) -> None:
    tree = coco()
    tree["categories"][0]["skeleton"] = [[0, 1]]
    assert open_project(write(tmp_path, tree)).skeleton == (("nose", "tail"),)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    source = write(tmp_path, coco())
    assert len(open_project(source).individuals) == 2
    write(tmp_path, coco(annotations=coco()["annotations"][:1]))
    assert len(open_project(source).individuals) == 1


def annotation(**changes: Any) -> dict[str, Any]:
    return coco(annotations=[coco()["annotations"][0] | changes])


BROKEN = {
    "no json": ('{"images": [}', "line 1: "),
    "a list": ("[]", "COCO"),
    "no categories": (coco(categories=[]), "COCO"),
    "no keypoints": (coco(categories=[{"id": 1}]), "'keypoints'"),
    "empty keypoints": (coco(categories=[{"id": 1, "keypoints": []}]), "keypoints"),
    "no images": (coco(images=[]), "images"),
    "no annotations": (coco(annotations=[]), "annotation"),
    "words": (coco(annotations=["x"]), "COCO"),
    "an image twice": (coco(images=[{"id": i, "file_name": "a"} for i in (10, 20)]), "file_name"),
    "an unknown image": (annotation(image_id=3), "annotation 7"),
    "too few numbers": (annotation(keypoints=[1, 2, 2]), "annotation 7"),
    "no numbers": (annotation(keypoints=["x"] * 6), "annotation 7"),
    "a short box": (annotation(bbox=[1, 2]), "annotation 7"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_one_message_with_the_path(tmp_path: Path, case: str) -> None:
    tree, message = BROKEN[case]
    source = write(tmp_path, tree)
    with pytest.raises(ProjectError) as caught:
        open_project(source)
    assert message in str(caught.value)
    assert str(source.resolve()) in str(caught.value)
