"""Create a shuffle of the project argv[1], of argv[2] frames, and print who trains and tests."""

import json
import sys
from pathlib import Path

import deeplabcut
from deeplabcut.utils import auxiliaryfunctions

root = Path(sys.argv[1])
config = str(root / "config.yaml")
rows = list(range(int(sys.argv[2])))
train, test = rows[1::2] + rows[0::4], rows[2::4]
fraction = round(len(train) / len(rows), 2)
auxiliaryfunctions.edit_config(config, {"project_path": str(root), "TrainingFraction": [fraction]})
settings = auxiliaryfunctions.read_config(config)
deeplabcut.create_training_dataset(
    config, Shuffles=[3], trainIndices=[train], testIndices=[test], net_type="resnet_50"
)
answer = {
    "bodyparts": auxiliaryfunctions.get_bodyparts(settings),
    "individuals": settings.get("individuals"),
    "train": train,
    "test": test,
}
print(json.dumps(answer))
