"""A model of each family goes to DeepLabCut and back: the same poses, and training goes on.

Nothing is random in these runs, no augmentation, and a batch is the whole training set. So a loss
that DeepLabCut reports can be compared number for number with that of a run that was not
interrupted: it tells that weights, optimizer, schedule and data are the same.
"""

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import dlcexp
from dlcexp.data.loading import PoseData
from dlcexp.deeplabcut.snapshots import Snapshot, load_snapshot
from dlcexp.evaluation.model_poses import predict_crops, predict_frames
from dlcexp.runs.stages import pose_stage
from dlcexp.training.pose_module import PoseModule

FRAMES, TRAINING = 4, 3
# Epochs, of one step each. DeepLabCut goes on from HANDED_OVER, we from what it has at GIVEN_BACK.
HANDED_OVER, HERE, GIVEN_BACK, THERE = 2, 4, 4, 5
# Relative error of a loss of equal weights; after a step more; of the change of all weights in a
# step. DeepLabCut does not round the pixels of training crops to whole grey levels, which batch
# norm and Adam magnify; without the state of the optimizer a step is off by twice its own length.
LOSS, NEXT_LOSS, STEP = 2e-4, 5e-3, 0.1
# The same of conditional models, whose conditions each tool draws by itself.
DRAWN_LOSS, DRAWN_NEXT_LOSS, DRAWN_STEP = 2e-3, 1e-2, 0.3
PIXELS = 0.01  # of the network's input
# Families that DeepLabCut's own evaluation is compared of.
EVALUATED = ("heatmap", "top-down")
ERROR = 8.0  # px, standard deviation of the poses that are corrected

BOTTOM_UP = [
    "data.resize={width: 96, height: 96}",
    "data.train.crop_sampling=null",
    "data.train.auto_padding=${data.auto_padding}",
]
TOP_DOWN = [
    "data.top_down_crop={width: 64, height: 64}",
    "data.train.random_bbox_transform=null",
    f"batch_size={2 * TRAINING}",
    "detector.model={weights: null, freeze_bn_stats: false}",
]
WITHOUT_DETECTOR = "train.stages=[pose]"
WITH_DETECTOR = [
    f"detector={{batch_size: {TRAINING}, epochs: {HERE}, save_epochs: {HANDED_OVER}}}",
    "detector.eval_interval=100",
    "detector.optimizer.lr=1e-3",
    "data_detector.resize={width: 96, height: 96}",
    "data_detector.train={hflip: null, affine: null, collate: null}",
]
# Drawn conditions are the labels but for a millionth of an animal. Without context DeepLabCut fills
# crops with grey in training and with black in inference; here they are black in both.
CONDITIONAL = [
    "data.top_down_crop={width: 64, height: 64, crop_with_context: true}",
    "data.gen_sampling={keypoint_sigmas: 1e-6, "
    "jitter_prob: 0, swap_prob: 0, inv_prob: 0, miss_prob: 0}",
    f"batch_size={2 * TRAINING}",
]
# Statistics of random weights are of no use when they are frozen.
LEARN_STATISTICS = "model.backbone.freeze_bn_stats=false"

COMMON = [
    "device=cpu",
    f"batch_size={TRAINING}",
    "split.train_fraction=0.75",
    f"epochs={HERE}",
    f"save_epochs={HANDED_OVER}",
    "optimizer.lr=1e-3",
    "data.train.affine=null",
    "data.train.motion_blur=false",
    "data.train.gaussian_noise=null",
    "trainer.save_optimizer_state=true",
    "trainer.num_workers=0",
    "trainer.eval_interval=100",
    "trainer.progress_bar=false",
    "evaluation.examples=0",
]

# The rate changes after the hand-over; RTMPose has a schedule of its own that does.
DROP = [f"scheduler.milestones=[{HANDED_OVER + 1},100]", "scheduler.lr_list=[[1e-4],[1e-5]]"]

FAMILIES = {
    "heatmap": ("openfield", "net_type=resnet_50", *DROP, *BOTTOM_UP),
    "hrnet": ("openfield", "net_type=hrnet_w18", *DROP, *BOTTOM_UP, LEARN_STATISTICS),
    "cspnext": ("openfield", "net_type=cspnext_s", *DROP, *BOTTOM_UP, LEARN_STATISTICS),
    "dekr": ("flies13", "net_type=dekr_w18", *DROP, *BOTTOM_UP),
    "paf": ("flies13", "net_type=resnet_50", *DROP, *BOTTOM_UP),
    "dlcrnet": ("flies13", "net_type=dlcrnet_stride16_ms5", *DROP, *BOTTOM_UP, LEARN_STATISTICS),
    "top-down": ("flies13", "net_type=top_down_resnet_50", *DROP, *TOP_DOWN, *WITH_DETECTOR),
    "rtmpose": ("flies13", "net_type=rtmpose_s", *TOP_DOWN, WITHOUT_DETECTOR, LEARN_STATISTICS),
    "tokenpose": (
        "flies13",
        "net_type=animaltokenpose_base",
        *DROP,
        *TOP_DOWN,
        WITHOUT_DETECTOR,
        LEARN_STATISTICS,
    ),
    "coam": ("flies13", "net_type=ctd_coam_w32", *DROP, *CONDITIONAL),
    "prenet": (
        "flies13",
        "net_type=ctd_prenet_hrnet_w32",
        *DROP,
        *CONDITIONAL,
        LEARN_STATISTICS,
    ),
}


def reduced(source: Path, target: Path) -> Path:
    """A copy of a project with the first frames of its first video."""
    table = min(source.glob("labeled-data/*/CollectedData_*.h5"))
    folder = target / "labeled-data" / table.parent.name
    folder.mkdir(parents=True)
    labels = pd.read_hdf(table).iloc[:FRAMES]
    labels.to_hdf(folder / table.name, key="df_with_missing")
    labels.to_csv(folder / table.with_suffix(".csv").name)
    for row in labels.index:
        name = Path(*row).name if isinstance(row, tuple) else Path(row).name
        shutil.copyfile(table.parent / name, folder / name)
    config = yaml.safe_load((source / "config.yaml").read_text())
    config["video_sets"] = {str(target / "videos" / f"{folder.name}.mp4"): {"crop": "0, 9, 0, 9"}}
    (target / "config.yaml").write_text(yaml.safe_dump(config))
    return target


@pytest.fixture(scope="module")
def projects(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("projects")
    return {n: reduced(real_data / n, root / n) for n in ("openfield", "flies13")}


@dataclass(frozen=True)
class Exchange:
    """A run of ours with what DeepLabCut made of it; see `scripts/continue_training.py`."""

    run: dlcexp.Run
    data: PoseData
    rows: list[int]

    @property
    def start(self) -> Path:
        return self.run.folder / "start.pt"

    @property
    def theirs(self) -> Path:
        return self.run.folder / "theirs"

    @property
    def conditions(self) -> dict[int, np.ndarray]:
        """Labels with errors, as another model might have found them."""
        generator = np.random.default_rng(0)
        labels = self.data.labels.keypoints
        found = {}
        for row in self.rows:
            points = labels[row] + generator.normal(0, ERROR, labels[row].shape)
            poses = np.insert(points, 2, generator.uniform(0.1, 1, points.shape[:2]), axis=-1)
            poses[np.isnan(points).any(axis=-1)] = 0
            found[row] = poses
        return found

    def snapshot(self, epoch: int) -> Path:
        return self.theirs / f"snapshot-{epoch:03d}.pt"

    def poses(self, snapshot: Path) -> np.ndarray:
        """Ours of each frame, px; top-down in the boxes of the labels, or from `conditions`."""
        model, data = self.run.model(snapshot), self.data
        if not data.top_down:
            return predict_frames(model, self.frames(), "cpu")
        size = data.labels.keypoints.shape[1:3]
        return predict_crops(model, self.frames(), self.rows, size, "cpu")

    def frames(self) -> Any:
        """The inputs of the network: frames, or crops."""
        if self.data.conditional:
            return self.data.conditional_crops(self.conditions)
        if self.data.top_down:
            return self.data.crops({row: self.data.ground_truth_boxes(row) for row in self.rows})
        return self.data._frame_dataset(self.rows, "inference", "data")


def train_here(name: str, projects: dict[str, Path], folder: Path) -> Exchange:
    project, *overrides = FAMILIES[name]
    cfg = dlcexp.compose(f"project={projects[project]}", *COMMON, *overrides)
    run, data = dlcexp.train(cfg, folder / name), PoseData(cfg)
    for stage in ("", "-detector"):
        snapshot = run.folder / "snapshots" / f"snapshot{stage}-{HANDED_OVER:03d}.pt"
        if snapshot.is_file():
            shutil.copyfile(snapshot, run.folder / f"start{stage}.pt")
    return Exchange(run, data, [*data.split.test, data.split.train[0]])


def order(exchanges: list[Exchange]) -> dict[str, Any]:
    """What DeepLabCut is to do in one project."""
    first = exchanges[0].data
    rows = exchanges[0].rows
    return {
        "root": str(first.project.root),
        "train": first.split.train,
        "test": first.split.test,
        "images": [str(first.labels.images[row]) for row in rows],
        "boxes": [first.ground_truth_boxes(row).tolist() for row in rows],
        "runs": [
            {
                "folder": str(each.run.folder),
                "conditions": [poses.tolist() for poses in each.conditions.values()],
                "epochs": THERE - HANDED_OVER,
                "snapshot": each.snapshot(GIVEN_BACK).name,
                "detector": f"snapshot-detector-{GIVEN_BACK:03d}.pt",
                "evaluate": each.run.folder.name in EVALUATED,
            }
            for each in exchanges
        ],
    }


@pytest.fixture(scope="module")
def exchanges(
    deeplabcut: Any,
    projects: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[dict[str, Exchange]]:
    """The families whose tests are run: trained here, then there, in one process each."""
    folder = tmp_path_factory.mktemp("exchange")
    chosen = {
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path
    }
    made = {name: train_here(name, projects, folder) for name in FAMILIES if name in chosen}
    by_project = [[made[n] for n in made if FAMILIES[n][0] == project] for project in projects]
    orders = [order(runs) for runs in by_project if runs]
    (folder / "orders.json").write_text(json.dumps(orders))
    deeplabcut("continue_training", folder / "orders.json")
    yield made
    shutil.rmtree(folder)  # gigabytes, of which pytest would keep three


def losses(table: Path, column: str) -> dict[int, float]:
    """Total loss of each epoch."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    key = "epoch" if "epoch" in rows[0] else "step"
    return {int(row[key]): float(row[column]) for row in rows}


def rate(snapshot: Snapshot) -> float:
    """The learning rate of the next epoch."""
    assert snapshot.optimizer is not None
    return float(snapshot.optimizer["param_groups"][0]["lr"])


def assert_same_poses(exchange: Exchange, snapshot: Path, record: str) -> None:
    ours = exchange.poses(snapshot)
    theirs = np.load(exchange.run.folder / f"{record}.npz")
    finest = max(float(sample["scale"].max()) for sample in exchange.frames())
    for place, poses in enumerate(ours):
        expected = theirs[f"{place}/poses"][..., :3]
        found = np.isfinite(poses[..., 0])
        assert found.any()
        np.testing.assert_allclose(
            poses[found][:, :2], expected[found][:, :2], atol=PIXELS * finest
        )
        scores = poses[..., 2]
        if exchange.data.conditional:
            scores = joint_scores(poses, exchange.conditions[exchange.rows[place]])
        np.testing.assert_allclose(scores[found], expected[found][:, 2], atol=1e-4)


def joint_scores(poses: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """The one score that DeepLabCut gives all keypoints of an animal whose pose is corrected.

    The mean score of its condition, missing keypoints as 0, times that of its keypoints that have
    any. We keep the score of each keypoint.
    """
    seen = poses[..., 2] > 0
    mean = np.where(seen, poses[..., 2], 0).sum(axis=1) / seen.sum(axis=1)
    joint = conditions[..., 2].mean(axis=1) * mean
    return np.broadcast_to(joint[:, None], poses.shape[:2])


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_our_snapshot_finds_the_same_poses_there(exchanges: dict[str, Exchange], name: str) -> None:
    assert_same_poses(exchanges[name], exchanges[name].start, "before")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_training_goes_on_there_as_it_does_here(exchanges: dict[str, Exchange], name: str) -> None:
    exchange = exchanges[name]
    here = losses(exchange.run.folder / "metrics.csv", "train.total_loss")
    there = losses(exchange.theirs / "learning_stats.csv", "losses/train.total_loss")
    assert list(there) == list(range(HANDED_OVER + 1, THERE + 1))
    drawn = exchange.data.conditional
    same, near = (DRAWN_LOSS, DRAWN_NEXT_LOSS) if drawn else (LOSS, NEXT_LOSS)
    assert there[HANDED_OVER + 1] == pytest.approx(here[HANDED_OVER + 1], rel=same)
    assert there[HERE] == pytest.approx(here[HERE], rel=near)
    ours, theirs = load_snapshot(exchange.run.snapshots[-1]), load_snapshot(exchange.snapshot(HERE))
    assert ours.epoch == theirs.epoch == HERE
    assert (
        rate(theirs)
        == pytest.approx(rate(ours))
        != pytest.approx(rate(load_snapshot(exchange.start)))
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_their_snapshot_finds_the_same_poses_here(
    exchanges: dict[str, Exchange], name: str
) -> None:
    assert_same_poses(exchanges[name], exchanges[name].snapshot(GIVEN_BACK), "after")


@pytest.mark.slow
@pytest.mark.parametrize("name", EVALUATED)
def test_their_shuffle_has_the_scores_here_that_it_has_there(
    exchanges: dict[str, Exchange], name: str
) -> None:
    exchange = exchanges[name]
    theirs = json.loads((exchange.run.folder / "scores.json").read_text())
    opened = dlcexp.Run.open(exchange.theirs, [f"project={exchange.data.project.root}"])
    settings = ["split=dlc_shuffle", f"split.shuffle={theirs['shuffle']}", "device=cpu"]
    settings.append(f"evaluation.pcutoff={theirs['pcutoff']}")
    ours = dlcexp.evaluate(opened, snapshot=exchange.snapshot(THERE), overrides=settings)
    assert theirs["Training epochs"] == THERE
    compared = [column for column in theirs if column.startswith(("train ", "test "))]
    assert {"train rmse", "test rmse", "test mAP"} <= set(compared)
    for column in compared:
        part, metric = column.split(" ")
        assert theirs[column] == pytest.approx(ours.metrics[part][metric], abs=0.01), column


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_training_goes_on_here_as_it_does_there(exchanges: dict[str, Exchange], name: str) -> None:
    exchange = exchanges[name]
    cfg, path = exchange.run.cfg, exchange.snapshot(GIVEN_BACK)
    before, after = load_snapshot(path), load_snapshot(exchange.snapshot(THERE))
    module = PoseModule(exchange.run.model(path), exchange.data, cfg, pose_stage(cfg))
    optimizer = module.configure_optimizers()
    optimizer.load_state_dict(before.optimizer)
    module.model.train()
    [batch] = module.batches(0, 1)
    loss = module.losses(batch)["total_loss"]
    loss.backward()
    optimizer.step()
    there = losses(exchange.theirs / "learning_stats.csv", "losses/train.total_loss")
    same, near = (DRAWN_LOSS, DRAWN_STEP) if exchange.data.conditional else (LOSS, STEP)
    assert loss.item() == pytest.approx(there[THERE], rel=same)
    here = module.model.state_dict()
    trained = [key for key, _ in module.model.named_parameters()]
    wrong = sum(float((here[key] - after.model[key]).square().sum()) for key in trained)
    step = sum(float((before.model[key] - after.model[key]).square().sum()) for key in trained)
    assert (wrong / step) ** 0.5 < near
