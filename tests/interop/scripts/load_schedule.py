"""Build optimizer and schedule of a configuration with DeepLabCut; print the rates of ten epochs.

Argument: pytorch_config.yaml.
"""

import json
import sys

import torch
from deeplabcut.pose_estimation_pytorch.config import PoseConfig
from deeplabcut.pose_estimation_pytorch.runners.schedulers import build_scheduler
from deeplabcut.pose_estimation_pytorch.runners.train import build_optimizer

config = PoseConfig.from_yaml(sys.argv[1])
model = torch.nn.Linear(2, 2)
optimizer = build_optimizer(model, config["runner"]["optimizer"])
scheduler = build_scheduler(config["runner"]["scheduler"], optimizer)
rates = []
for _ in range(10):
    rates.append(optimizer.param_groups[0]["lr"])
    optimizer.step()
    scheduler.step()
group = optimizer.param_groups[0]
answer = {"optimizer": type(optimizer).__name__, "momentum": group.get("momentum"), "rates": rates}
print(json.dumps(answer))
