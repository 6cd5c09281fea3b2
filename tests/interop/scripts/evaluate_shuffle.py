"""Evaluate a shuffle and find the poses of a video with it.

Arguments: project, shuffle, index of its training fraction, video, folder with predictions of ours.
Prints the scores, the files that the analysis wrote, and how many tracklets DeepLabCut makes of
them and of ours.
"""

import json
import pickle
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


def tracklets(folder: Path) -> dict[str, int]:
    """How long DeepLabCut's tracks through the predictions of a folder are."""
    deeplabcut.convert_detections2tracklets(
        config,
        [video],
        shuffle=shuffle,
        trainingsetindex=index,
        destfolder=str(folder),
        track_method="box",
    )
    (path,) = folder.glob(f"{Path(video).stem}{scorer}_bx.pickle")
    return {str(name): len(track) for name, track in pickle.loads(path.read_bytes()).items()}


answer = {
    "scores": scores,
    "scorer": scorer,
    "files": files,
    "tracklets": tracklets(Path(video).parent),
    "tracklets of ours": tracklets(Path(sys.argv[5])),
}
print(json.dumps(answer))
