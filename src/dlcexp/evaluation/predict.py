"""Apply a model to frames: poses in the pixels of the original images."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from dlcexp.data.dataset import PoseDataset, Sample
from dlcexp.evaluation.pairs import stack

# What predictors put in x, y and score where they found no further individual.
ABSENT = -1.0


def predict_frames(
    model: torch.nn.Module,
    dataset: PoseDataset,
    device: torch.device | str,
    *,
    batch_size: int = 1,
    description: str = "",
) -> np.ndarray:
    """Poses of the individuals in each frame; see `predict_heads`.

    Returns:
        float32 (frames, n, k, 3): x and y in px of the original image, confidence; NaN where no
        further individual was found.
    """
    heads = predict_heads(model, dataset, device, batch_size=batch_size, description=description)
    return heads["bodypart"]


def predict_heads(
    model: torch.nn.Module,
    dataset: PoseDataset,
    device: torch.device | str,
    *,
    batch_size: int = 1,
    description: str = "",
) -> dict[str, np.ndarray]:
    """Poses that each head of the model finds in each frame, in the order of `dataset`.

    The model is in evaluation mode meanwhile; each of its modules gets its own mode back.

    Args:
        model: a `PoseModel` on `device`.
        dataset: frames through the inference pipeline.
        batch_size: how many consecutive frames of equal size to take at once; on a CPU, 1 is the
            fastest.
        description: words beside a progress bar, drawn on a terminal only; empty: no bar.

    Returns:
        {head: float32 (frames, individuals, keypoints, 3)}; without frames no head.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    decode: Any = model.predict
    found: dict[str, list[np.ndarray]] = {}
    try:
        with torch.inference_mode():
            for batch in _batches(_with_progress(dataset, description), batch_size):
                images = torch.stack([sample["image"] for sample in batch]).to(device)
                for head, output in decode(model(images)).items():
                    poses = output["poses"].float().cpu().numpy()
                    found.setdefault(head, []).extend(map(_in_original, poses, batch))
    finally:
        for module, training in modes:
            module.training = training
    return {
        head: stack(frames, frames[0].shape[1:]).astype(np.float32)
        for head, frames in found.items()
    }


def _with_progress(dataset: PoseDataset, description: str) -> Iterator[Sample]:
    """The samples, with a progress bar if there are words for it and a terminal to draw on."""
    samples = (dataset[position] for position in range(len(dataset)))
    console = Console(stderr=True)
    if not (description and console.is_terminal):
        return samples
    return iter(track(samples, description, total=len(dataset), console=console, transient=True))


def _batches(samples: Iterator[Sample], batch_size: int) -> Iterator[list[Sample]]:
    """Runs of consecutive samples with images of one size."""
    batch: list[Sample] = []
    for sample in samples:
        full = len(batch) >= batch_size
        if batch and (full or sample["image"].shape != batch[0]["image"].shape):
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch


def _in_original(poses: np.ndarray, sample: Sample) -> np.ndarray:
    """Poses (n, k, 3) in px of the network's input, as px of the image it was made from."""
    # A predictor that clips its scores has made 0 of the score -1.
    absent = (poses[..., :2] == ABSENT).all(axis=-1) & (poses[..., 2] <= 0)
    absent |= ~np.isfinite(poses[..., :2]).all(axis=-1)
    mapped = poses.astype(np.float64)
    mapped[..., :2] = poses[..., :2] * np.asarray(sample["scale"]) + np.asarray(sample["offset"])
    mapped[absent] = np.nan
    return mapped
