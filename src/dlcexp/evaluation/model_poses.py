"""Apply a model to frames: poses in the pixels of the original images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch.utils.data import Dataset

from dlcexp.data.ahead import ahead, behind
from dlcexp.data.dataset import Sample
from dlcexp.evaluation.pairs import stack
from dlcexp.models.predictors import assign_identities, identity_scores
from dlcexp.vocabulary import BODYPART, IDENTITY

# Turns images (b, 3, h, w), and conditions if it takes any, into the maps of each head.
Network = Callable[..., Mapping[str, Mapping[str, torch.Tensor]]]

# Pixels, and images, that go through a network at once, where that is faster: not on a CPU.
PIXELS_AT_ONCE = 2**22
MOST_AT_ONCE = 64

# What predictors put in x, y and score where they found no further individual.
ABSENT = -1.0


def predict_frames(
    model: torch.nn.Module,
    dataset: Dataset[Sample],
    device: torch.device | str,
    *,
    batch_size: int | None = None,
    description: str = "",
) -> np.ndarray:
    """Predict poses of the individuals in each frame; see `predict_heads`.

    Returns:
        float32 (frames, n, k, 3): x and y in px of the original image, confidence; NaN where no
        further individual was found.
    """
    heads = predict_heads(model, dataset, device, batch_size=batch_size, description=description)
    return heads[BODYPART]


def predict_heads(
    model: torch.nn.Module,
    dataset: Dataset[Sample],
    device: torch.device | str,
    *,
    batch_size: int | None = None,
    description: str = "",
    network: Network | None = None,
) -> dict[str, np.ndarray]:
    """Predict the poses of each head of the model in each frame, in the order of `dataset`.

    The model is in evaluation mode meanwhile; each of its modules gets its own mode back.

    Args:
        model: a `PoseModel` on `device`.
        dataset: frames through the inference pipeline.
        batch_size: how many consecutive frames of equal size to take at once; None: by
            `images_at_once`.
        description: label of a progress bar, drawn on a terminal only; empty: no bar.
        network: computes the maps in place of the model, which then only decodes them.

    Returns:
        {head: float32 (frames, individuals, keypoints, 3)}; without frames no head. Where the
        model predicts identities, an animal is in the place of its individual.
    """
    found: dict[str, list[np.ndarray]] = {}
    for _, heads in _predictions(model, dataset, device, batch_size, description, network):
        for head, poses in heads.items():
            found.setdefault(head, []).append(poses)
    return {
        head: stack(frames, frames[0].shape[1:]).astype(np.float32)
        for head, frames in found.items()
    }


def predict_crops(
    model: torch.nn.Module,
    dataset: Dataset[Sample],
    rows: Sequence[int],
    size: tuple[int, int],
    device: torch.device | str,
    description: str = "",
    network: Network | None = None,
) -> np.ndarray:
    """Predict poses in crops of single animals, put together frame by frame.

    Args:
        model: a `PoseModel` on `device`; its mode is as before afterwards.
        dataset: crops through the inference pipeline; each has its row of the labels (`index`)
            and its place in the frame (`individual`).
        rows: rows of the labels, the frames of the result.
        size: individuals per frame, and bodyparts.
        description: label of a progress bar, drawn on a terminal only; empty: no bar.
        network: see `predict_heads`.

    Returns:
        float32 (frames, individuals, bodyparts, 3): x and y in px of the original image,
        confidence; NaN where there was no crop.
    """
    frames = {row: place for place, row in enumerate(rows)}
    found = np.full((len(rows), *size, 3), np.nan, np.float32)
    for sample, heads in _predictions(model, dataset, device, None, description, network):
        found[frames[int(sample["index"])], int(sample["individual"])] = heads[BODYPART][0]
    return found


@contextmanager
def in_evaluation(model: torch.nn.Module) -> Iterator[None]:
    """Switch to evaluation without gradients; each module gets its previous mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training


def with_progress(dataset: Any, description: str) -> Iterator[Sample]:
    """Yield the samples, with a progress bar if it has a description and a terminal to draw on."""
    samples = (dataset[position] for position in range(len(dataset)))
    console = Console(stderr=True)
    if not (description and console.is_terminal):
        return samples
    return iter(track(samples, description, total=len(dataset), console=console, transient=True))


def to_original(points: np.ndarray, sample: Sample) -> np.ndarray:
    """Convert points (..., 2) from px of the network's input to px of its image."""
    return points * np.asarray(sample["scale"]) + np.asarray(sample["offset"])


def images_at_once(device: torch.device | str, pixels: int) -> int:
    """Return how many images of this size a network takes at once: on a CPU, 1 is fastest."""
    if torch.device(device).type == "cpu":
        return 1
    return min(max(PIXELS_AT_ONCE // pixels, 1), MOST_AT_ONCE)


def _predictions(
    model: torch.nn.Module,
    dataset: Dataset[Sample],
    device: torch.device | str,
    batch_size: int | None,
    description: str,
    network: Network | None,
) -> Iterator[tuple[Sample, dict[str, np.ndarray]]]:
    """Yield each sample with the poses (n, k, 3) that each head finds in it, in px of the original.

    While the network computes, the next samples are made, and the last maps decoded.
    """
    compute, device = network or model, torch.device(device)

    def inputs() -> Iterator[tuple[list[Sample], list[torch.Tensor]]]:
        for batch in _batches(with_progress(dataset, description), device, batch_size):
            yield batch, _inputs(batch, device)

    def maps() -> Iterator[tuple[list[Sample], Mapping[str, Mapping[str, torch.Tensor]]]]:
        for batch, given in ahead(inputs()):
            # Only CUDA computes with them once they are there, and not before.
            moved = [each.to(device, non_blocking=_is_cuda(device)) for each in given]
            yield batch, compute(*moved)

    with in_evaluation(model):
        for batch, heads in behind(partial(_decode, model), maps()):
            for place, sample in enumerate(batch):
                yield (
                    sample,
                    {head: in_original(poses[place], sample) for head, poses in heads.items()},
                )


def _inputs(batch: Sequence[Sample], device: torch.device) -> list[torch.Tensor]:
    """Images (b, 3, h, w) of a batch, and its conditions; for CUDA in page-locked memory.

    From there they cross to the device while it computes, and nothing waits for them.
    """
    names = [name for name in ("image", "conditions") if name in batch[0]]
    stacked = [torch.stack([sample[name] for sample in batch]) for name in names]
    return [each.pin_memory() for each in stacked] if _is_cuda(device) else stacked


def _is_cuda(device: torch.device) -> bool:
    return device.type == "cuda"


def _decode(
    model: Any, computed: tuple[list[Sample], Mapping[str, Mapping[str, torch.Tensor]]]
) -> tuple[list[Sample], dict[str, np.ndarray]]:
    """Poses (b, n, k, 3) of a batch, from its maps."""
    batch, outputs = computed
    with torch.inference_mode():  # threads do not inherit it
        poses = _poses(model.predict(outputs))
        return batch, {head: values.numpy() for head, values in poses.items()}


def _poses(outputs: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Poses (b, n, k, 3) of each head, on the CPU, animals in the order of their identities."""
    found = {head: output["poses"] for head, output in outputs.items() if "poses" in output}
    poses = {head: values.float().cpu() for head, values in found.items()}
    if IDENTITY in outputs:
        scores = identity_scores(found[BODYPART], outputs[IDENTITY]["heatmap"])
        poses[BODYPART] = assign_identities(poses[BODYPART], scores.float().cpu())
    return poses


def _batches(
    samples: Iterator[Sample], device: torch.device | str, batch_size: int | None
) -> Iterator[list[Sample]]:
    """Runs of consecutive samples with images of one size."""
    batch: list[Sample] = []
    for sample in samples:
        most = batch_size or images_at_once(device, sample["image"][0].numel())
        full = len(batch) >= most
        if batch and (full or sample["image"].shape != batch[0]["image"].shape):
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch


def in_original(poses: np.ndarray, sample: Sample) -> np.ndarray:
    """Convert poses (n, k, 3) from px of the network's input to px of its image."""
    # A predictor that clips its scores has made 0 of the score -1.
    absent = (poses[..., :2] == ABSENT).all(axis=-1) & (poses[..., 2] <= 0)
    absent |= ~np.isfinite(poses[..., :2]).all(axis=-1)
    mapped = poses.astype(np.float64)
    mapped[..., :2] = to_original(poses[..., :2], sample)
    mapped[absent] = np.nan
    return mapped
