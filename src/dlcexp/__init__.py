"""Hydra-composed experiments for animal pose estimation, interchangeable with DeepLabCut."""

__version__ = "0.1.0"
