"""Evaluate shuffles, find the poses of a video with each, and go on with the poses found by us.

Argument: a JSON file with a list of orders: {"root": folder of the project, "shuffle": its number,
"index": of its training fraction, "video": path, "ours": folder with our files, "track": whether to
follow the animals}. Prints of each the scores, the scorer, and what DeepLabCut makes of our
files: how long its tracks are, beside those of its own files, and the names of its filtered table
and labelled video.
"""

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import deeplabcut
import pandas as pd
from deeplabcut.utils import auxiliaryfunctions


def use(order: dict[str, Any]) -> dict[str, Any]:
    root, video = Path(order["root"]), Path(order["video"])
    config = str(root / "config.yaml")
    auxiliaryfunctions.edit_config(config, {"project_path": str(root), "snapshotindex": -1})
    which = {"shuffle": order["shuffle"], "trainingsetindex": order["index"]}
    deeplabcut.evaluate_network(
        config, Shuffles=[order["shuffle"]], trainingsetindex=order["index"], device="cpu"
    )
    (results,) = root.glob(f"evaluation-results-pytorch/*/*shuffle{order['shuffle']}/*-results.csv")
    scorer = deeplabcut.analyze_videos(
        config, [str(video)], device="cpu", auto_track=False, **which
    )
    answer = {"scores": pd.read_csv(results).iloc[0].dropna().to_dict(), "scorer": scorer}
    if order["track"]:
        for key, folder in (("tracks", video.parent), ("tracks of ours", Path(order["ours"]))):
            answer[key] = tracks(config, video, scorer, folder, which)
        which["track_method"] = "box"
    before = set(Path(order["ours"]).iterdir())
    deeplabcut.filterpredictions(
        config, [str(video)], windowlength=3, destfolder=order["ours"], **which
    )
    deeplabcut.create_labeled_video(
        config, [str(video)], filtered=True, destfolder=order["ours"], **which
    )
    made = {path.name for path in set(Path(order["ours"]).iterdir()) - before}
    return {**answer, "made": sorted(made)}


def tracks(
    config: str, video: Path, scorer: str, folder: Path, which: dict[str, int]
) -> dict[str, int]:
    """How long DeepLabCut's tracks through the predictions of a folder are; stitched, too."""
    given = {"destfolder": str(folder), "track_method": "box", **which}
    deeplabcut.convert_detections2tracklets(config, [str(video)], **given)
    deeplabcut.stitch_tracklets(config, [str(video)], min_length=3, **given)
    (path,) = folder.glob(f"{video.stem}{scorer}_bx.pickle")
    return {str(name): len(track) for name, track in pickle.loads(path.read_bytes()).items()}


orders = json.loads(Path(sys.argv[1]).read_text())
print(json.dumps({"told": [use(order) for order in orders]}))
