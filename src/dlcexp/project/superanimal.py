"""The published SuperAnimal models: where they are, and their bodyparts in the order of channels.

Ye et al., "SuperAnimal pretrained pose estimation models for behavioral analysis", Nature
Communications 2024. Their files are snapshots without a `pytorch_config.yaml`, named after the data
set.
"""

from collections.abc import Sequence
from pathlib import Path

from dlcexp.errors import ConfigError
from dlcexp.hub import ADDRESS

_BODYPARTS = {
    "superanimal_bird": (
        "back bill belly breast crown forehead left_eye left_leg left_wing_tip left_wrist nape "
        "right_eye right_leg right_wing_tip right_wrist tail_tip throat neck tail_left tail_right "
        "upper_spine upper_half_spine lower_half_spine right_foot left_foot left_half_chest "
        "right_half_chest chin left_tibia right_tibia lower_spine upper_half_neck lower_half_neck "
        "left_chest right_chest upper_neck left_wing_shoulder left_wing_elbow right_wing_shoulder "
        "right_wing_elbow upper_cere lower_cere"
    ),
    "superanimal_quadruped": (
        "nose upper_jaw lower_jaw mouth_end_right mouth_end_left right_eye right_earbase "
        "right_earend right_antler_base right_antler_end left_eye left_earbase left_earend "
        "left_antler_base left_antler_end neck_base neck_end throat_base throat_end back_base "
        "back_end back_middle tail_base tail_end front_left_thai front_left_knee front_left_paw "
        "front_right_thai front_right_knee front_right_paw back_left_paw back_left_thai "
        "back_right_thai back_left_knee back_right_knee back_right_paw belly_bottom "
        "body_middle_right body_middle_left"
    ),
    "superanimal_topviewmouse": (
        "nose left_ear right_ear left_ear_tip right_ear_tip left_eye right_eye neck mid_back "
        "mouse_center mid_backend mid_backend2 mid_backend3 tail_base tail1 tail2 tail3 tail4 "
        "tail5 left_shoulder left_midside left_hip right_shoulder right_midside right_hip "
        "tail_end head_midpoint"
    ),
}
# Repositories of the hub, and the net types whose pose models each has.
_MODELS = {
    "superanimal_bird": ("DeepLabCut/DeepLabCutModelZoo-SuperAnimal-Bird", ["resnet_50"]),
    "superanimal_quadruped": (
        "mwmathis/DeepLabCutModelZoo-SuperAnimal-Quadruped",
        ["hrnet_w32", "resnet_50", "rtmpose_s"],
    ),
    "superanimal_topviewmouse": (
        "mwmathis/DeepLabCutModelZoo-SuperAnimal-TopViewMouse",
        ["hrnet_w32", "resnet_50"],
    ),
}
# Their backbones, by the names that timm has for them.
_BACKBONES = {"hrnet_w32": "hrnet_w32", "resnet50_gn": "resnet_50", "cspnext_s": "rtmpose_s"}

SUPERANIMALS: dict[str, Sequence[str]] = {name: names.split() for name, names in _BODYPARTS.items()}


def superanimal_of(path: Path) -> str | None:
    """Return the data set a file is named after, such as `superanimal_quadruped_hrnet_w32.pt`."""
    return next((name for name in SUPERANIMALS if path.name.startswith(name)), None)


def address_of(superanimal: str, backbone: str | None) -> str:
    """Return the address on the hub of the SuperAnimal model with a backbone.

    Args:
        superanimal: the data set.
        backbone: name of the backbone in timm.

    Raises:
        ConfigError: there is none.
    """
    repository, published = _MODELS[superanimal]
    net_type = _BACKBONES.get(backbone or "")
    if net_type not in published:
        names = [name if name.startswith("rtmpose") else f"top_down_{name}" for name in published]
        raise ConfigError(
            "weights",
            f"there is no {superanimal} with the backbone {backbone!r}. It is published for "
            f"{', '.join(published)}: choose net_type={' or net_type='.join(names)}.",
        )
    return f"{ADDRESS}{repository}/{superanimal}_{net_type}.pt"
