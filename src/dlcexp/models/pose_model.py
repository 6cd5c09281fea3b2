"""The pose model: a backbone, an optional neck, and one or more heads."""

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dlcexp.errors import ConfigError
from dlcexp.models.backbones import Backbone
from dlcexp.models.heads import Head

Maps = dict[str, torch.Tensor]


class PoseModel(nn.Module):
    """Image to maps, and maps to targets, losses and poses.

    Args:
        backbone: turns images (b, 3, h, w) into one feature map.
        heads: what reads the feature map, by name: "bodypart", "unique_bodypart", "identity".
        neck: an optional module between backbone and heads.
        backbone_output_channels: channels the heads were configured for, checked if given.

    Raises:
        ConfigError: the backbone does not have that number of channels.
    """

    def __init__(
        self,
        backbone: Backbone,
        heads: Mapping[str, Head],
        neck: nn.Module | None = None,
        backbone_output_channels: int | None = None,
    ) -> None:
        super().__init__()
        if backbone_output_channels not in (None, backbone.out_channels):
            raise ConfigError(
                "model.backbone_output_channels",
                f"{backbone_output_channels}, but the backbone has {backbone.out_channels}.",
            )
        self.backbone = backbone
        # In the order of DeepLabCut's snapshots: the neck last.
        self.heads = nn.ModuleDict(heads)
        self.neck = neck
        self._frozen: tuple[str, ...] = ()

    def freeze(self, *names: str) -> None:
        """Train these modules no further; their batch norm stays in evaluation."""
        for name in names:
            self.get_submodule(name).requires_grad_(False)
        self._frozen += names
        self.train(self.training)

    def train(self, mode: bool = True) -> "PoseModel":
        """Switch between training and evaluation; frozen modules keep their statistics."""
        super().train(mode)
        for name in self._frozen:
            for layer in self.get_submodule(name).modules():
                if isinstance(layer, _BatchNorm):
                    layer.eval()
        return self

    def stride(self, head: str) -> float:
        """Return image pixels per pixel of the maps of that head."""
        return float(self.backbone.stride / self.heads[head].stride)

    @property
    def conditional(self) -> bool:
        """True if the model corrects poses that it is given, as conditional top-down models do."""
        return self.backbone.conditional

    @property
    def of_one_size(self) -> bool:
        """True if all images must have the size of the crops that the model was made for."""
        return self.conditional or any(head.of_one_size for head in self.heads.values())

    def forward(
        self, images: torch.Tensor, conditions: torch.Tensor | None = None
    ) -> dict[str, Maps]:
        """Return raw maps of each head, by name.

        Args:
            images: (b, 3, h, w), normalised.
            conditions: for a conditional model, the pose to be corrected in each image:
                (b, 1, k, 3), x px, y px, score; 0 means that the keypoint is missing.

        Raises:
            ValueError: a conditional model without conditions, or another model with them.
        """
        if self.conditional != (conditions is not None):
            need = "needs" if self.conditional else "takes no"
            raise ValueError(f"this model {need} conditions (b, 1, k, 3).")
        features = self.backbone(images, conditions) if self.conditional else self.backbone(images)
        if self.neck is not None:
            features = self.neck(features)
        return {name: head(features) for name, head in self.heads.items()}

    def targets(
        self, outputs: Mapping[str, Maps], labels: Mapping[str, torch.Tensor]
    ) -> dict[str, dict[str, Maps]]:
        """Return the targets of the maps: {head: {map: {"target": t, "weights": w}}}.

        Args:
            outputs: the maps, which set the size of the targets.
            labels: "keypoints" (b, n, k, 3) in image px with visibility, for DEKR with the centre
                as last keypoint; "area" (b, n) in px²; "keypoints_unique" and "individual_ids"
                where a head needs them.
        """
        with torch.no_grad(), _full_precision(outputs):
            return {
                name: head.targets(self.stride(name), outputs[name], labels)
                for name, head in self.heads.items()
            }

    def losses(
        self, outputs: Mapping[str, Maps], targets: Mapping[str, dict[str, Maps]]
    ) -> dict[str, torch.Tensor]:
        """Return each loss ("bodypart_heatmap"), each head's total, their mean "total_loss"."""
        losses: dict[str, torch.Tensor] = {}
        with _full_precision(outputs):
            for name, head in self.heads.items():
                for key, value in head.losses(_float(outputs[name]), targets[name]).items():
                    losses[f"{name}_{key}"] = value
        totals = [losses[f"{name}_total_loss"] for name in self.heads]
        return losses | {"total_loss": torch.stack(totals).mean()}

    @torch.no_grad()
    def predict(self, outputs: Mapping[str, Maps]) -> dict[str, Maps]:
        """Decode poses from the maps: {"bodypart": {"poses": (b, n, k, 3)}}: x px, y px, score.

        "unique_bodypart" has one pose an image; "identity" a "heatmap" (b, h, w, individuals), by
        which `dlcexp.models.predictors.assign_identities` puts the animals in their places.
        """
        with _full_precision(outputs):
            return {
                name: head.predictor(self.stride(name), _float(outputs[name]))
                for name, head in self.heads.items()
            }


def _float(maps: Maps) -> Maps:
    return {name: values.float() for name, values in maps.items()}


def _full_precision(outputs: Mapping[str, Maps]) -> torch.autocast:
    """Targets, losses and poses are computed in float32, also under autocast."""
    tensor = next(values for maps in outputs.values() for values in maps.values())
    return torch.autocast(tensor.device.type, enabled=False)
