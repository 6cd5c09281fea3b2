"""`pytorch_config=FILE` among overrides: the words of the file, then those of the user."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlcexp.composition import compose, rewritten
from dlcexp.errors import ConfigError, Mistakes, ProjectError


@pytest.fixture(scope="module")
def file(parity, tmp_path_factory):
    """What DeepLabCut 3.0.2 wrote for DEKR, with a batch size and a learning rate of its own."""
    text = parity.config("openfield", "dekr_w18")
    path = tmp_path_factory.mktemp("imports") / "pytorch_config.yaml"
    edited = text.replace("lr: 0.0005", "lr: 0.0007")
    assert edited.count("lr: 0.0007") == 1
    path.write_text(edited.replace("amsgrad: true", "amsgrad: false"))
    return path


def test_words_without_a_file_are_left_alone():
    words = ["model=dekr", "+x=1", "pytorch_config=null"]
    assert list(map(str, rewritten(words))) == words[:2]


@pytest.mark.parametrize(
    ("word", "error", "told"),
    [
        ("pytorch_config=", ConfigError, "names no file"),
        ("pytorch_config=a.yaml,b.yaml", ConfigError, "several files"),
        ("pytorch_config=nowhere.yaml", ProjectError, "no such file"),
        ("pytorch_config=~nobody-here/a.yaml", ProjectError, "no such file"),
    ],
)
def test_a_file_that_is_none_is_refused(word, error, told):
    with pytest.raises(error, match=told):
        rewritten([word])


def test_the_words_of_the_file_stand_before_those_of_the_user(file):
    words = list(map(str, rewritten([f"pytorch_config={file}", "batch_size=4"])))
    assert words[-1] == "batch_size=4"
    assert "net_type=dekr_w18" in words
    assert "optimizer.lr=0.0007" in words


def test_an_option_of_the_user_takes_the_place_of_the_one_in_the_file(file):
    """SGD has a learning rate, so that of the file still holds; a net type replaces the model."""
    overrides = rewritten([f"pytorch_config={file}", "optimizer=sgd"])
    assert "optimizer.lr=0.0007" in map(str, overrides)
    overrides = rewritten([f"pytorch_config={file}", "net_type=resnet_50"])
    assert [each.value for each in overrides if each.key == "net_type"] == ["resnet_50"]
    assert not any(each.key.startswith("model") for each in overrides)


# The project


_opened: list[str] | None = None


def _count(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _opened is not None:
        _opened.append(str(arguments[0]))


@pytest.fixture(scope="module", autouse=True)
def audit() -> None:
    """Hear of every file that is opened; Python has no way to stop that."""
    sys.addaudithook(_count)


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The files that are opened during a test."""
    global _opened
    _opened = []
    yield _opened
    _opened = None


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["net_type=hrnet_w18"],
        ["method=td", "data.train.affine.rotation=90"],
        ["pytorch_config={file}", "optimizer=sgd"],
        ["batch_sz=3", "epochs=x"],
    ],
    ids=" ".join,
)
def test_composing_reads_the_file_of_the_project_once(words, mouse_project, file, opened):
    overrides = [word.format(file=file) for word in words]
    with contextlib.suppress(Mistakes):
        compose(f"project={mouse_project}", *overrides)
    assert opened.count(str(mouse_project / "config.yaml")) == 1


def test_a_project_that_has_changed_is_read_again(mouse_project, tmp_path):
    project = Path(shutil.copytree(mouse_project, tmp_path / "mouse"))
    before = compose(f"project={project}").metadata.bodyparts
    config = project / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace(before[0], "nose"), "utf-8")
    assert compose(f"project={project}").metadata.bodyparts[0] == "nose"
