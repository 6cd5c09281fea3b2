"""Settings that the flat form of a file cannot hold."""

from collections.abc import Mapping
from typing import Any

from dlcexp.config.overrides import shortened
from dlcexp.deeplabcut.defaults import FOLLOWERS, MENU, assume
from dlcexp.deeplabcut.flat import flatten, unflatten
from dlcexp.trees import leaves, same, select

# What the file records of its project and of itself, which is found again where it lies.
_OF_THE_PROJECT = ("metadata", "net_type", "config_version", "model.pose_model")


def with_menus(sections: dict[str, Any]) -> dict[str, Any]:
    """The sections that a flat form amounts to, with what is not in its menus as off."""
    off = dict.fromkeys(MENU)
    for data in (sections.get("data"), select(sections, "detector.data")):
        for menu in ("train", "inference"):
            if isinstance(data, dict) and isinstance(data.get(menu), Mapping):
                data[menu] = off | data[menu]
    return sections


def lost_in_flat(sections: Mapping[str, Any]) -> list[str]:
    """A line for each value of DeepLabCut 3.0's sections that does not come back from a flat file.

    A value that the flat form implies, or that DeepLabCut takes by default, is not lost.
    """
    back = assume(with_menus(unflatten(flatten(sections))))
    lines = []
    for path, ours in leaves(sections).items():
        theirs = select(back, path)
        if path.startswith(_OF_THE_PROJECT) or _follows(path) or _is_alike(ours, theirs):
            continue
        read = "" if theirs is None else f", read there as {shortened(theirs)}"
        lines.append(f"{path}: {shortened(ours)}{read}")
    return lines


def _follows(path: str) -> bool:
    """Return True if a value is at or in a place of the file that repeats another one."""
    return any(path == place or path.startswith(f"{place}.") for place in FOLLOWERS)


def _is_alike(ours: Any, theirs: Any) -> bool:
    """Return True if values mean the same; nothing, off and empty do where the other is absent."""
    if theirs in (None, False):
        return ours in ((None, False, [], {}) if theirs is None else (None, False))
    return ours == {} or same(ours, theirs)
