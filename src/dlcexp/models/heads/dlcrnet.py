"""The head of DLCRNet: heatmaps and part-affinity fields, refined together in stages.

Lauer et al., "Multi-animal pose estimation, identification and tracking with DeepLabCut", Nature
Methods 2022.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import nn

from dlcexp.config.model_checks import ModelInputs
from dlcexp.config.paf_graph import check_fields
from dlcexp.errors import ConfigError
from dlcexp.models.criterions import Criterion
from dlcexp.models.heads.base import Head, initialize
from dlcexp.models.heads.heatmap import DeconvModule
from dlcexp.models.keypoint_axes import SHARED, Axis, Channel, KeypointAxes, Points, outputs
from dlcexp.models.predictors import Predictor
from dlcexp.models.targets import TargetGenerator


class DLCRNetHead(Head):
    """Heatmaps (b, k, h, w), location refinement (b, 2 k, h, w) and fields (b, 2 e, h, w).

    Args:
        heatmap_config, locref_config, paf_config: keywords of `DeconvModule`, with the channels of
            the feature map first. The stages come in between, at twice its resolution.
        num_stages: how often heatmaps and fields are refined.
        features_dim: channels of the features that every stage sees.
        target_generator, criterion, predictor: see `Head`.
        weight_init: scheme of the initial weights, "normal", "dekr" or "RTMPose"; None: torch's.

    Raises:
        ConfigError: fewer than one stage.
    """

    one_animal = False
    least_bodyparts = 2
    assembles = True

    def __init__(
        self,
        heatmap_config: Annotated[Mapping[str, Any], DeconvModule],
        locref_config: Annotated[Mapping[str, Any], DeconvModule],
        paf_config: Annotated[Mapping[str, Any], DeconvModule],
        target_generator: TargetGenerator,
        criterion: Mapping[str, Criterion],
        predictor: Predictor,
        num_stages: int = 5,
        features_dim: int = 128,
        weight_init: str | None = None,
    ) -> None:
        if num_stages < 1:
            raise ConfigError("num_stages", f"{num_stages}; allowed are 1 and more.")
        inputs, heatmaps = heatmap_config["channels"][0], heatmap_config["channels"][-1]
        locrefs, fields = locref_config["channels"][-1], paf_config["channels"][-1]
        refined = heatmaps + fields + features_dim
        heatmap_head = _upsampling(heatmap_config, refined)
        super().__init__(predictor, target_generator, criterion, 2 * heatmap_head.stride)
        self.heatmap_head = heatmap_head
        self.locref_head = _upsampling(locref_config, locrefs)
        self.paf_head = _upsampling(paf_config, refined)
        self.convt1 = _doubling(inputs, heatmaps)
        self.convt2 = _doubling(inputs, locrefs)
        self.convt3 = _doubling(inputs, fields)
        self.convt4 = _doubling(inputs, features_dim)
        self.hm_ref_layers = _refinements(num_stages, refined, heatmaps)
        self.paf_ref_layers = _refinements(num_stages, refined, fields)
        initialize(self, weight_init)

    @classmethod
    def check_inputs(cls, node: Mapping[str, Any], key: str, inputs: ModelInputs) -> None:
        """Reject fields that are not those of the graph by which the predictor assembles."""
        if "graph" in node["predictor"]:
            check_fields(node, key)

    def forward(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return maps of a feature map (b, c, h, w), `stride` times its resolution."""
        shared = self.convt4(features)
        stage = torch.cat([self.convt1(features), self.convt3(features), shared], dim=1)
        heatmap: torch.Tensor | None = None
        for refine_heatmap, refine_paf in zip(self.hm_ref_layers, self.paf_ref_layers, strict=True):
            change = refine_heatmap(stage)
            # From the second stage on, heatmaps are corrected; fields are always replaced.
            heatmap = change if heatmap is None else heatmap + change
            stage = torch.cat([heatmap, refine_paf(stage), shared], dim=1)
        return {
            "heatmap": self.heatmap_head(stage),
            "locref": self.locref_head(self.convt2(features)),
            "paf": self.paf_head(stage),
        }

    def keypoint_axes(self, points: Points) -> KeypointAxes:
        """Return the axes: maps come out of every stage, and go into the next with the features."""
        heatmaps, locrefs, fields = points.channels(), points.channels(2), points.fields()
        shared = [Channel((SHARED, i)) for i in range(self.convt4.out_channels)]
        stage = Axis([*heatmaps, *fields, *shared], reads=True)
        axes = {
            **outputs("convt1", heatmaps, dim=1),
            **outputs("convt2", locrefs, dim=1),
            **outputs("convt3", fields, dim=1),
            **self.heatmap_head.output_axes("heatmap_head", heatmaps),
            **self.locref_head.output_axes("locref_head", locrefs),
            **self.paf_head.output_axes("paf_head", fields),
        }
        for number in range(len(self.hm_ref_layers)):
            axes |= outputs(f"hm_ref_layers.{number}", heatmaps)
            axes |= outputs(f"paf_ref_layers.{number}", fields)
            axes[f"hm_ref_layers.{number}.weight"][1] = stage
            axes[f"paf_ref_layers.{number}.weight"][1] = stage
        for name, inputs in (
            ("heatmap_head", stage),
            ("paf_head", stage),
            ("locref_head", Axis(locrefs, reads=True)),
        ):
            axes.setdefault(f"{name}.deconv_layers.0.weight", {})[0] = inputs
        return KeypointAxes(axes)


def _upsampling(config: Mapping[str, Any], inputs: int) -> DeconvModule:
    """Return the configured layers, on the channels of the stages, not of the feature map."""
    return DeconvModule(**{**config, "channels": [inputs, *config["channels"][1:]]})


def _doubling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)


def _refinements(stages: int, inputs: int, outputs: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Conv2d(inputs, outputs, 3, padding="same") for _ in range(stages))
