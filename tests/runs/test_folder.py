import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from dlcexp.deeplabcut.snapshots import Snapshot, save_snapshot
from dlcexp.errors import ConfigError, SnapshotError, UserError
from dlcexp.files import write_json
from dlcexp.runs.environment import describe_environment
from dlcexp.runs.folder import RunFolder, anchored, new_run_folder
from dlcexp.runs.run import Run

Tree = Callable[..., DictConfig]


def status(folder: Path) -> dict[str, object]:
    return json.loads((folder / "status.json").read_text())  # type: ignore[no-any-return]


def test_start_writes_what_the_run_is_made_of(tree: Tree, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.start(tree(), ["batch_size=4"], fresh=[], device="cpu")
    assert OmegaConf.load(folder.config) == tree()
    assert OmegaConf.load(folder.path / "overrides.yaml") == ["batch_size=4"]
    exported = (folder.path / "pytorch_config.yaml").read_text()
    assert exported.startswith("# dlcexp train batch_size=4\n# dlcexp ")
    assert "bodyparts" in yaml.safe_load(exported)["metadata"]
    environment = json.loads((folder.path / "environment.json").read_text())
    assert environment["device"] == "cpu"
    assert environment["packages"]["torch"]


def test_a_fresh_start_removes_results_of_its_stage_and_nothing_else(
    tree: Tree, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    folder.snapshots.mkdir()
    old = ["metrics.csv", "metrics.json", "snapshots/last.ckpt", "snapshots/snapshot-001.pt"]
    others = ["notes.txt", "snapshots/mine.pt", "metrics-detector.csv"]
    others += ["snapshots/last-detector.ckpt", "snapshots/snapshot-detector-best-001.pt"]
    for name in [*old, *others]:
        (tmp_path / name).write_text("{}")
    folder.start(tree(), [], fresh=["pose"], device="cpu")
    assert not any((tmp_path / name).exists() for name in old)
    assert all((tmp_path / name).exists() for name in others)


def test_environment_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "secret-value")
    assert "secret-value" not in json.dumps(describe_environment("cpu"))


def test_status_of_a_run_that_completes(tmp_path: Path) -> None:
    with RunFolder(tmp_path).recording():
        assert status(tmp_path)["status"] == "running"
    assert status(tmp_path)["status"] == "completed"
    assert status(tmp_path)["error"] is None


@pytest.mark.parametrize(
    ("error", "told", "traceback"),
    [
        pytest.param(KeyboardInterrupt(), "interrupted", False, id="interrupted"),
        pytest.param(SystemExit(143), "terminated", False, id="terminated"),
        pytest.param(
            ConfigError("device", "not here"), "device: not here", False, id="user's mistake"
        ),
        pytest.param(ValueError("boom"), "ValueError: boom", True, id="ours, with its traceback"),
    ],
)
def test_status_of_a_run_that_fails(
    error: BaseException, told: str, traceback: bool, tmp_path: Path
) -> None:
    with pytest.raises(type(error)), RunFolder(tmp_path).recording():
        raise error
    assert status(tmp_path)["status"] == "failed"
    assert status(tmp_path)["error"] == told
    assert ("Traceback" in (tmp_path / "log.txt").read_text()) == traceback


def test_log_holds_what_dlcexp_says(tmp_path: Path) -> None:
    with RunFolder(tmp_path).recording():
        logging.getLogger("dlcexp.training").info("epoch 1")
        logging.getLogger("other").warning("not ours")
    logging.getLogger("dlcexp.training").info("too late")
    text = (tmp_path / "log.txt").read_text()
    assert "epoch 1" in text
    assert "not ours" not in text
    assert "too late" not in text


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 9},
        {"device": "auto"},
        {"trainer.num_workers": 2},
        {"logger": {}},
        {"resume": "never"},
        {"data.cache": 0},
    ],
    ids=str,
)
def test_the_same_experiment_elsewhere(
    tree: Tree, tmp_path: Path, changes: dict[str, object]
) -> None:
    folder = RunFolder(tmp_path)
    folder.start(tree(), [], fresh=[], device="cpu")
    folder.check_same_experiment(tree(changes))


def test_a_run_older_than_a_key_is_the_same_experiment(tree: Tree, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.start(tree(), [], fresh=[], device="cpu")
    old = OmegaConf.load(folder.config)
    del old["weights"], old["trainer"]["memory_format"]
    OmegaConf.save(old, folder.config)
    folder.check_same_experiment(tree())
    with pytest.raises(ConfigError, match=r"weights\.freeze: None"):
        folder.check_same_experiment(tree({"weights.freeze": ["backbone"]}))


def test_a_run_keeps_the_precision_with_which_it_began(tree: Tree, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.start(tree({"trainer.precision": "bf16-mixed"}), [], fresh=[], device="cuda")
    folder.check_same_experiment(tree({"trainer.precision": "auto"}))
    with pytest.raises(ConfigError, match=r"trainer\.precision: bf16-mixed there, 32-true"):
        folder.check_same_experiment(tree({"trainer.precision": "32-true"}))


def test_a_run_is_found_from_another_folder(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mouse").mkdir()
    monkeypatch.chdir(tmp_path)
    cfg = anchored(tree({"project": "mouse", "conditions": 3}))
    assert (Path(cfg.project), cfg.conditions) == (tmp_path.resolve() / "mouse", 3)
    assert anchored(tree({"project": "demo"})).project == "demo"


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"optimizer.lr": 0.5}, {"scheduler": None}, {"trainer.precision": "bf16-mixed"}],
    ids=str,
)
def test_another_experiment_is_refused(
    tree: Tree, tmp_path: Path, changes: dict[str, object]
) -> None:
    folder = RunFolder(tmp_path)
    folder.start(tree(), [], fresh=[], device="cpu")
    with pytest.raises(ConfigError, match=next(iter(changes))) as caught:
        folder.check_same_experiment(tree(changes))
    assert caught.value.key == "resume"


def test_folder_names_hash_the_tree(tree: Tree) -> None:
    first, same, other = (new_run_folder(tree({"seed": seed})) for seed in (0, 0, 1))
    assert re.fullmatch(r"runs/small/\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-[0-9a-f]{8}", first.as_posix())
    assert first.name[-8:] == same.name[-8:] != other.name[-8:]


def test_json_has_null_for_what_is_no_number(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"a": float("nan"), "b": 1.5, "c": "x"})
    assert json.loads((tmp_path / "m.json").read_text()) == {"a": None, "b": 1.5, "c": "x"}


def test_open_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(str(tmp_path))):
        Run.open(tmp_path)


def test_model_needs_fitting_weights(tree: Tree, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.start(tree(), [], fresh=[], device="cpu")
    run = Run.open(tmp_path)
    with pytest.raises(SnapshotError, match=re.escape(str(tmp_path))):
        run.model()
    save_snapshot(folder.snapshots / "snapshot-001.pt", Snapshot(1, {}))
    with pytest.raises(SnapshotError, match=r"snapshot-001\.pt"):
        run.model()


def test_a_password_in_a_url_is_in_no_file_of_a_run(tree, tmp_path):
    cls = "dlcexp.training.loggers.MLFlowLogger"
    logger = {"_target_": cls, "tracking_uri": "https://me:secret@tracking.org"}
    folder = RunFolder(tmp_path)
    typed = ["logger.mlflow.tracking_uri=https://me:secret@tracking.org"]
    folder.start(tree({"logger.mlflow": logger}), typed, fresh=[], device="cpu")
    texts = {path: path.read_text() for path in tmp_path.glob("*.*")}
    assert not [path.name for path, text in texts.items() if "secret" in text]
    assert sum("me:***@tracking.org" in text for text in texts.values()) == 3
