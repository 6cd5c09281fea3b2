"""Detectors: networks that find the animals of an image, one box each."""

from dlcexp.models.detectors.base import Detector
from dlcexp.models.detectors.faster_rcnn import FasterRCNN
from dlcexp.models.detectors.ssdlite import SSDLite

__all__ = ["Detector", "FasterRCNN", "SSDLite"]
