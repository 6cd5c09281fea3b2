"""The published SuperAnimal models: which bodyparts they find, in the order of their channels.

Ye et al., "SuperAnimal pretrained pose estimation models for behavioral analysis", Nature
Communications 2024. The weights are the user's to fetch; their files are snapshots without a
`pytorch_config.yaml`, named after the data set.
"""

from collections.abc import Sequence
from pathlib import Path

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
SUPERANIMALS: dict[str, Sequence[str]] = {name: names.split() for name, names in _BODYPARTS.items()}


def superanimal_of(path: Path) -> str | None:
    """Return the data set a file is named after, such as `superanimal_quadruped_hrnet_w32.pt`."""
    return next((name for name in SUPERANIMALS if path.name.startswith(name)), None)
