"""Build a detector with DeepLabCut, load weights strictly, and apply it to images.

Arguments: its node of a configuration as JSON, .pt of a state dict, .npz of "images" (b, 3, h, w)
and "boxes" (b, n, 4), a folder for torch's downloads, .npz to write.
"""

import json
import os
import sys
from pathlib import Path

node, weights_path, inputs_path, hub, out_path = sys.argv[1:]
os.environ["TORCH_HOME"] = hub

import numpy as np  # noqa: E402
import torch  # noqa: E402
from deeplabcut.pose_estimation_pytorch.models import DETECTORS  # noqa: E402
from torchvision.models import get_model, get_model_weights  # noqa: E402

# It asks for ImageNet weights although it is about to load others: let it find some.
checkpoints = Path(hub, "hub", "checkpoints")
checkpoints.mkdir(parents=True, exist_ok=True)
for name in ("mobilenet_v3_large", "resnet50"):
    drawn = get_model(name).state_dict()
    for weights in get_model_weights(name):
        torch.save(drawn, checkpoints / weights.url.rpartition("/")[2])

detector = DETECTORS.build(json.loads(node))
detector.load_state_dict(torch.load(weights_path, weights_only=True), strict=True)
with np.load(inputs_path) as inputs:
    images, boxes = (torch.from_numpy(inputs[name]) for name in ("images", "boxes"))

detector.eval()
with torch.no_grad():
    _, found = detector(images)
arrays = {f"{n}/{k}": v.numpy() for n, of_image in enumerate(found) for k, v in of_image.items()}

detector.train()
labels = {
    "boxes": boxes,
    "area": boxes[..., 2] * boxes[..., 3],
    "labels": torch.ones(boxes.shape[:2], dtype=torch.int64),
    "is_crowd": torch.zeros(boxes.shape[:2], dtype=torch.int64),
    "image_id": torch.arange(len(boxes)),
}
torch.manual_seed(0)
losses, _ = detector(images, detector.get_target(labels))
arrays |= {f"loss/{name}": loss.detach().numpy() for name, loss in losses.items()}
np.savez(out_path, **arrays)
print(json.dumps({"state": list(detector.state_dict())}))
