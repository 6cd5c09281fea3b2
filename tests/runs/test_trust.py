"""A run folder that was received allows itself no classes; one's own does, wherever it is moved."""

import shutil

import pytest
from omegaconf import OmegaConf

from dlcexp.errors import ConfigError
from dlcexp.runs.folder import RunFolder
from dlcexp.runs.run import Run
from dlcexp.runs.trust import record_own


@pytest.fixture
def received(tree, tmp_path, monkeypatch):
    """A run whose model is a class that empties a file as it is built."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "thesis.txt").write_text("years of work")
    model = {
        "_target_": "logging.FileHandler",
        "filename": str(tmp_path / "thesis.txt"),
        "mode": "w",
    }
    folder = tmp_path / "received"
    folder.mkdir()
    content = tree({"model": model, "allow_targets": ["logging."]})
    OmegaConf.save(content, folder / "config.yaml")
    return folder


def test_a_received_run_builds_no_class_that_it_allows_itself(received, caplog):
    run = Run.open(received)
    with pytest.raises(ConfigError, match=r"model\._target_: 'logging.*allow_targets="):
        run.model(received / "snapshot.pt")
    assert (received.parent / "thesis.txt").read_text() == "years of work"
    assert "type allow_targets=[logging.]" in caplog.text


def test_what_is_typed_for_this_command_counts(received):
    assert Run.open(received, ["allow_targets=[logging.]"]).cfg.allow_targets == ["logging."]


def test_an_own_run_counts_also_where_it_was_moved_unless_it_was_edited(received):
    record_own(received / "config.yaml")
    moved = shutil.copytree(received, received.with_name("moved"))
    assert Run.open(moved).cfg.allow_targets == ["logging."]
    with (moved / "config.yaml").open("a") as file:
        file.write("# edited\n")
    assert Run.open(moved).cfg.allow_targets == []


def test_a_run_that_is_made_here_is_recorded(received, tree, tmp_path):
    folder = RunFolder(tmp_path / "own")
    folder.write_tree(tree({"allow_targets": ["mylab."]}))
    assert Run.open(folder.path).cfg.allow_targets == ["mylab."]
