"""Run frames through DeepLabCut's inference transforms; the images go into an npz file.

Arguments: a JSON list of menus, the npz file to write, then the frames.
"""

import json
import sys

import cv2
import numpy as np
from deeplabcut.pose_estimation_pytorch.data.transforms import build_transforms

menus, target, *frames = sys.argv[1:]
arrays = {}
for menu_number, menu in enumerate(json.loads(menus)):
    transform = build_transforms(menu)
    for frame_number, frame in enumerate(frames):
        result = transform(
            image=cv2.cvtColor(cv2.imread(frame), cv2.COLOR_BGR2RGB),
            keypoints=[(100.0, 50.0)],
            class_labels=["a"],
            bboxes=[],
            bbox_labels=[],
        )
        arrays[f"{menu_number}/{frame_number}/image"] = result["image"]
        arrays[f"{menu_number}/{frame_number}/point"] = np.array(result["keypoints"][0])
np.savez(target, **arrays)
print(json.dumps({"count": len(arrays)}))
