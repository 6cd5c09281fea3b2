"""Names of a project are text: those that would act are refused as the project is read."""

import json

import pytest
import yaml

from dlcexp.errors import ProjectError
from dlcexp.project import open_project

CONFIG = {"Task": "mouse", "scorer": "me", "date": "Nov24", "bodyparts": ["nose", "tail"]}


def opened(folder, **changes):
    (folder / "config.yaml").write_text(yaml.safe_dump({**CONFIG, **changes}))
    return open_project(folder)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        *(("Task", name) for name in ("..", "../out", "a/b", "a\\b", "C:mouse", "${oc.env:HOME}")),
        ("scorer", "../../out"),
        ("date", "24/11"),
        *(("bodyparts", name) for name in ("${oc.env:HOME}", "???", "=1+1", "a\x1b[31m", "a\nb")),
    ],
)
def test_a_name_that_would_act_is_refused(tmp_path, key, name):
    value = [name, "tail"] if key == "bodyparts" else name
    with pytest.raises(ProjectError) as raised:
        opened(tmp_path, **{key: value})
    assert f"config.yaml: {key}: {name!r}" in str(raised.value)
    assert "\x1b" not in str(raised.value)


def test_names_of_a_coco_file_too(tmp_path):
    keypoints = ["nose", "${oc.env:HOME}"]
    category = {"id": 1, "name": "mouse", "keypoints": keypoints, "skeleton": []}
    animal = {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 1, 2, 3, 3, 2]}
    image = {"id": 1, "file_name": "a.png"}
    content = {"images": [image], "annotations": [animal], "categories": [category]}
    (tmp_path / "a.png").touch()
    (tmp_path / "mouse.json").write_text(json.dumps(content))
    with pytest.raises(ProjectError, match=r"oc\.env"):
        open_project(tmp_path / "mouse.json")


def test_other_names_stay(tmp_path):
    names = ["left ear", "Schwanz-Spitze", "耳", "+1", "a=b", "$x", "nez\u00a0droit"]
    assert list(opened(tmp_path, bodyparts=names, Task="..mouse 1.2").bodyparts) == names
