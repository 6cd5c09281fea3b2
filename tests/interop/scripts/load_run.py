"""Load an exported configuration and a snapshot with DeepLabCut, and apply the model to images.

Arguments: pytorch_config.yaml, snapshot, .npy of images (b, 3, h, w), .npz to write.
"""

import json
import sys

import numpy as np
import torch
from deeplabcut.pose_estimation_pytorch.config import PoseConfig
from deeplabcut.pose_estimation_pytorch.models import PoseModel

config_path, snapshot_path, images_path, out_path = sys.argv[1:]
config = PoseConfig.from_yaml(config_path)
model = PoseModel.build(config["model"])
snapshot = torch.load(snapshot_path, map_location="cpu", weights_only=True)
model.load_state_dict(snapshot["model"], strict=True)
model.eval()
with torch.no_grad():
    outputs = model(torch.from_numpy(np.load(images_path)))
    # Before decoding, which changes the centre heatmap of DEKR in place.
    arrays = {
        f"{head}/{n}": t.numpy().copy() for head, maps in outputs.items() for n, t in maps.items()
    }
    # Random affinity fields connect everything with everything: its assembly would never end.
    if "paf" not in outputs["bodypart"]:
        arrays["poses"] = model.get_predictions(outputs)["bodypart"]["poses"].numpy()
np.savez(out_path, **arrays)
print(json.dumps({"net_type": config.net_type.value, "epoch": snapshot["metadata"]["epoch"]}))
