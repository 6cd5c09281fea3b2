"""timm models with random weights, weights from a file, or the weights timm publishes."""

import os
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch

from dlcexp.config.resolvers import check_model_name
from dlcexp.errors import UserError
from dlcexp.files import expanded

HUB_TIMEOUT_SECONDS = 5


def create_timm_model(model_name: str, weights: str | None = None, **kwargs: Any) -> Any:
    """Return the timm model `model_name`, a module with attributes that depend on the model.

    Args:
        model_name: name of a timm model, with or without a tag ("resnet50.a1_in1k").
        weights: None for random weights, "hub" for those timm publishes, or the path of a file
            with a state dict of that model.
        kwargs: further keywords of `timm.create_model`.

    Raises:
        UserError: the name is unknown, the model cannot give feature maps, or its weights are not
            available.
    """
    check_model_name(model_name)
    if weights is None:
        return _create(model_name, **kwargs)
    if weights == "hub":
        source = _published_weights(model_name)
        return _create(model_name, pretrained=True, pretrained_cfg_overlay=source, **kwargs)
    return _create_from_file(model_name, weights_file(weights), **kwargs)


def weights_file(weights: str) -> Path:
    """Return the path of a file of weights.

    Raises:
        UserError: there is no such file.
    """
    path = expanded(weights)
    if not path.is_file():
        raise UserError(
            f"model.backbone.weights: {weights!r} is not a file; allowed are null (random weights),"
            " 'hub' (those timm publishes) and the path of a weights file."
        )
    return path


def refuse_incomplete(path: Path, missing: Sequence[str]) -> None:
    """Raise a `UserError` if the file lacks weights of the model.

    Args:
        path: the file.
        missing: names of the weights it lacks.
    """
    if missing:
        raise UserError(
            f"model.backbone.weights: {str(path)!r} lacks {len(missing)} of the weights of the"
            f" backbone, among them {missing[0]!r}; it is of another model."
        )


def _create(model_name: str, **kwargs: Any) -> Any:
    try:
        return timm.create_model(model_name, **kwargs)
    except Exception as error:
        source = kwargs.get("pretrained_cfg_overlay", {}).get("file")
        what = f" with weights={source}" if source else ""
        raise UserError(
            f"model.backbone: timm cannot make {model_name!r}{what}: {error}"
        ) from error


def _create_from_file(model_name: str, path: Path, **kwargs: Any) -> Any:
    """Return the model with the weights of the file, all of them.

    timm loads whatever names fit and ignores the others silently. A kernel that is unchanged since
    it was drawn was not in the file.
    """
    drawing = torch.get_rng_state()
    random = _create(model_name, **kwargs)
    torch.set_rng_state(drawing)
    source = {"file": str(path)}
    model = _create(model_name, pretrained=True, pretrained_cfg_overlay=source, **kwargs)
    pairs = zip(model.named_parameters(), random.parameters(), strict=True)
    untouched = [name for (name, one), two in pairs if one.ndim > 1 and torch.equal(one, two)]
    refuse_incomplete(path, untouched)
    return model


def _published_weights(model_name: str) -> dict[str, Any]:
    """Return the hub's weights: from the local cache, else from the network if there is one."""
    published = timm.get_pretrained_cfg(model_name)
    if published is None or not (published.hf_hub_id or published.url):
        raise UserError(
            f"model.backbone.weights: timm publishes no weights for {model_name!r};"
            " name a tag that has some, give a file, or use null."
        )
    cached = _cached_file(published.hf_hub_id)
    if cached is not None:
        return {"file": cached}
    if not _hub_answers():
        raise UserError(
            f"model.backbone.weights: 'hub' cannot be reached for the weights of {model_name!r}."
            " Give a weights file by model.backbone.weights=FILE, or null for random weights."
        )
    return {}


def _cached_file(hub_id: str | None) -> str | None:
    """Path of the weights in the cache of huggingface_hub, if they are there."""
    from huggingface_hub import try_to_load_from_cache

    if not hub_id:
        return None
    for name in ("model.safetensors", "pytorch_model.bin"):
        found = try_to_load_from_cache(hub_id, name)
        if isinstance(found, str):
            return found
    return None


def _hub_answers() -> bool:
    """Return whether the hub can be reached; without this, timm tries for most of a minute."""
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in {"1", "ON", "YES", "TRUE"}:
        return False
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    request = urllib.request.Request(address, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=HUB_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False
