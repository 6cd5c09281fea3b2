"""Defaults of keys that a `pytorch_config.yaml` lacks, and the forms of a file for a tree."""

from collections.abc import Mapping
from typing import Any

from dlcexp.deeplabcut.layout import LAYOUT, Key, entries
from dlcexp.trees import join, same

# DeepLabCut's menu of augmentations, in its order, with the values that mean "off".
MENU: dict[str, Any] = {
    "resize": None,
    "longest_max_size": None,
    "hflip": None,
    "affine": None,
    "random_bbox_transform": None,
    "crop_sampling": None,
    "hist_eq": False,
    "motion_blur": False,
    "covering": None,
    "elastic_transform": None,
    "grayscale": None,
    "gaussian_noise": None,
    "auto_padding": None,
    "normalize_images": False,
    "scale_to_unit_range": False,
    "top_down_crop": None,
    "collate": None,
}

# The defaults of DeepLabCut 3.0.2, found by leaving out one key at a time.
_MENU = MENU | {"normalize_images": True}
_GEN_SAMPLING = {
    "keypoint_sigmas": 0.1,
    "keypoints_symmetry": None,
    "jitter_prob": 0.16,
    "swap_prob": 0.08,
    "inv_prob": 0.03,
    "miss_prob": 0.1,
}
# By what it chooses snapshots, under our names of its sections.
CHOICES = {
    "trainer": {"key_metric": "test.mAP", "key_metric_asc": True},
    "detector": {"key_metric": "test.mAP@50:95", "key_metric_asc": True},
}
_RUNNER = {**CHOICES["trainer"], "eval_interval": 10}
_SNAPSHOTS = {"max_snapshots": 5, "save_epochs": 25, "save_optimizer_state": False}
_TRAIN_SETTINGS = {
    "batch_size": 8,
    "dataloader_workers": 0,
    "dataloader_pin_memory": False,
    "display_iters": 500,
    "epochs": 200,
    "seed": 42,
}
_INFERENCE = {
    "multithreading": {"enabled": True, "queue_length": 4, "timeout": 30.0},
    "compile": {"enabled": False, "backend": "inductor"},
    "autocast": {"enabled": False},
    "eval": {
        "mode": "all",
        "pcutoff": 0.6,
        "comparison_bodyparts": "all",
        "per_keypoint_evaluation": False,
        "force_multi_animal": False,
    },
}
ASSUMED: dict[str, Any] = {
    "config_version": 0,
    "device": "auto",
    "data": {
        "bbox_margin": 25,
        "colormode": "RGB",
        "gen_sampling": _GEN_SAMPLING,
        "inference": _MENU,
        "train": _MENU,
    },
    "runner": {"type": "PoseTrainingRunner", **_RUNNER, "snapshots": _SNAPSHOTS},
    "train_settings": _TRAIN_SETTINGS,
    "inference": _INFERENCE,
    "with_center_keypoints": False,
    "detector": {
        "device": "auto",
        "model": {"box_score_thresh": 0.01},
        "data": {"colormode": "RGB", "inference": _MENU, "train": _MENU},
        "runner": {
            "type": "DetectorTrainingRunner",
            **_RUNNER,
            **CHOICES["detector"],
            "snapshots": _SNAPSHOTS,
        },
        "train_settings": _TRAIN_SETTINGS,
        "inference": _INFERENCE,
    },
}

_LOGGER = {"project_name": "deeplabcut"}
_FLAT_ASSUMED = {
    "batch_size": 8,
    "colormode": "RGB",
    "device": "auto",
    "display_iters": 500,
    "runner": {"type": "PoseRunner"},
    "save_epochs": 25,
    "seed": 42,
    "with_center_keypoints": False,
    "detector": {"runner": {"type": "DetectorRunner"}, "display_iters": 500},
    "data": {"auto_padding": None},
}

# The size of crops before it was in the file.
CROP = {"width": 256, "height": 256}


def assume(sections: Mapping[str, Any], assumed: Mapping[str, Any] = ASSUMED) -> dict[str, Any]:
    """Return the sections of a file with DeepLabCut's defaults where they lack a key.

    A detector that is not there stays away; the nodes of models are left as they are.
    """
    full = dict(sections)
    for name, value in assumed.items():
        given = full.get(name)
        if isinstance(value, Mapping):
            if isinstance(given, Mapping):
                full[name] = assume(given, value)
            elif name == "inference" and given is None and value is _INFERENCE:
                full[name] = value
        elif name not in full:
            full[name] = value
    return full


def schema_of(document: Mapping[str, Any]) -> str | None:
    """Return the form of a file: `dlc3`, `sectioned`, `flat`, or None if it is none of them."""
    if "config_version" in document:
        return "dlc3"
    if document.keys() & {"metadata", "train_settings", "net_type"}:
        return "sectioned"
    runner = document.get("runner")
    if isinstance(runner, Mapping) and "optimizer" in runner:
        return "sectioned"
    if "model" in document or document.keys() >= {"optimizer", "data"}:
        return "flat"
    return None


def without_what_is_off(sections: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return the sections as before DeepLabCut 3.0.1: no null, nothing off, nothing twice."""
    written: dict[str, Any] = {}
    for name, value in sections.items():
        full = join(path, name)
        menu = full.rpartition(".")[0].endswith((".train", ".inference"))
        if value is None or (menu and value is False) or full in FOLLOWERS - {"net_type"}:
            continue
        written[name] = without_what_is_off(value, full) if isinstance(value, Mapping) else value
    return {name: value for name, value in written.items() if value != {} or name == "params"}


def write_like(
    template: Mapping[str, Any], sections: Any, explicit: Any, schema: str
) -> dict[str, Any]:
    """Return the sections in the order of another file, with no key that goes without saying there.

    Args:
        template: the other file, plain.
        sections: what is to be written, in the schema of the file.
        explicit: the same with every parameter, the default ones too.
        schema: that of the file.
    """
    sections, explicit = dict(sections), dict(explicit)
    for document in (sections, explicit):
        document["logger"] = _logger_like(template.get("logger"), document.get("logger"))
    assumed = (_FLAT_ASSUMED if schema == "flat" else ASSUMED) | {"logger": _LOGGER}
    written: dict[str, Any] = _in_order(template, sections, explicit, assumed, "")
    return written


def _logger_like(template: Any, logger: Any) -> Any:
    """Arguments of W&B stand among the others if the file has them there."""
    if not isinstance(template, Mapping) or not isinstance(logger, Mapping):
        return logger
    further = dict(logger.get("wandb_kwargs") or {})
    moved = {name: further.pop(name) for name in list(further) if name in template}
    rest = {name: value for name, value in logger.items() if name != "wandb_kwargs"}
    return rest | moved | ({"wandb_kwargs": further} if further else {})


def _in_order(template: Any, sections: Any, explicit: Any, assumed: Any, path: str) -> Any:
    if isinstance(template, list) and isinstance(sections, list):
        if len(template) != len(sections):
            return sections
        items = zip(template, sections, explicit or sections, strict=True)
        return [_in_order(t, s, e, {}, path) for t, s, e in items]
    if not isinstance(template, Mapping) or not isinstance(sections, Mapping):
        return template if is_nothing(template) and is_nothing(sections) else sections
    assumed = assumed if isinstance(assumed, Mapping) else {}
    explicit = explicit if isinstance(explicit, Mapping) else sections
    written: dict[str, Any] = {}
    for name, model in template.items():
        if name in sections or name in explicit or model is None:
            value = sections.get(name, explicit.get(name))
            full = join(path, name)
            written[name] = _in_order(model, value, explicit.get(name), assumed.get(name), full)
    for name, value in sections.items():
        full = join(path, name)
        if name not in template and not _goes_without_saying(full, value, assumed.get(name)):
            written[name] = value
    return written


def _goes_without_saying(path: str, value: Any, assumed: Any) -> bool:
    if value is None or path in FOLLOWERS:
        return True
    if path.endswith(".top_down_crop") and value == CROP:
        return True
    if isinstance(value, Mapping) and isinstance(assumed, Mapping):
        return all(
            _goes_without_saying(f"{path}.{name}", item, assumed.get(name))
            for name, item in value.items()
        )
    return assumed is not None and same(value, assumed)


def is_nothing(value: Any) -> bool:
    """Return True for null and false, which both switch an entry of a menu off."""
    return value is None or value is False


def _followers() -> set[str]:
    """Places in the file that follow another one, as they show the same key of the tree."""
    seen: set[str] = set()
    followers = {"config_version", "net_type"}
    for path, entry in entries(LAYOUT):
        if isinstance(entry, str) or (isinstance(entry, Key) and entry.path in seen):
            followers.add(path)
        if isinstance(entry, Key):
            seen.add(entry.path)
    return followers


FOLLOWERS = frozenset(_followers())
