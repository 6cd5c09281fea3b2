import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from training_support import FAST, die, equal, rows, scores

from dlcexp.errors import ConfigError, SnapshotError
from dlcexp.runs.stages import pose_stage
from dlcexp.training import Run, RunFolder, train
from dlcexp.training.resume import resume_point

Tree = Callable[..., DictConfig]

STEP = "dlcexp.training.pose_module:PoseModule.training_step"
SAVE = "dlcexp.deeplabcut.snapshots:SnapshotManager.save"
PRUNE = "dlcexp.deeplabcut.snapshots:SnapshotManager.prune"
WRITE = "torch:save"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_in_every_epoch_and_resumed_is_bitwise_equal(tree: Tree, tmp_path: Path) -> None:
    cfg = tree({**FAST, "epochs": 5, "trainer.eval_interval": 1})
    whole = train(cfg, tmp_path / "whole")
    folder = tmp_path / "killed"
    for point, count in [
        (STEP, 2),  # in the first epoch, before there is any checkpoint
        (STEP, 5),  # in the second: three steps an epoch
        (SAVE, 1),  # after the second, before its snapshots
        (PRUNE, 2),  # after the third, with last.ckpt written and the former best not removed
        (WRITE, 1),  # while the fourth writes its first file
    ]:
        assert die(folder, cfg, point, count) == -signal.SIGKILL
    # In the fifth; a run that is told to end says so.
    assert die(folder, cfg, STEP, 6, signal.SIGTERM) == 128 + signal.SIGTERM
    assert json.loads((folder / "status.json").read_text())["error"] == "terminated"
    resumed = train(cfg, folder)
    assert equal(whole, resumed)
    assert [p.name for p in sorted((folder / "snapshots").iterdir())] == [
        p.name for p in sorted((whole.folder / "snapshots").iterdir())
    ]
    assert scores(resumed) == scores(whole)
    for first, second in zip(rows(whole), rows(resumed), strict=True):
        assert {**first, "images_per_second": ""} == {**second, "images_per_second": ""}


@pytest.fixture(scope="module")
def two_epochs(small_tree: dict, tmp_path_factory: pytest.TempPathFactory) -> Run:  # type: ignore[type-arg]
    cfg = OmegaConf.create(small_tree)
    cfg.epochs, cfg.evaluation.examples = 2, 0
    return train(cfg, tmp_path_factory.mktemp("runs") / "two")


def test_a_run_goes_on_in_another_folder(two_epochs: Run, tree: Tree, tmp_path: Path) -> None:
    run = train(tree({**FAST, "resume": str(two_epochs.folder)}), tmp_path / "on")
    assert [row["epoch"] for row in rows(run)] == ["1", "2", "3", "4"]
    assert equal(run, train(tree(FAST), tmp_path / "whole"))
    assert len(rows(two_epochs)) == 2


@pytest.mark.slow
def test_workers_see_the_right_epoch_after_a_resume(
    two_epochs: Run, tree: Tree, tmp_path: Path
) -> None:
    changes = {**FAST, "trainer.num_workers": 2}
    run = train(tree({**changes, "resume": str(two_epochs.folder)}), tmp_path / "on")
    assert equal(run, train(tree(FAST), tmp_path / "whole"))


def test_a_finished_run_is_only_evaluated_again(tree: Tree, tmp_path: Path) -> None:
    first = train(tree({**FAST, "epochs": 1}), tmp_path)
    second = train(tree({**FAST, "epochs": 1}), tmp_path)
    assert scores(first) == scores(second)
    assert len(rows(second)) == 1


def test_auto_refuses_other_labels(two_epochs: Run, tree: Tree, tmp_path: Path) -> None:
    shutil.copytree(two_epochs.folder, tmp_path / "run")
    record = tmp_path / "run" / "frames.json"
    frames = json.loads(record.read_text())["frames"]
    first = next(iter(frames))
    record.write_text(record.read_text().replace(frames[first], "other"))
    with pytest.raises(ConfigError, match=f"1 with other labels: {first}"):
        train(tree({"epochs": 2, "evaluation.examples": 0}), tmp_path / "run")


def test_never_starts_over(tree: Tree, tmp_path: Path) -> None:
    train(tree({**FAST, "epochs": 3}), tmp_path)
    run = train(tree({**FAST, "epochs": 1, "resume": "never"}), tmp_path)
    assert len(rows(run)) == 1
    assert [p.name for p in run.snapshots] == ["snapshot-001.pt"]


def test_the_state_is_plain(two_epochs: Run) -> None:
    content = torch.load(two_epochs.folder / "snapshots" / "last.ckpt", weights_only=True)
    assert content["optimizer_states"][0]["state"]
    assert content["pose_scheduler"]["last_epoch"] == 2


def test_auto_refuses_another_experiment(two_epochs: Run, tree: Tree) -> None:
    cfg = tree({"optimizer.lr": 0.1})
    with pytest.raises(ConfigError, match=r"^resume: .*optimizer\.lr: 0\.0005.* 0\.1"):
        resume_point(cfg, pose_stage(cfg), RunFolder(two_epochs.folder))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"broken", id="broken"),
        pytest.param({"metadata": {}, "model": {}}, id="a snapshot"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tree: Tree, tmp_path: Path, content: object) -> None:
    path = tmp_path / "last.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(SnapshotError, match=re.escape(str(path))):
        train(tree({"resume": str(path)}), tmp_path / "run")


def test_the_checkpoint_of_another_model_is_refused(
    two_epochs: Run, tree: Tree, tmp_path: Path
) -> None:
    other = {"model.heads.bodypart.heatmap_config.kernel_size": [5]}
    with pytest.raises(ConfigError, match=r"kernel_size: \[3\].* \[5\]"):
        train(tree({**other, "resume": str(two_epochs.folder)}), tmp_path / "run")
    (tmp_path / "alone" / "snapshots").mkdir(parents=True)
    bare = tmp_path / "alone" / "snapshots" / "last.ckpt"
    shutil.copy2(two_epochs.folder / "snapshots" / "last.ckpt", bare)
    with pytest.raises(SnapshotError, match=r"model\.heads\.bodypart"):
        train(tree({**other, "resume": str(bare)}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
