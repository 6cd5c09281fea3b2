"""HRNet: four branches of different resolution, computed side by side.

Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", TPAMI 2020.
"""

import torch
import torch.nn.functional as F

from dlcexp.models.backbones.base import Backbone, Freeze
from dlcexp.models.backbones.pretrained import create_timm_model

# Level 0 of timm's HRNet is the stem; the branches follow.
BRANCHES = (1, 2, 3, 4)


class HRNet(Backbone):
    """timm's HRNet without its classification head.

    Args:
        model_name: "hrnet_w18", "hrnet_w32", "hrnet_w48" or another HRNet of timm.
        freeze_bn_stats: keep the batch-norm statistics, also in training.
        freeze_bn_weights: do not train the batch-norm scales and shifts.
        interpolate_branches: bring all branches to the finest resolution and concatenate them;
            otherwise only the finest branch is returned.
        increased_channel_count: widen the branches to 128, 256, 512 and 1024 channels with the
            first modules of the classification head.
        weights: see `dlcexp.models.backbones.pretrained`.
        pretrained: DeepLabCut's key; with False, `auto` weights are random ones.
    """

    stride = 4

    def __init__(
        self,
        model_name: str = "hrnet_w32",
        freeze_bn_stats: Freeze = True,
        freeze_bn_weights: bool = False,
        interpolate_branches: bool = False,
        increased_channel_count: bool = False,
        weights: str | None = None,
        pretrained: bool = True,
    ) -> None:
        file = self.start_file(model_name=model_name, weights=weights, pretrained=pretrained)
        model = create_timm_model(
            model_name,
            file,
            features_only=True,
            out_indices=BRANCHES,
            feature_location="incre" if increased_channel_count else "",
        )
        super().__init__(
            {"model": model},
            random_weights=file is None,
            freeze_bn_stats=freeze_bn_stats,
            freeze_bn_weights=freeze_bn_weights,
        )
        self.interpolate_branches = interpolate_branches
        if not interpolate_branches:
            self._freeze_unread_branches()
        channels = [int(info["num_chs"]) for info in model.feature_info.get_dicts()]
        self.branch_channels = channels
        self.out_channels = sum(channels) if interpolate_branches else channels[0]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the feature map (b, out_channels, h / 4, w / 4) of images (b, 3, h, w)."""
        finest, *coarser = self.model(images)
        if not self.interpolate_branches:
            return finest
        size = finest.shape[-2:]
        return torch.cat([finest, *(F.interpolate(f, size, mode="bilinear") for f in coarser)], 1)

    def _freeze_unread_branches(self) -> None:
        """Nothing reads the coarser branches after the last stage; DDP insists on knowing."""
        unread = [self.model.stage4[-1].fuse_layers[1:]]
        if self.model.incre_modules is not None:
            unread.append(self.model.incre_modules[1:])
        for layers in unread:
            layers.requires_grad_(False)
