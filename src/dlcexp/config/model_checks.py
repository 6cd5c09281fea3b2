"""Checks of what a method, a model and a project need of each other.

`check_combinations` reads plain keys and imports nothing heavy. `check_needs` asks the classes of
the model, each of which states what it needs, and so imports torch. A class below `model` that must
fit its inputs has a classmethod `check_inputs(node, key, inputs)`. Each check raises a
`ConfigError` that names the key, what does not fit, and what to choose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlcexp.config.augmentation_keys import SECTIONS, effective_menu, image_size
from dlcexp.config.build import check_target, find_class, iterate_targets
from dlcexp.config.schema import RECIPE
from dlcexp.config.value_types import Key
from dlcexp.errors import ConfigError, nearest, not_one_of
from dlcexp.text import listed
from dlcexp.vocabulary import BODYPART, IDENTITY, UNIQUE_BODYPART

# Keys that only a top-down tree has.
DETECTOR_KEYS = ("detector", "data_detector")
STAGES = ("detector", "pose")
_RECIPE = Key(RECIPE, "what the backbone recommends", optional=True)


@dataclass(frozen=True)
class Crop:
    """The width and height, px, of the crops of animals that a top-down model sees."""

    width: int
    height: int

    def check_multiple(self, width: int, height: int) -> None:
        """Reject a crop whose sides are not multiples of a width and a height, px."""
        for side, size, divisor in (("width", self.width, width), ("height", self.height, height)):
            if size % divisor:
                raise ConfigError(
                    f"data.top_down_crop.{side}",
                    f"{size} is not a multiple of {divisor}, as this model needs.",
                )


@dataclass(frozen=True)
class ModelInputs:
    """The inputs that an experiment has for its model.

    Attributes:
        bodyparts: those of the project.
        crops: in training and in inference; none with method=bu.
        stride: image pixels per pixel of the backbone's feature map.
    """

    bodyparts: Sequence[str]
    crops: Sequence[Crop]
    stride: int


def check_image_size(node: Mapping[str, Any], key: str, inputs: ModelInputs) -> None:
    """Reject an `img_size` (height, width) of a node, if it has one, that is not that of a crop."""
    for crop in inputs.crops:
        expected = [crop.height, crop.width]
        check_size(f"{key}.img_size", node.get("img_size", expected), expected)


def check_size(key: str, size: Any, expected: Sequence[int]) -> None:
    """Reject a size at `key` that does not follow from the crops."""
    if list(size) != list(expected):
        raise ConfigError(
            key, f"{size!r} does not fit data.top_down_crop, which makes it {list(expected)!r}."
        )


def needs_top_down(key: str, value: Any, method: str = "bu") -> ConfigError:
    """Return the error for a key of the detector in a tree without one."""
    what = "the key" if value is None else repr(value)
    return ConfigError(
        key, f"{what} is about a detector, and method={method} has none. Add method=td."
    )


def check_combinations(tree: Mapping[str, Any]) -> None:
    """Reject keys that are each right and wrong together, in a tree that passed `check_keys`."""
    metadata, method = tree["metadata"], tree["method"]
    _check_stages(tree["train"]["stages"], method)
    _check_parts(tree["model"], metadata)
    if method != "bu":
        _check_project_of_crops(metadata, method)
    _check_comparison(tree["evaluation"]["comparison_bodyparts"], metadata)
    trainer, clip = tree["trainer"], "gradient_clip_algorithm"
    if clip in trainer and trainer["gradient_clip_val"] is None:
        problem = f"{trainer[clip]!r} has no effect without trainer.gradient_clip_val."
        raise ConfigError(f"trainer.{clip}", problem)


def check_needs(tree: Mapping[str, Any]) -> None:
    """Reject a model whose classes need what the method, the project or the data do not give.

    The tree has passed `check_combinations` and `check_nodes`, and its `allow_targets` hold.
    """
    metadata, method, model = tree["metadata"], tree["method"], tree["model"]
    head = _declared(model["heads"][BODYPART], "model.heads.bodypart", "heads.Head")
    backbone = _declared(model["backbone"], "model.backbone", "backbones.Backbone")
    _check_animals(head, method, metadata["num_individuals"])
    _check_project(head, backbone, metadata)
    _check_center(head, tree["with_center_keypoints"])
    _check_conditions(head, backbone, method)
    inputs = _model_inputs(tree)
    for key, node in iterate_targets(model, "model"):
        check = getattr(find_class(node["_target_"], f"{key}._target_"), "check_inputs", None)
        if check is not None:
            check(node, key, inputs)


def _check_stages(stages: list[str], method: str) -> None:
    allowed = STAGES if method == "td" else ("pose",)
    for stage in stages:
        if stage not in allowed:
            if stage in STAGES:
                raise needs_top_down("train.stages", stages, method)
            raise not_one_of("train.stages", stage, allowed)
    if stages != [stage for stage in allowed if stage in stages] or not stages:
        raise ConfigError(
            "train.stages",
            f"{stages!r} must name at least one stage, each once, in this order: "
            f"{', '.join(allowed)}.",
        )


def _check_parts(model: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Reject a model without a needed part, or with heads that the project has no use for."""
    heads = model.get("heads") or {}
    if not isinstance(heads, Mapping):
        raise ConfigError("model.heads", f"{heads!r} is not a mapping. Choose one with model=.")
    if BODYPART not in heads:
        raise ConfigError("model.heads", f"has {listed(heads)}, and no 'bodypart'.")
    check_target(model.get("backbone"), "model.backbone", "Choose one with model/backbone=.")
    for name, head in heads.items():
        check_target(head, f"model.heads.{name}", "Choose one with model=.")
    _RECIPE.read(model["backbone"].get("recipe"), "model.backbone.recipe")
    if UNIQUE_BODYPART in heads and not metadata["unique_bodyparts"]:
        raise ConfigError(
            "model.heads.unique_bodypart",
            "the project has no unique bodyparts (uniquebodyparts in its config.yaml). "
            "Leave it out of model/heads=, or add '~model.heads.unique_bodypart'.",
        )
    if IDENTITY in heads and not metadata["with_identity"]:
        raise ConfigError(
            "model.heads.identity",
            "the individuals of the project have no identity (identity: true in its config.yaml). "
            "Leave it out of model/heads=, or add '~model.heads.identity'.",
        )


def _check_project_of_crops(metadata: Mapping[str, Any], method: str) -> None:
    """Reject a project with bodyparts or identities that crops of one animal do not show."""
    if metadata["unique_bodyparts"]:
        raise ConfigError(
            "method",
            f"{method!r} has no place for the project's unique bodyparts "
            f"({', '.join(map(str, metadata['unique_bodyparts']))}). Use method=bu.",
        )
    if metadata["with_identity"]:
        raise ConfigError(
            "method", f"{method!r} does not learn identity, as this project asks. Use method=bu."
        )


def _check_comparison(wanted: Any, metadata: Mapping[str, Any]) -> None:
    """Reject `evaluation.comparison_bodyparts` that the project does not have."""
    if wanted == "all":
        return
    known = [*metadata["bodyparts"], *metadata["unique_bodyparts"]]
    for bodypart in [wanted] if isinstance(wanted, str) else map(str, wanted):
        if bodypart not in known:
            raise ConfigError(
                "evaluation.comparison_bodyparts",
                f"the project has no bodypart {bodypart!r}; it has "
                f"{', '.join(known)}.{nearest(bodypart, known)}",
            )


def _declared(node: Mapping[str, Any], key: str, base: str) -> Any:
    """Return the class of a part of the model, a subclass of `dlcexp.models.<base>`."""
    cls = find_class(node["_target_"], f"{key}._target_")
    full = f"dlcexp.models.{base}"
    if not issubclass(cls, find_class(full, key)):
        raise ConfigError(f"{key}._target_", f"{cls.__name__} is not a subclass of {full}.")
    return cls


def _check_animals(head: Any, method: str, individuals: int) -> None:
    """Reject a head for another number of animals than the method shows it at a time."""
    name = head.__name__
    if method != "bu" and not head.one_animal:
        raise ConfigError(
            "model",
            f"{name} finds all animals in a frame, and method={method} shows it crops of one. "
            "Use model=heatmap, model=rtmpose or model=tokenpose, or method=bu.",
        )
    if method == "bu" and head.of_one_size:
        raise ConfigError("model", f"{name} needs crops of one animal each. Add method=td.")
    if method == "bu" and head.one_animal and individuals > 1:
        raise ConfigError(
            "model",
            f"{name} finds one animal, and the project has {individuals} individuals. "
            "Use model=dekr or model=paf, or method=td.",
        )


def _check_project(head: Any, backbone: Any, metadata: Mapping[str, Any]) -> None:
    """Reject a model for other projects: with more bodyparts, or of several animals."""
    if metadata["num_bodyparts"] < head.least_bodyparts:
        raise ConfigError(
            "model",
            f"{head.__name__} needs at least {head.least_bodyparts} bodyparts, and the project has "
            f"{metadata['num_bodyparts']}.",
        )
    if backbone.multianimal_only and head.assembles and not metadata["multianimal"]:
        raise ConfigError(
            "model",
            f"{backbone.__name__} is for multi-animal projects, and this one is a single-animal "
            "project, for which DeepLabCut refuses it. Use model=heatmap, or model=paf with "
            "another backbone.",
        )


def _check_center(head: Any, with_center: bool) -> None:
    key, name = "with_center_keypoints", head.__name__
    if head.needs_center and not with_center:
        raise ConfigError(key, f"False, but {name} needs the centres: True.")
    if with_center and not head.needs_center:
        raise ConfigError(key, f"True, but {name} has no centre: False.")


def _check_conditions(head: Any, backbone: Any, method: str) -> None:
    """Reject a backbone that does not read the poses that the method gives it, or the reverse."""
    key, name = "model.backbone", backbone.__name__
    if backbone.conditional and method != "ctd":
        raise ConfigError(
            key,
            f"{name} corrects poses that it is given, and method={method} gives none. "
            "Add method=ctd.",
        )
    if method == "ctd" and not backbone.conditional:
        raise ConfigError(
            key,
            f"{name} cannot read the poses that method=ctd gives it. Use model/backbone=coam_w32, "
            "model/backbone=prenet_hrnet_w32 or another of coam_* and prenet_*.",
        )
    if backbone.needs_heatmaps and not head.heatmaps:
        raise ConfigError(
            key,
            f"{name} is for heatmaps, and {head.__name__} classifies. Use model/backbone="
            "prenet_cspnext_m or another of prenet_cspnext_*, or net_type=ctd_prenet_rtmpose_m.",
        )


def _model_inputs(tree: Mapping[str, Any]) -> ModelInputs:
    recipe = tree["model"]["backbone"].get("recipe") or {}
    crops: Sequence[Crop] = ()
    if tree["method"] != "bu":
        menus = [effective_menu(tree["data"], section) for section in SECTIONS]
        crops = [Crop(*size) for menu in menus if (size := image_size(menu))]
    return ModelInputs(tree["metadata"]["bodyparts"], crops, recipe.get("stride", 1))
