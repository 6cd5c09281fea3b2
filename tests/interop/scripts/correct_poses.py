"""Crops and poses of a conditional top-down model of DeepLabCut, and poses drawn with errors.

Arguments: pytorch_config.yaml, snapshot, a JSON file, the npz file to write. The JSON holds
`frames`, a list of {image: path, poses: (m, k, 3)}, and `drawing`, the arguments of one drawn pose
with the number of them, `tries`.
"""

import json
import sys
from pathlib import Path

import numpy as np
from deeplabcut.pose_estimation_pytorch.apis.utils import get_pose_inference_runner
from deeplabcut.pose_estimation_pytorch.config import PoseConfig
from deeplabcut.pose_estimation_pytorch.data.generative_sampling import GenerativeSampler
from deeplabcut.pose_estimation_pytorch.data.image import load_image
from deeplabcut.pose_estimation_pytorch.data.preprocessor import (
    build_conditional_top_down_preprocessor,
)
from deeplabcut.pose_estimation_pytorch.data.transforms import build_transforms

config_path, snapshot, orders_path, target = sys.argv[1:]
orders = json.loads(Path(orders_path).read_text())
config = PoseConfig.from_yaml(config_path)
menu = config.data.inference
crop = menu.top_down_crop
preprocess = build_conditional_top_down_preprocessor(
    "RGB",
    build_transforms(menu),
    config.data.bbox_margin,
    (crop["width"], crop["height"]),
    0,
    crop["crop_with_context"],
)
runner = get_pose_inference_runner(config, snapshot, device="cpu", max_individuals=2)
arrays = {}
for number, frame in enumerate(orders["frames"]):
    poses = np.array(frame["poses"], dtype=float)
    images, context = preprocess(load_image(frame["image"]), {"cond_kpts": poses.copy()})
    arrays[f"{number}/crops"] = images.numpy()
    arrays[f"{number}/conditions"] = np.asarray(context["model_kwargs"]["cond_kpts"])
    (found,) = runner.inference([(frame["image"], {"cond_kpts": poses.copy()})])
    arrays[f"{number}/poses"] = found["bodyparts"]
drawing = orders["drawing"]
tries = drawing.pop("tries")
sampler = GenerativeSampler(len(drawing["keypoints"]), **drawing.pop("settings"))
points = {name: np.array(drawing[name], float) for name in ("keypoints", "near_keypoints")}
np.random.seed(0)  # noqa: NPY002
arrays["drawn"] = np.stack(
    [
        sampler(
            **{name: values.copy() for name, values in points.items()},
            area=drawing["area"],
            image_size=tuple(drawing["image_size"]),
        )
        for _ in range(tries)
    ]
)
np.savez(target, **arrays)
print(json.dumps({"frames": len(orders["frames"])}))
