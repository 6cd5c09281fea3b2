"""Crops and padding that a file lacks, or that differ from what its model takes."""

from collections.abc import Mapping

from omegaconf import DictConfig, OmegaConf

from dlcexp.config.augmentation_checks import sides_divisible
from dlcexp.config.augmentation_keys import SECTIONS, is_off
from dlcexp.deeplabcut.defaults import CROP
from dlcexp.deeplabcut.read import Request
from dlcexp.trees import select


def adjust_crops(request: Request) -> None:
    """Top-down: crops get a size where the file has none, and that of the head where it differs."""
    if request.sections["method"] == "bu":
        return
    head = select(request.sections, "model.heads.bodypart.input_size")
    head = head if isinstance(head, list) and len(head) == 2 else []
    size = dict(zip(("width", "height"), head, strict=False))
    for menu in SECTIONS:
        entries = select(request.sections, f"data.{menu}")
        if not isinstance(entries, dict):
            continue
        crop = entries.get("top_down_crop")
        if crop is None:
            entries["top_down_crop"] = dict(size or CROP)
        elif size and isinstance(crop, Mapping) and {**crop, **size} != crop:
            shown = f"{crop.get('width')}x{crop.get('height')}"
            entries["top_down_crop"] = {**crop, **size}
            request.notes.append(
                f"data.{menu}.top_down_crop: {shown} in the file does not fit its head, which "
                f"takes {head[0]}x{head[1]} (DeepLabCut stops at the first batch); the head's here"
            )


def adjust_padding(request: Request, raw: DictConfig) -> None:
    """Frames get the padding that the model needs where nothing in the file makes them fit."""
    divisor = OmegaConf.select(raw, "model.backbone.recipe.padding") or 1
    for menu in SECTIONS:
        entries = select(request.sections, f"data.{menu}")
        if not isinstance(entries, dict) or not is_off(entries.get("auto_padding")):
            continue
        if not sides_divisible({n: v for n, v in entries.items() if not is_off(v)}, divisor):
            padding = {"pad_width_divisor": divisor, "pad_height_divisor": divisor}
            entries["auto_padding"] = padding
            request.notes.append(
                f"data.{menu}.auto_padding: none in the file; added, as the model needs sides "
                f"that {divisor} divides"
            )
