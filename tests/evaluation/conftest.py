"""The evaluated project of two animals, for the tests of this folder."""

from evaluation_support import data, evaluation, heads, settings

__all__ = ["data", "evaluation", "heads", "settings"]
