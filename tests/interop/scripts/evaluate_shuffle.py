"""Evaluate a shuffle and find the poses of a video with it.

Arguments: project, shuffle, index of its training fraction, video. Prints the scores, and the files
that the analysis wrote.
"""

import json
import sys
from pathlib import Path

import deeplabcut
import pandas as pd
from deeplabcut.utils import auxiliaryfunctions

root, shuffle, index, video = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
config = str(root / "config.yaml")
auxiliaryfunctions.edit_config(config, {"project_path": str(root)})
deeplabcut.evaluate_network(config, Shuffles=[shuffle], trainingsetindex=index, device="cpu")
(results,) = root.glob("evaluation-results-pytorch/iteration-0/*/*-results.csv")
scores = pd.read_csv(results).iloc[0].dropna().to_dict()
scorer = deeplabcut.analyze_videos(
    config, [video], shuffle=shuffle, trainingsetindex=index, device="cpu", auto_track=False
)
files = sorted(path.name for path in Path(video).parent.glob(f"{Path(video).stem}{scorer}*"))
print(json.dumps({"scores": scores, "files": files}))
