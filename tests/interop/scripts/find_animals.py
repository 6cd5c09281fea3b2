"""Detect animals and find their poses with DeepLabCut.

Arguments: pytorch_config.yaml, snapshot of the detector, snapshot of the pose model, most
individuals, .npz to write, images.
"""

import json
import sys

import numpy as np
from deeplabcut.pose_estimation_pytorch.apis.utils import (
    get_detector_inference_runner,
    get_pose_inference_runner,
)
from deeplabcut.pose_estimation_pytorch.config import PoseConfig

config_path, detector_path, pose_path, individuals, out_path, *images = sys.argv[1:]
config = PoseConfig.from_yaml(config_path)
common = {"device": "cpu", "max_individuals": int(individuals)}
detector = get_detector_inference_runner(config, detector_path, **common)
found = detector.inference(images)
pose = get_pose_inference_runner(config, pose_path, **common)
poses = pose.inference([(image, boxes) for image, boxes in zip(images, found, strict=True)])
arrays = {}
for place, (boxes, pose) in enumerate(zip(found, poses, strict=True)):
    arrays[f"{place}/boxes"] = np.asarray(boxes["bboxes"])
    arrays[f"{place}/scores"] = np.asarray(boxes["bbox_scores"])
    arrays[f"{place}/poses"] = np.asarray(pose["bodyparts"])
np.savez(out_path, **arrays)
print(json.dumps({"images": len(images)}))
