"""Frames and labels: how they are split, cached, augmented and put into batches."""

import os

# Otherwise the import of albumentations asks PyPI for a newer version.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
