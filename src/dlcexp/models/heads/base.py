"""The base class of heads: a target generator, criterions, a predictor and initial weights."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from dlcexp.errors import ConfigError, nearest
from dlcexp.models.criterions import Criterion
from dlcexp.models.keypoint_axes import KeypointAxes, Points
from dlcexp.models.predictors import Predictor
from dlcexp.models.targets import TargetGenerator

Maps = dict[str, torch.Tensor]

# Standard deviation of the initial kernels: of convolutions, of linear layers.
CONV_STD = 0.001
LINEAR_STD = 0.01
SCHEMES = ("RTMPose", "dekr", "normal")


class Head(nn.Module, ABC):
    """A network from a feature map to named maps, with all that belongs to these maps.

    Args:
        predictor: decodes the maps into poses.
        target_generator: draws what the maps should be from the labels.
        criterion: the loss of each map, by the name of the map.
        stride: pixels of the head's maps per pixel of the feature map.

    A class states what it needs; a subclass needs the same unless it sets other values.

    Attributes:
        one_animal: True if an image gives the pose of one animal, the only one or that of a crop;
            False if it gives those of all animals in a frame.
        of_one_size: True if all feature maps must have the size that the head was made for.
        needs_center: True if the centre of each animal is the last of its keypoints.
        least_bodyparts: the smallest number of bodyparts that it can learn.
        heatmaps: True if its maps are heatmaps.
        assembles: True if individuals are assembled from the keypoints of all animals.
    """

    one_animal = True
    of_one_size = False
    needs_center = False
    least_bodyparts = 1
    heatmaps = True
    assembles = False

    def __init__(
        self,
        predictor: Predictor,
        target_generator: TargetGenerator,
        criterion: Mapping[str, Criterion],
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.predictor = predictor
        self.target_generator = target_generator
        self.criterion = nn.ModuleDict(criterion)
        self.stride = stride

    @abstractmethod
    def forward(self, features: torch.Tensor) -> Maps:
        """Return maps by name of a feature map (b, c, h, w)."""

    def keypoint_axes(self, points: Points) -> KeypointAxes | None:
        """Return which parameters have entries of the points, to match weights by name.

        None, the default for a custom head, means unknown: its weights are then taken from a file
        only if the points are the same there.
        """
        return None

    def targets(
        self, stride: float, outputs: Maps, labels: Mapping[str, torch.Tensor]
    ) -> dict[str, Maps]:
        """Return targets and weights of each map, in the shape of `outputs`."""
        return self.target_generator(stride, outputs, labels)

    def losses(self, outputs: Maps, targets: Mapping[str, Maps]) -> Maps:
        """Return the loss of each map, and "total_loss": the mean of the weighted losses."""
        losses = {
            name: criterion(outputs[name], **targets[name])
            for name, criterion in self.criterion.items()
        }
        weighted = [self.criterion[name].weight * loss for name, loss in losses.items()]
        return losses | {"total_loss": torch.stack(weighted).mean()}


def initialize(module: nn.Module, scheme: str | None) -> None:
    """Give the layers of a head their initial weights.

    Args:
        scheme: "normal" (Xiao et al., "Simple Baselines for Human Pose Estimation", ECCV 2018) and
            "dekr" (Geng et al., CVPR 2021) both draw the kernels from a normal distribution of
            standard deviation 0.001, with biases of 0 and batch norm as the identity; "RTMPose"
            (Jiang et al., arXiv 2303.07399) also those of linear layers, of 0.01; None keeps the
            defaults of torch.

    Raises:
        ConfigError: any other scheme.
    """
    if scheme is None:
        return
    if scheme not in SCHEMES:
        known = ", ".join(map(repr, SCHEMES))
        hint = nearest(scheme, SCHEMES)
        raise ConfigError("weight_init", f"{scheme!r}; allowed are null, {known}.{hint}")
    for layer in module.modules():
        if isinstance(layer, _ConvNd):
            _draw(layer, CONV_STD)
        elif isinstance(layer, nn.Linear) and scheme == "RTMPose":
            _draw(layer, LINEAR_STD)
        elif isinstance(layer, _BatchNorm):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


def _draw(layer: _ConvNd | nn.Linear, std: float) -> None:
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
