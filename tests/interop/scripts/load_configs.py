"""Load each configuration of a folder as DeepLabCut does, and build its model."""

import json
import sys
from pathlib import Path

from deeplabcut.pose_estimation_pytorch.config import PoseConfig
from deeplabcut.pose_estimation_pytorch.models import PoseModel

said = {}
for path in sorted(Path(sys.argv[1]).glob("*.yaml")):
    config = PoseConfig.from_yaml(path)
    model = PoseModel.build(
        config.to_dict()["model"] if hasattr(config, "to_dict") else config.model
    )
    said[path.stem] = {
        "epochs": config.train_settings.epochs,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
print(json.dumps(said))
