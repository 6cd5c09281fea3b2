"""The net types that DeepLabCut lists, and its own configurations of some of them.

Arguments: a project's config.yaml, a folder to write NAME.yaml to, names of conditional net types.
"""

import json
import sys
from pathlib import Path

from deeplabcut.pose_estimation_pytorch import available_models
from deeplabcut.pose_estimation_pytorch.config import PoseConfig

project, folder, names = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
for name in names:
    path = folder / f"{name}.yaml"
    config = PoseConfig.build(project, path, top_down=False, net_type=name, ctd_conditions=1)
    config.to_yaml(path)
print(json.dumps({"net_types": available_models()}))
