"""Versions, machine and commit that the numbers of a run depend on, in addition to its tree."""

import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

# What decides the numbers of a run, in addition to the tree.
_PACKAGES = [
    "dlcexp",
    "torch",
    "torchvision",
    "lightning",
    "timm",
    "albumentations",
    "opencv-python-headless",
    "numpy",
    "scipy",
    "pandas",
    "hydra-core",
    "omegaconf",
    "wandb",
]


def describe_environment(device: str) -> dict[str, Any]:
    """Return versions, machine and commit, which also decide the numbers; no names, no secrets."""
    return {**_surroundings(), "device": device}


@cache
def _surroundings() -> dict[str, Any]:
    """Return what stays the same as long as this process lives."""
    versions: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "git_commit": _git_commit(Path(__file__).parents[3]),
        "packages": versions,
    }


def _git_commit(folder: Path) -> str | None:
    """Commit of the checkout that this code runs from; None where it was installed from a wheel."""
    if not (folder / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
