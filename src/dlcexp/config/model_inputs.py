"""The inputs of a model, as plain values that its classes check their nodes against.

A class below `model` that must fit them has a classmethod `check_inputs(node, key, inputs)`, which
raises a `ConfigError` for the first value of its node that does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlcexp.errors import ConfigError


@dataclass(frozen=True)
class Crop:
    """The size of the crops of animals that a top-down model sees.

    Attributes:
        width, height: px.
    """

    width: int
    height: int

    def check_multiple(self, width: int, height: int) -> None:
        """Reject a crop whose sides are not multiples of a width and a height, px."""
        for side, size, divisor in (
            ("width", self.width, width),
            ("height", self.height, height),
        ):
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
