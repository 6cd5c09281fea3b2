"""Detectors: networks that find the animals of an image, one box each."""

from dlcexp.models.detectors import ssdlite
from dlcexp.models.detectors.base import Detector
from dlcexp.models.detectors.faster_rcnn import FasterRCNN
from dlcexp.models.detectors.pretrained import coco_if_available
from dlcexp.models.detectors.ssdlite import SSDLite

__all__ = ["Detector", "FasterRCNN", "SSDLite", "available_weights"]


def available_weights(variant: str | None) -> str | None:
    """Return what the weights "auto" of a detector are here: "coco", or None for random ones.

    Args:
        variant: name of a Faster R-CNN in torchvision; None is SSDLite.
    """
    return coco_if_available(variant or ssdlite.NAME)
