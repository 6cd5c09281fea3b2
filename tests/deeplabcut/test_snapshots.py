import math
import pickle
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from dlcexp.deeplabcut.snapshots import (
    Snapshot,
    SnapshotManager,
    best_snapshot,
    list_snapshots,
    load_snapshot,
    save_snapshot,
    snapshot_epoch,
)
from dlcexp.errors import SnapshotError


def snapshot(epoch: int, **metrics: float) -> Snapshot:
    scores = {f"test.{name}": value for name, value in metrics.items()}
    losses = {"train.total_loss": 1.0}
    return Snapshot(epoch, nn.Linear(2, 1).state_dict(), metrics=scores, losses=losses)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_has_the_form_that_deeplabcut_reads(tmp_path: Path) -> None:
    path = tmp_path / "snapshot-007.pt"
    save_snapshot(path, snapshot(7, mAP=12.5))
    content = torch.load(path, weights_only=True)
    assert set(content) == {"metadata", "model", "scheduler"}
    assert content["metadata"] == {
        "epoch": 7,
        "metrics": {"metrics/test.mAP": 12.5},
        "losses": {"losses/train.total_loss": 1.0},
    }
    nn.Linear(2, 1).load_state_dict(content["model"])


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.rand(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    saved = Snapshot(
        12, network.state_dict(), {"test.rmse": 3.5}, {"train.total_loss": 0.1}, {"last_epoch": 12},
        optimizer.state_dict(),
    )  # fmt: skip
    save_snapshot(tmp_path / "snapshot-012.pt", saved)
    loaded = load_snapshot(tmp_path / "snapshot-012.pt")
    assert (loaded.epoch, loaded.metrics, loaded.losses) == (12, saved.metrics, saved.losses)
    assert loaded.scheduler == {"last_epoch": 12}
    assert all(torch.equal(loaded.model[k], v) for k, v in saved.model.items())
    assert loaded.optimizer is not None
    assert loaded.optimizer["param_groups"] == optimizer.state_dict()["param_groups"]


def test_half_precision_is_widened(tmp_path: Path) -> None:
    weights = nn.Linear(2, 1).bfloat16().state_dict()
    save_snapshot(tmp_path / "snapshot-001.pt", Snapshot(1, weights))
    assert load_snapshot(tmp_path / "snapshot-001.pt").model["weight"].dtype == torch.float32


def test_weights_are_contiguous_whatever_their_memory_format(tmp_path: Path) -> None:
    network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    save_snapshot(tmp_path / "snapshot-001.pt", Snapshot(1, network.state_dict()))
    kernel = load_snapshot(tmp_path / "snapshot-001.pt").model["weight"]
    assert kernel.is_contiguous()
    assert torch.equal(kernel, network.weight)


class Evil:
    def __reduce__(self):  # type: ignore[no-untyped-def]
        return print, ("code ran",)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="missing"),
        pytest.param(b"", id="empty"),
        pytest.param(b"PK\x03\x04 half a zip", id="cut off"),
        pytest.param(pickle.dumps(Evil(), protocol=2), id="would run code"),
        pytest.param({"state_dict": {}}, id="foreign"),
        pytest.param(torch.zeros(3), id="a tensor"),
    ],
)
def test_bad_files_are_told_with_their_path(
    tmp_path: Path, content: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "snapshot-001.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(SnapshotError, match=re.escape(str(path))):
        load_snapshot(path)
    assert "code ran" not in capsys.readouterr().out


def test_keeps_the_latest_periodic_ones_and_one_best(tmp_path: Path) -> None:
    manager = SnapshotManager(tmp_path, max_snapshots=2)
    for epoch, score in [(10, 5.0), (20, 9.0), (30, 7.0), (40, 8.0)]:
        manager.save(snapshot(epoch, mAP=score, rmse=1.0), periodic=True)
        manager.prune()
    assert names(tmp_path) == ["snapshot-030.pt", "snapshot-040.pt", "snapshot-best-020.pt"]
    assert best_snapshot(tmp_path) == tmp_path / "snapshot-best-020.pt"
    assert [snapshot_epoch(p) for p in list_snapshots(tmp_path)] == [30, 40]


def test_former_best_stays_until_pruned(tmp_path: Path) -> None:
    manager = SnapshotManager(tmp_path)
    manager.save(snapshot(1, mAP=1.0), periodic=False)
    manager.save(snapshot(2, mAP=2.0), periodic=False)
    assert len(names(tmp_path)) == 2
    assert best_snapshot(tmp_path) == tmp_path / "snapshot-best-002.pt"
    manager.prune()
    assert names(tmp_path) == ["snapshot-best-002.pt"]


@pytest.mark.parametrize(
    ("ascending", "scores", "best"),
    [
        pytest.param(
            True,
            [{"mAP": 0.0, "rmse": 9.0}, {"mAP": 0.0, "rmse": 4.0}],
            2,
            id="mAP 0: rmse decides",
        ),
        pytest.param(
            True, [{"mAP": 0.0, "rmse": 4.0}, {"mAP": 0.0, "rmse": 9.0}], 1, id="rmse worse"
        ),
        pytest.param(
            True,
            [{"mAP": 5.0, "rmse": 4.0}, {"mAP": 5.0, "rmse": 4.0}],
            1,
            id="equal is not better",
        ),
        pytest.param(
            True,
            [{"mAP": math.nan, "rmse": math.nan}, {"mAP": 0.0, "rmse": 9.0}],
            2,
            id="NaN is worst",
        ),
        pytest.param(
            True,
            [{"mAP": 3.0, "rmse": 9.0}, {"mAP": math.nan, "rmse": 1.0}],
            1,
            id="NaN never wins",
        ),
        pytest.param(
            False, [{"mAP": 3.0, "rmse": 9.0}, {"mAP": 1.0, "rmse": 9.0}], 2, id="smaller is better"
        ),
    ],
)
def test_which_is_best(
    tmp_path: Path, ascending: bool, scores: list[dict[str, float]], best: int
) -> None:
    manager = SnapshotManager(tmp_path, key_metric_asc=ascending)
    for epoch, metrics in enumerate(scores, start=1):
        manager.save(snapshot(epoch, **metrics), periodic=False)
        manager.prune()
    assert names(tmp_path) == [f"snapshot-best-{best:03d}.pt"]


def test_an_epoch_without_evaluation_is_never_best(tmp_path: Path) -> None:
    SnapshotManager(tmp_path).save(snapshot(1), periodic=True)
    assert names(tmp_path) == ["snapshot-001.pt"]
    assert best_snapshot(tmp_path) == tmp_path / "snapshot-001.pt"


def test_state_survives_a_restart(tmp_path: Path) -> None:
    first = SnapshotManager(tmp_path)
    first.save(snapshot(5, mAP=50.0), periodic=False)
    second = SnapshotManager(tmp_path)
    second.load_state_dict(first.state_dict())
    second.save(snapshot(6, mAP=40.0), periodic=False)
    assert names(tmp_path) == ["snapshot-best-005.pt"]


def test_files_of_a_killed_run_are_forgotten(tmp_path: Path) -> None:
    manager = SnapshotManager(tmp_path)
    for epoch in (4, 5, 6):
        manager.save(snapshot(epoch, mAP=epoch), periodic=True)
    (tmp_path / "notes.txt").touch()
    manager.forget_after(5)
    assert names(tmp_path) == [
        "notes.txt",
        "snapshot-004.pt",
        "snapshot-005.pt",
        "snapshot-best-004.pt",
        "snapshot-best-005.pt",
    ]


def test_an_empty_folder_has_no_best(tmp_path: Path) -> None:
    assert best_snapshot(tmp_path) is None
    with pytest.raises(SnapshotError, match=r"last\.ckpt"):
        snapshot_epoch(tmp_path / "last.ckpt")


def test_a_detector_keeps_snapshots_of_its_own_beside_those_of_the_pose_model(tmp_path):
    detector = SnapshotManager(tmp_path, prefix="snapshot-detector", key_metric="test.mAP@50:95")
    pose = SnapshotManager(tmp_path, max_snapshots=1)
    for epoch in (1, 2):
        weights = {"w": torch.ones(1)}
        scores = {"test.mAP@50:95": 10.0 * epoch}
        detector.save(Snapshot(epoch, weights, metrics=scores), periodic=True)
        pose.save(Snapshot(epoch, weights, metrics={"test.mAP": -epoch}), periodic=True)
        detector.prune()
        pose.prune()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "snapshot-002.pt",
        "snapshot-best-001.pt",
        "snapshot-detector-001.pt",
        "snapshot-detector-002.pt",
        "snapshot-detector-best-002.pt",
    ]
    assert best_snapshot(tmp_path).name == "snapshot-best-001.pt"
    assert best_snapshot(tmp_path, "snapshot-detector").name == "snapshot-detector-best-002.pt"
    pose.forget_after(0)
    assert len(list(tmp_path.iterdir())) == 3
