"""Opening projects: the real ones, and every way in which a config.yaml is odd or broken."""

import subprocess
import sys
from pathlib import Path

import pytest

from dlcexp.errors import ProjectError
from dlcexp.project import open_project

SINGLE = """\
Task: mouse
scorer: me
date: Nov24
multianimalproject:
identity:
project_path: C:\\Users\\someone else\\mouse
bodyparts:
- nose
- tail
skeleton: []
pcutoff: 0.6
iteration: 2
"""
MULTI = """\
Task: mice
scorer: me
date: Nov24
multianimalproject: true
identity: true
individuals: [m1, m2]
uniquebodyparts: [corner]
multianimalbodyparts: [nose, tail]
bodyparts: MULTI!
skeleton: [[nose, tail], [bodypart1, bodypart2]]
"""


def project(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    return folder


def test_openfield_says_what_its_file_says(openfield: Path) -> None:
    opened = open_project(openfield)
    assert (opened.source, opened.root) == (openfield / "config.yaml", openfield)
    assert opened.metadata() == {
        "project_name": "openfield",
        "bodyparts": ["snout", "leftear", "rightear", "tailbase"],
        "unique_bodyparts": [],
        "individuals": ["individual_1"],
        "with_identity": None,
        "skeleton": [],
        "multianimal": False,
        "num_bodyparts": 4,
        "num_individuals": 1,
        "num_unique_bodyparts": 0,
        "labeled_data": {"m4s1": 116},
    }
    assert (opened.scorer, opened.date, opened.pcutoff) == ("Pranav", "Oct30", 0.4)


def test_flies13_is_multi_animal(flies13: Path) -> None:
    opened = open_project(flies13 / "config.yaml")
    metadata = opened.metadata()
    assert opened.multianimal
    assert opened.individuals == ("fly1", "fly2")
    assert opened.with_identity is False
    assert metadata["num_bodyparts"] == 13
    assert metadata["skeleton"][0] == ["head", "eyeL"]
    assert metadata["labeled_data"] == {"flies13a": 60, "flies13b": 60}


def test_null_fields_stay_null_and_a_stale_project_path_does_not_matter(tmp_path: Path) -> None:
    opened = open_project(project(tmp_path / "mouse", SINGLE))
    assert opened.root == (tmp_path / "mouse").resolve()
    assert (opened.multianimal, opened.with_identity, opened.iteration) == (False, None, 2)


def test_multi_animal_with_unique_bodyparts_and_a_skeleton_of_the_template(tmp_path: Path) -> None:
    opened = open_project(project(tmp_path, MULTI))
    assert opened.bodyparts == ("nose", "tail")
    assert opened.unique_bodyparts == ("corner",)
    assert opened.skeleton == (("nose", "tail"),)
    assert opened.with_identity is True


@pytest.mark.parametrize("multianimal", ["true", "True", "TRUE", "yes"])
def test_truth_is_spelled_in_several_ways(tmp_path: Path, multianimal: str) -> None:
    text = MULTI.replace("multianimalproject: true", f"multianimalproject: {multianimal}")
    assert open_project(project(tmp_path, text)).multianimal


def test_names_that_yaml_takes_for_something_else_stay_names(tmp_path: Path) -> None:
    text = SINGLE.replace("- nose\n- tail", "- no\n- 1\n- 1e5\n- 2024-01-02").replace(
        "Task: mouse", "Task: 007"
    )
    opened = open_project(project(tmp_path, text))
    assert opened.bodyparts == ("no", "1", "1e5", "2024-01-02")
    assert opened.name == "007"


@pytest.mark.parametrize("encode", ["\r\n", "bom"])
def test_files_of_windows_open(tmp_path: Path, encode: str) -> None:
    raw = SINGLE.encode("utf-8-sig") if encode == "bom" else SINGLE.replace("\n", encode).encode()
    (tmp_path / "config.yaml").write_bytes(raw)
    assert open_project(tmp_path).bodyparts == ("nose", "tail")


def test_the_home_folder_and_relative_paths_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(tmp_path / "mouse", SINGLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    expected = open_project(tmp_path / "mouse").root
    assert open_project("~/mouse").root == open_project("mouse/config.yaml").root == expected


def test_only_folders_of_videos_are_counted(tmp_path: Path) -> None:
    for name in ("v10/a.png", "v2/a.PNG", "v2/b.jpg", "v2/CollectedData_me.csv",
                 "v2_labeled/a.png", ".hidden/a.png", "empty/notes.txt", "v2/.a.png"):  # fmt: skip
        path = tmp_path / "labeled-data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    counts = open_project(project(tmp_path, SINGLE)).metadata()["labeled_data"]
    assert list(counts.items()) == [("v2", 2), ("v10", 1)]


BROKEN = {
    "a tab": (SINGLE.replace("iteration: 2", "start:\n\tx: 2"), "line 13: "),
    "an open bracket": (SINGLE.replace("[]", "[[nose, tail]"), "line "),
    "no mapping": ("- nose\n", ""),
    "another yaml": ("optimizer: sgd\n", "Task"),
    "empty": ("", ""),
    "no bodyparts": (SINGLE.replace("- nose\n- tail\n", ""), "bodyparts: "),
    "a misspelled key": (SINGLE.replace("bodyparts:", "bodypart:"), "'bodypart'"),
    "no task": (SINGLE.replace("Task: mouse", "Task:"), "Task: "),
    "MULTI! alone": (
        MULTI.replace("multianimalproject: true", "multianimalproject:"),
        "multianimalproject",
    ),
    "no individuals": (MULTI.replace("[m1, m2]", "[]"), "individuals: "),
    "a name twice": (MULTI.replace("[nose, tail]\nb", "[nose, nose]\nb"), "'nose'"),
    "unique and not": (MULTI.replace("[corner]", "[nose]"), "'nose'"),
    "a word for a flag": (MULTI.replace("identity: true", "identity: maybe"), "identity: "),
    "a word for a number": (SINGLE.replace("0.6", "high"), "pcutoff: "),
    "an iteration": (SINGLE.replace("iteration: 2", "iteration: -1"), "iteration: "),
    "a flat skeleton": (SINGLE.replace("[]", "[nose, tail]"), "skeleton: "),
    "bodyparts as text": (SINGLE.replace("\n- nose\n- tail", " nose"), "bodyparts: "),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_config_is_one_message_with_the_path(tmp_path: Path, case: str) -> None:
    text, message = BROKEN[case]
    with pytest.raises(ProjectError) as caught:
        open_project(project(tmp_path, text))
    assert message in str(caught.value)
    assert str(tmp_path.resolve() / "config.yaml") in str(caught.value)


def test_text_that_is_not_utf8_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(SINGLE.replace("someone", "Jürgen").encode("cp1252"))
    with pytest.raises(ProjectError, match="UTF-8"):
        open_project(tmp_path)


def test_a_tag_makes_no_object(tmp_path: Path) -> None:
    text = SINGLE + "x: !!python/object/apply:os.mkdir [made]\n"
    open_project(project(tmp_path, text))
    assert not (tmp_path / "made").exists()


def test_a_missing_project_names_what_is_there(tmp_path: Path) -> None:
    project(tmp_path / "projects" / "mouse", SINGLE)
    cases = {
        "project/mouse": "'projects'",
        "projects/mouze": "'mouse'",
        "projects/none/at/all": "'none'",
        "projects": "mouse",
    }
    for value, message in cases.items():
        with pytest.raises(ProjectError) as caught:
            open_project(tmp_path / value)
        assert message in str(caught.value)


def test_a_folder_inside_a_project_names_the_project(tmp_path: Path) -> None:
    project(tmp_path, SINGLE)
    (tmp_path / "labeled-data").mkdir()
    (tmp_path / "video.mp4").touch()
    for name in ("labeled-data", "video.mp4"):
        with pytest.raises(ProjectError) as caught:
            open_project(tmp_path / name)
        assert str(tmp_path.resolve()) in str(caught.value)


def test_opening_imports_nothing_heavy(tmp_path: Path) -> None:
    project(tmp_path, SINGLE)
    code = (
        "import sys; from dlcexp.project import open_project; "
        f"open_project({str(tmp_path)!r}).metadata(); open_project('demo').metadata(); "
        "print(sorted({'numpy', 'pandas', 'torch', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
