"""Pose models: backbone, heads, their targets, losses and predictions."""

from dlcexp.models.pose_model import PoseModel

__all__ = ["PoseModel"]
