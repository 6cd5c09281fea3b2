"""Cut boxes out of images as DeepLabCut's top-down models see them; everything into an npz file.

Arguments: a JSON file and the npz file to write. The JSON holds `crops`, a list of
{image: .npy of (h, w, 3), boxes: [[x, y, w, h], ...], size: [width, height]}, cut one by one;
`inputs`, a list of {image, boxes, size, menu}, as the model gets them; `keypoints`, a list of
{points: (n, k, 2), shape: [height, width], margin}, to be boxed.
"""

import json
import sys
from pathlib import Path

import numpy as np
from deeplabcut.pose_estimation_pytorch.data.image import top_down_crop
from deeplabcut.pose_estimation_pytorch.data.preprocessor import build_top_down_preprocessor
from deeplabcut.pose_estimation_pytorch.data.transforms import build_transforms
from deeplabcut.pose_estimation_pytorch.data.utils import bbox_from_keypoints

orders, target = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
arrays = {}
for number, order in enumerate(orders["crops"]):
    image = np.load(order["image"])
    crops = [top_down_crop(image, np.array(box), tuple(order["size"])) for box in order["boxes"]]
    for name, values in zip(("image", "offset", "scale"), zip(*crops, strict=True), strict=True):
        arrays[f"crops/{number}/{name}"] = np.array(values)
for number, order in enumerate(orders["inputs"]):
    transform = build_transforms(order["menu"])
    preprocess = build_top_down_preprocessor("RGB", transform, tuple(order["size"]))
    images, context = preprocess(
        np.load(order["image"]), {"bboxes": np.array(order["boxes"], dtype=float)}
    )
    arrays[f"inputs/{number}/image"] = images.numpy()
    arrays[f"inputs/{number}/offset"] = np.array(context["offsets"])
    arrays[f"inputs/{number}/scale"] = np.array(context["scales"])
for number, order in enumerate(orders["keypoints"]):
    points = np.array(order["points"], dtype=float)
    points = np.concatenate([points, np.full((*points.shape[:2], 1), 2.0)], axis=2)
    boxes = bbox_from_keypoints(points, *order["shape"], order["margin"])
    arrays[f"keypoints/{number}/boxes"] = boxes
np.savez(target, **arrays)
print(json.dumps({"count": len(arrays)}))
