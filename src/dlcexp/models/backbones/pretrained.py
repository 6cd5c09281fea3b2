"""The start of a backbone: published weights, those of a file, or random ones.

`weights` of a backbone is `auto`, a name of published weights, an address on the hub (`hf://`), a
file, or `random`, which is None, too.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch

from dlcexp.config.resolvers import check_model_name
from dlcexp.errors import UserError, nearest
from dlcexp.files import expanded, names_in
from dlcexp.hub import ADDRESS, HubError, hub_file
from dlcexp.models.backbones.same_network import misfit, pretrained_source
from dlcexp.vocabulary import AUTO, IMAGENET, RANDOM

logger = logging.getLogger(__name__)
# timm warns of the weights of a classifier; that none of the backbone is missing is checked here.
logging.getLogger("timm.models._builder").setLevel(logging.ERROR)

KEY = "model.backbone.weights"

# The name of timm's published weights in runs of version 0.1.
_OLDER_NAMES = {"hub": IMAGENET}

# Addresses of published weights by name; the first is what `auto` means.
Published = Mapping[str, str]


def settle(weights: str | None, published: Published, model_name: str) -> str | None:
    """Return where the weights are, an address or a file; None for random ones.

    `auto` is the first of the published weights if they are available, else random weights with
    a warning.

    Raises:
        UserError: there are no published weights of that name, and no such file.
    """
    if weights is None or weights == RANDOM:
        return None
    if weights == AUTO:
        return _available(published, model_name)
    weights = _OLDER_NAMES.get(weights, weights)
    if weights in published:
        return published[weights]
    if weights.startswith(ADDRESS) or expanded(weights).is_file():
        return weights
    raise UserError(_no_such_weights(weights, published, model_name))


def weights_file(source: str) -> Path:
    """Return the file at what `settle` has returned.

    Raises:
        UserError: it is not in the cache of the hub, and cannot be fetched.
    """
    if not source.startswith(ADDRESS):
        return expanded(source)
    try:
        return hub_file(source)
    except HubError as error:
        raise UserError(
            f"{KEY}: {error}. Give a file by {KEY}=FILE, or start from random weights by "
            "weights=random."
        ) from error


def timm_weights(model_name: str | None) -> Published:
    """Return the weights that timm publishes for a model, which are ImageNet's for most."""
    is_known = model_name is not None and timm.is_model(model_name)
    config = timm.get_pretrained_cfg(str(model_name)) if is_known else None
    repository = config.hf_hub_id if config else None
    return {IMAGENET: f"{ADDRESS}{repository}"} if repository else {}


def create_timm_model(model_name: str, file: Path | None = None, **kwargs: Any) -> Any:
    """Return the timm model `model_name`, a module with attributes that depend on the model.

    Args:
        model_name: name of a timm model, with or without a tag ("resnet50.a1_in1k").
        file: a state dict of that model; None for random weights.
        kwargs: further keywords of `timm.create_model`.

    Raises:
        UserError: the name is unknown, the model cannot give feature maps, or the file does not
            fit.
    """
    check_model_name(model_name)
    if file is None:
        return _create(model_name, **kwargs)
    return _create_from_file(model_name, file, **kwargs)


def refuse_incomplete(path: Path, missing: Sequence[str]) -> None:
    """Raise a `UserError` if the file lacks weights of the model.

    Args:
        path: the file.
        missing: names of the weights it lacks.
    """
    if missing:
        raise UserError(
            f"{KEY}: {str(path)!r} lacks {len(missing)} of the weights of the backbone, among them "
            f"{missing[0]!r}; it is of another model."
        )


def _available(published: Published, model_name: str) -> str | None:
    """Return what `auto` means: the first of the published weights, None if they are not here."""
    if not published:
        logger.warning("RANDOM WEIGHTS: none are published for %s.%s", model_name, _REMEDY)
        return None
    address = next(iter(published.values()))
    try:
        hub_file(address)
    except HubError as error:
        logger.warning(
            "RANDOM WEIGHTS, as those published are not available: %s.%s", error, _REMEDY
        )
        return None
    return address


_REMEDY = (
    " From random weights, a model needs many more labels and epochs. Connect to the network, copy"
    f" the cache of the hub from a machine that has one, or give a file by {KEY}=FILE;"
    " weights=random states that random weights are meant."
)


def _no_such_weights(weights: str, published: Published, model_name: str) -> str:
    path = expanded(weights)
    allowed = [AUTO, *published, RANDOM]
    return (
        f"{KEY}: {weights!r} is not a file, and not weights of {model_name!r}. Allowed: "
        f"{', '.join(allowed)}, an address {ADDRESS}OWNER/REPOSITORY, and the path of a file."
        f"{nearest(weights, allowed) or nearest(path.name, names_in(path.parent))}"
    )


def _create(model_name: str, **kwargs: Any) -> Any:
    try:
        return timm.create_model(model_name, **kwargs)
    except Exception as error:
        raise UserError(f"model.backbone: timm cannot make {model_name!r}: {error}") from error


def _create_from_file(model_name: str, path: Path, **kwargs: Any) -> Any:
    """Return the model with the weights of the file, all of them.

    timm loads whatever names fit and ignores the others silently. A kernel that is unchanged since
    it was drawn was not in the file.
    """
    drawing = torch.get_rng_state()
    random = _create(model_name, **kwargs)
    torch.set_rng_state(drawing)
    source = pretrained_source(path, model_name)
    try:
        model: Any = timm.create_model(
            model_name, pretrained=True, pretrained_cfg_overlay=source, **kwargs
        )
    except Exception as error:
        raise _does_not_fit(path, model_name) from error
    pairs = zip(model.named_parameters(), random.parameters(), strict=True)
    untouched = [name for (name, one), two in pairs if one.ndim > 1 and torch.equal(one, two)]
    if untouched:
        raise _does_not_fit(path, model_name)
    for module in model.modules():  # timm keeps the whole file otherwise
        getattr(module, "pretrained_cfg", {}).pop("state_dict", None)
    return model


def _does_not_fit(path: Path, model_name: str) -> UserError:
    reason = misfit(path, model_name)
    return UserError(f"{KEY}: {str(path)!r} does not fit {model_name!r}: {reason}.")
