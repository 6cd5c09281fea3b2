"""Train on from snapshots with `deeplabcut.train_network`, and find poses before and after.

Argument: a JSON file, a list of projects, each with `root`; `train` and `test`, rows of its labels;
`images`; `boxes`, those of the animals in each image; and `runs`, a list of {folder, epochs,
conditions: the poses to correct in each image, evaluate: whether to}.
The folder of a run holds a `pytorch_config.yaml` and the snapshots to begin with, `start.pt` and,
where a detector is trained too, `start-detector.pt`. It gets what comes out: the folder `theirs`
with snapshots and tables of losses, `before.npz` and `after.npz` with poses and boxes, and
`scores.json` of `deeplabcut.evaluate_network`.
"""

import json
import shutil
import sys
from pathlib import Path

import deeplabcut
import numpy as np
import pandas as pd
import torch
from deeplabcut.pose_estimation_pytorch.apis import (
    get_detector_inference_runner,
    get_pose_inference_runner,
)
from deeplabcut.pose_estimation_pytorch.config import PoseConfig
from deeplabcut.utils import auxiliaryfunctions


def create_shuffles(project):
    """A shuffle for each run, all of the same split; their folders."""
    root, train, test = Path(project["root"]), project["train"], project["test"]
    config = str(root / "config.yaml")
    fraction = round(len(train) / (len(train) + len(test)), 2)
    auxiliaryfunctions.edit_config(
        config, {"project_path": str(root), "TrainingFraction": [fraction]}
    )
    shuffles = list(range(1, len(project["runs"]) + 1))
    deeplabcut.create_training_dataset(
        config,
        Shuffles=shuffles,
        trainIndices=[train for _ in shuffles],
        testIndices=[test for _ in shuffles],
        net_type="resnet_50",
    )
    return [next(root.glob(f"dlc-models-pytorch/*/*shuffle{n}/train")) for n in shuffles]


def find_poses(folder, project, run, snapshot, detector, target):
    """Poses in each image, top-down in the boxes given; boxes of the detector, if there is one."""
    config = PoseConfig.from_yaml(folder / "pytorch_config.yaml")
    common = {"device": "cpu", "max_individuals": len(config.metadata.individuals)}
    images, arrays = project["images"], {}
    if detector.exists():
        found = get_detector_inference_runner(config, detector, **common).inference(images)
        for place, boxes in enumerate(found):
            arrays[f"{place}/boxes"] = np.asarray(boxes["bboxes"])
            arrays[f"{place}/scores"] = np.asarray(boxes["bbox_scores"])
    method = config.method.value.lower()
    if method == "td":
        boxes = [{"bboxes": np.array(each)} for each in project["boxes"]]
        images = list(zip(images, boxes, strict=True))
    if method == "ctd":
        poses = [{"cond_kpts": np.array(each)} for each in run["conditions"]]
        images = list(zip(images, poses, strict=True))
    runner = get_pose_inference_runner(config, snapshot, **common)
    for place, poses in enumerate(runner.inference(images)):
        arrays[f"{place}/poses"] = np.asarray(poses["bodyparts"])
    np.savez(target, **arrays)


def evaluate(root, shuffle):
    """The scores that `deeplabcut.evaluate_network` writes of a shuffle."""
    deeplabcut.evaluate_network(str(root / "config.yaml"), Shuffles=[shuffle], device="cpu")
    tables = root.glob(f"evaluation-results-pytorch/*/*shuffle{shuffle}/*-results.csv")
    scores = pd.concat([pd.read_csv(table) for table in sorted(tables)])
    return scores.dropna(subset="test rmse").iloc[-1].dropna().to_dict()


torch.set_num_threads(1)
for project in json.loads(Path(sys.argv[1]).read_text()):
    for shuffle, there in enumerate(create_shuffles(project), start=1):
        run = project["runs"][shuffle - 1]
        here = Path(run["folder"])
        shutil.copyfile(here / "pytorch_config.yaml", there / "pytorch_config.yaml")
        start, detector = here / "start.pt", here / "start-detector.pt"
        find_poses(there, project, run, start, detector, here / "before.npz")
        deeplabcut.train_network(
            str(Path(project["root"], "config.yaml")),
            shuffle=shuffle,
            device="cpu",
            snapshot_path=start,
            detector_path=detector if detector.exists() else None,
            epochs=run["epochs"],
            detector_epochs=run["epochs"] if detector.exists() else 0,
        )
        snapshots = [there / run[name] for name in ("snapshot", "detector")]
        find_poses(there, project, run, *snapshots, here / "after.npz")
        if run["evaluate"]:
            scores = evaluate(Path(project["root"]), shuffle)
            (here / "scores.json").write_text(json.dumps({"shuffle": shuffle, **scores}))
        there.rename(here / "theirs")
print(json.dumps({}))
