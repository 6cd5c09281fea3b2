"""From images to poses."""

from dlcexp.inference.images import predict

__all__ = ["predict"]
