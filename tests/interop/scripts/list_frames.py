"""Print the frames and labels that DeepLabCut trains and tests on in each of the projects argv[1:].

{project: {frame: [[x, y] of each visible keypoint]}}, or the text of the error that it raised.
"""

import json
import sys
from pathlib import Path

import deeplabcut
import numpy as np
from deeplabcut.pose_estimation_pytorch.data import DLCLoader


def frames_of(root):
    config = str(root / "config.yaml")
    deeplabcut.create_training_dataset(
        config, Shuffles=[1], net_type="resnet_50", userfeedback=False
    )
    loader, found = DLCLoader(config, shuffle=1), {}
    for mode in ("train", "test"):
        content = loader.load_data(mode)
        names = {i["id"]: "/".join(Path(i["file_name"]).parts[-3:]) for i in content["images"]}
        for name in names.values():
            found.setdefault(name, [])
        for animal in content["annotations"]:
            points = np.asarray(animal["keypoints"], dtype=float).reshape(-1, 3)
            found[names[animal["image_id"]]] += points[points[:, 2] > 0, :2].tolist()
    return found


answer = {}
for root in map(Path, sys.argv[1:]):
    try:
        answer[root.name] = frames_of(root)
    except Exception as error:
        answer[root.name] = f"{type(error).__name__}: {error}"
print(json.dumps(answer))
