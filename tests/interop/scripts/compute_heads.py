"""DeepLabCut's configurations of projects, and all numbers of their models with known weights.

Arguments: fill.py of the parity records, a JSON list of orders, a folder to write to. An order is
{"name", "project": content of config.yaml, "net_type", "top_down", "numbers": whether a model is
built}; written are NAME.yaml or NAME.txt, why it is refused, and NAME.npz.
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import torch
from deeplabcut.pose_estimation_pytorch.config import PoseConfig
from deeplabcut.pose_estimation_pytorch.data.postprocessor import build_bottom_up_postprocessor
from deeplabcut.pose_estimation_pytorch.models import PoseModel

fill_path, orders_path, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
spec = importlib.util.spec_from_file_location("fill", fill_path)
fill = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fill)


def flat(node, prefix=""):
    """Every tensor below a mapping, by its path."""
    if isinstance(node, torch.Tensor):
        return {prefix: node.detach().numpy().copy()}
    joined = {name: f"{prefix}/{name}" if prefix else name for name in node}
    return {k: v for name, child in node.items() for k, v in flat(child, joined[name]).items()}


def numbers(config):
    """Outputs, targets, losses, predictions, and the poses that reach the user."""
    metadata = config["metadata"]
    model = PoseModel.build(config["model"])
    model.load_state_dict(fill.fill_state_dict(model.state_dict()))
    model.eval()
    individuals, bodyparts, unique = (
        len(metadata[name]) for name in ("individuals", "bodyparts", "unique_bodyparts")
    )
    labels = labels_of_two_images(individuals, bodyparts, unique, config["with_center_keypoints"])
    with torch.no_grad():
        outputs = model(torch.from_numpy(fill.image(2, 96, 128)))
        arrays = flat(outputs, "output")
        targets = model.get_target(outputs, labels)
        arrays |= flat(labels, "labels") | flat(targets, "target")
        arrays |= flat(model.get_loss(outputs, targets), "loss")
        predictions = model.get_predictions(outputs)
    arrays |= flat(predictions, "prediction")
    finish = build_bottom_up_postprocessor(individuals, bodyparts, unique, with_identity=True)
    for image in range(2):
        one = {
            head: {name: value[image].numpy() for name, value in maps.items()}
            for head, maps in predictions.items()
        }
        done, _ = finish([one], {"scales": (1.0, 1.0), "offsets": (0.0, 0.0)})
        arrays |= {f"final/{image}/{name}": value for name, value in done.items()}
    return arrays


def labels_of_two_images(individuals, bodyparts, unique, with_centres):
    """Labels, in DeepLabCut's names; in the second image an animal is missing."""
    keypoints = fill.keypoints(2, individuals, bodyparts, 96, 128)
    keypoints[1, -1] = 0
    if with_centres:
        count = (keypoints[..., 2:] > 0).sum(axis=2, keepdims=True)
        centres = keypoints.sum(axis=2, keepdims=True) / np.maximum(count, 1)
        centres[..., 2:] = 2.0 * (count > 0)
        keypoints = np.concatenate([keypoints, centres], axis=2)
    arrays = {
        "keypoints": keypoints.astype(np.float32),
        "keypoints_unique": fill.keypoints(2, 1, unique, 96, 128, seed=1)[:, 0],
        "individual_ids": np.tile(np.arange(individuals), (2, 1)),
        "area": np.full((2, individuals), 400, np.float32),
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


for order in json.loads(orders_path.read_text()):
    target = folder / order["name"]
    try:
        config = PoseConfig.build(
            order["project"],
            folder / "pytorch_config.yaml",
            net_type=order["net_type"],
            top_down=order["top_down"],
        )
    except ValueError as error:
        target.with_suffix(".txt").write_text(str(error))
        continue
    config.to_yaml(target.with_suffix(".yaml"))
    if order["numbers"]:
        np.savez(target.with_suffix(".npz"), **numbers(config))
print(json.dumps({}))
