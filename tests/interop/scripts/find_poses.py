"""Find poses in images with DeepLabCut's bottom-up inference.

Arguments: pytorch_config.yaml, snapshot, .npz to write, images.
"""

import json
import sys

import numpy as np
from deeplabcut.pose_estimation_pytorch.apis.utils import get_pose_inference_runner
from deeplabcut.pose_estimation_pytorch.config import PoseConfig

config_path, snapshot_path, out_path, *images = sys.argv[1:]
config = PoseConfig.from_yaml(config_path)
individuals = len(config["metadata"]["individuals"])
runner = get_pose_inference_runner(config, snapshot_path, device="cpu", max_individuals=individuals)
arrays = {}
for place, found in enumerate(runner.inference(images)):
    arrays |= {f"{place}/{name}": np.asarray(value) for name, value in found.items()}
np.savez(out_path, **arrays)
print(json.dumps({"images": len(images)}))
