"""Load configurations, build their models and say what weights they take.

Arguments: the JSON file to write, then the configurations. The JSON holds for each configuration,
in their order, {entries: [[name, shape], ...], batch_norms: [[name, learns its statistics, its
weights are trained, momentum], ...]}.
"""

import json
import sys
from pathlib import Path

import torch
from deeplabcut.pose_estimation_pytorch.config import PoseConfig
from deeplabcut.pose_estimation_pytorch.models import PoseModel

target, *paths = sys.argv[1:]
found = []
for path in paths:
    config = PoseConfig.from_yaml(path)
    with torch.device("meta"):
        model = PoseModel.build(config["model"]).train()
    batch_norms = [
        (name, layer.training, layer.weight.requires_grad, layer.momentum)
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.BatchNorm2d)
    ]
    entries = [(name, list(tensor.shape)) for name, tensor in model.state_dict().items()]
    found.append({"entries": entries, "batch_norms": batch_norms})
Path(target).write_text(json.dumps(found))
print(json.dumps({"models": len(found)}))
