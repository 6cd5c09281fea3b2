"""Conditions as maps: what a conditional backbone is shown of the pose that it corrects.

Zhou et al., "Rethinking pose estimation in crowds: overcoming the detection information bottleneck
and ambiguity", ICCV 2023.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import torch
import torch.nn.functional as F
from torch import nn

from dlcexp.config.model_checks import ModelInputs
from dlcexp.errors import ConfigError

# Value of a map at its keypoint: conditions are drawn as 8-bit images.
PEAK = 255.0
# DeepLabCut draws a keypoint one pixel up and left of the one that it lies in.
SHIFT = -1
# Width and height of the blob, px.
KERNEL = (15, 15)


class StackedKeypointEncoder(nn.Module):
    """One map for each keypoint, with a Gaussian blob where it is and nothing where it is missing.

    Args:
        num_joints: number of keypoints.
        kernel_size: odd width and height of the blob, px.

    Attributes:
        num_channels: channels of the encoding.

    Raises:
        ConfigError: a kernel whose sides are not two odd numbers.
    """

    blur_x: torch.Tensor
    blur_y: torch.Tensor

    def __init__(self, num_joints: int, kernel_size: Sequence[int] = KERNEL) -> None:
        super().__init__()
        if not _is_odd(kernel_size):
            raise ConfigError(
                "model.backbone.kpt_encoder.kernel_size",
                f"{list(kernel_size)!r} is not a width and a height, each an odd number of pixels.",
            )
        self.num_channels = num_joints
        for name, side in zip(("blur_x", "blur_y"), kernel_size, strict=True):
            blur = torch.from_numpy(cv2.getGaussianKernel(side, 0)[:, 0]).float()
            self.register_buffer(name, blur, persistent=False)

    @classmethod
    def check_inputs(cls, node: Mapping[str, Any], key: str, inputs: ModelInputs) -> None:
        """Reject another number of keypoints than bodyparts, and blobs larger than the crops.

        A blob has a pixel in its middle, and is mirrored where it leaves the crop.
        """
        joints, bodyparts = node["num_joints"], len(inputs.bodyparts)
        if joints != bodyparts:
            raise ConfigError(
                f"{key}.num_joints", f"{joints!r}, but the project has {bodyparts} bodyparts."
            )
        kernel = node.get("kernel_size", KERNEL)
        for crop in inputs.crops:
            if not _is_odd(kernel) or max(kernel) // 2 >= min(crop.width, crop.height):
                raise ConfigError(
                    f"{key}.kernel_size",
                    f"{kernel!r} is not allowed. Allowed: a width and a height, each an odd number "
                    f"of pixels below twice the sides of the crops, {crop.width} x {crop.height}.",
                )

    def forward(self, conditions: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Draw maps (b, num_joints, height, width), from 0 to 255.

        Args:
            conditions: (b, 1, num_joints, 3), x px, y px, score; a keypoint whose score is 0 or
                that lies outside the image is missing.
            height: of the image, px.
            width: of the image, px.
        """
        x, y, score = conditions[:, 0].unbind(-1)
        inside = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
        given = (inside & (score > 0))[..., None, None]
        across = _profiles(x, width, self.blur_x)[..., None, :]
        down = _profiles(y, height, self.blur_y)[..., :, None]
        return torch.where(given, PEAK * down * across, 0.0)


def _is_odd(kernel: Sequence[int]) -> bool:
    """Return True for a width and a height with a pixel in their middle."""
    return len(kernel) == 2 and all(side % 2 == 1 and side > 0 for side in kernel)


def _profiles(positions: torch.Tensor, size: int, blur: torch.Tensor) -> torch.Tensor:
    """Sections through the blobs (..., size), 1 at their highest.

    What the blur carries over the border comes back mirrored, as OpenCV does it. A keypoint within
    the first pixel is drawn at the far border, as in DeepLabCut's Python, where index -1 is the
    last.
    """
    index = (positions.nan_to_num(0.0).clamp(0, size).long() + SHIFT) % size
    points = F.one_hot(index.flatten(), size).to(blur.dtype)[:, None]
    margin = len(blur) // 2
    mirrored = F.pad(points, (margin, margin), mode="reflect")
    profiles = F.conv1d(mirrored, blur[None, None])[:, 0]
    return (profiles / profiles.amax(-1, keepdim=True)).unflatten(0, positions.shape)
