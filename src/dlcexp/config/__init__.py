"""The tree: its keys, how it is composed and checked, and how its targets become objects."""

from dlcexp.config.build import build

__all__ = ["build"]
