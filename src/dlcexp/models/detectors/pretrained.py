"""Weights that a detector starts from: those trained on COCO, those of a file, or none."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import torch
from torch import nn
from torchvision.models import get_model_weights

from dlcexp.deeplabcut.snapshots import load_plain
from dlcexp.errors import UserError
from dlcexp.files import expanded
from dlcexp.hub import no_answer
from dlcexp.vocabulary import AUTO

logger = logging.getLogger(__name__)

COCO = "coco"
KEY = "detector.model.weights"

# Their shapes depend on the number of classes.
HEADS = ("roi_heads.box_predictor.", "head.classification_head.", "head.regression_head.")

StateDict = Mapping[str, torch.Tensor]


def settled_freezing(freeze: bool | Literal["auto"], weights: str | None) -> bool:
    """Return whether batch-norm statistics are frozen: `auto`, if the weights are pretrained."""
    return weights is not None if freeze == AUTO else bool(freeze)


def load_weights(model: nn.Module, name: str, weights: str | None) -> bool:
    """Load what a detector starts from, and log what that is unless it is None.

    Args:
        model: a detector of torchvision, for background and animal.
        name: its name in torchvision.
        weights: "coco" for torchvision's COCO weights; the path of a file with a state dict of
            torchvision, for any number of classes, or with a snapshot of a detector; None for
            random weights.

    Returns:
        whether weights were loaded.

    Raises:
        UserError: the weights are not available, or are those of another model.
    """
    if weights is None:
        return False
    if weights == COCO:
        _load(model, name, _coco_weights_or_remedy(name), "COCO")
    else:
        _load(model, name, _file_weights(weights), weights)
    return True


def coco_if_available(name: str) -> str | None:
    """Return what "auto" means here: "coco", or None after a warning with the reason."""
    try:
        _coco_weights(name)
    except (OSError, RuntimeError, UserError) as error:
        logger.warning(
            "Detector %s: random weights, because those trained on COCO are not available: %s. Give"
            " a file by %s=FILE.",
            name,
            error,
            KEY,
        )
        return None
    return COCO


def _coco_weights_or_remedy(name: str) -> StateDict:
    try:
        return _coco_weights(name)
    except (OSError, RuntimeError, UserError) as error:
        raise UserError(
            f"{KEY}: the COCO weights of {name} are not available: {error}. Give a file by"
            f" {KEY}=FILE, or use auto or null (random weights)."
        ) from error


def _file_weights(path_text: str) -> StateDict:
    """Return the state dict in a file of torchvision's, or in a snapshot."""
    path = expanded(path_text)
    if not path.is_file():
        raise UserError(
            f"{KEY}: {path_text!r} is not a file; allowed are auto (COCO's if available),"
            " coco, null (random weights) and the path of a weights file or a snapshot."
        )
    content = load_plain(path)
    of_snapshot = content.get("model")
    if not isinstance(of_snapshot, Mapping):
        return content
    return {name.removeprefix("model."): tensor for name, tensor in of_snapshot.items()}


def _coco_weights(name: str) -> StateDict:
    """torchvision's COCO weights: from the cache of torch hub, else from the network.

    Raises:
        OSError, RuntimeError, UserError: there is no network, or the file is broken.
    """
    published = get_model_weights(name).DEFAULT
    cached = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(published.url).path).name)
    if cached.is_file():
        return load_plain(cached)
    server = urlsplit(published.url)
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in {"1", "ON", "YES", "TRUE"}:
        raise OSError("HF_HUB_OFFLINE is set")
    if problem := no_answer(f"{server.scheme}://{server.netloc}"):
        raise OSError(problem)
    return published.get_state_dict(progress=True, check_hash=True, weights_only=True)


def _load(model: nn.Module, name: str, weights: StateDict, source: str) -> None:
    """Load a state dict; layers of the head made for other classes keep their random weights."""
    expected = model.state_dict()
    _check_names(expected, weights, name, source)
    skipped = [key for key in expected if _shape(weights, key) != expected[key].shape]
    skipped = [key for key in skipped if not _is_counter(key)]
    foreign = [key for key in skipped if not key.startswith(HEADS)]
    if foreign:
        found, wanted = (_sizes(_shape(of, foreign[0])) for of in (weights, expected))
        raise UserError(
            f"{KEY}: {source} does not fit {name}: {foreign[0]} is {found} instead of {wanted}."
        )
    fitting = {key: weights[key] for key in expected if key in weights and key not in skipped}
    model.load_state_dict({**expected, **fitting})
    logger.info("Detector %s: weights of %s.", name, source)
    if skipped:
        logger.info(
            "Detector %s: random weights in the layers for other classes: %s.",
            name,
            ", ".join(skipped),
        )


def _check_names(expected: StateDict, weights: StateDict, name: str, source: str) -> None:
    """Raise a `UserError` unless both have the same names, counters of batches aside."""
    missing = [key for key in expected if key not in weights and not _is_counter(key)]
    unknown = [key for key in weights if key not in expected and not _is_counter(key)]
    if missing or unknown:
        raise UserError(
            f"{KEY}: {source} holds the weights of another model than {name}:"
            f" {len(missing)} missing, {len(unknown)} unknown, the first {(missing + unknown)[0]}."
        )


def _is_counter(key: str) -> bool:
    """Batch norm counts its batches; frozen batch norm does not."""
    return key.endswith("num_batches_tracked")


def _shape(weights: StateDict, key: str) -> torch.Size | None:
    return weights[key].shape if key in weights else None


def _sizes(shape: torch.Size | None) -> str:
    return "x".join(map(str, shape or ()))
