"""What the flat form of a file has no words for."""

from collections.abc import Iterator, Mapping
from typing import Any

from dlcexp.config.overrides import shortened
from dlcexp.deeplabcut.defaults import FOLLOWERS, MENU, assume
from dlcexp.deeplabcut.flat import flatten, unflatten
from dlcexp.trees import ABSENT, same, select

# What the file says of its project and of itself, which is found again where it lies.
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

    A value that the flat form implies, or that DeepLabCut takes where a file says nothing, is not
    lost.
    """
    back = assume(with_menus(unflatten(flatten(sections))))
    return [*_differences(sections, back, "")]


def _differences(ours: Any, back: Any, path: str) -> Iterator[str]:
    if path in FOLLOWERS or path.startswith(_OF_THE_PROJECT):
        return
    if isinstance(ours, Mapping) and isinstance(back, Mapping | type(None) | type(ABSENT)):
        for name, value in ours.items():
            inner = back.get(name, ABSENT) if isinstance(back, Mapping) else ABSENT
            yield from _differences(value, inner, f"{path}.{name}" if path else str(name))
    elif back is ABSENT or back is None:
        if ours not in (None, False, [], {}):
            yield f"{path}: {shortened(ours)}"
    elif not same(ours, back) and not (ours in (None, False) and back in (None, False)):
        yield f"{path}: {shortened(ours)}, read there as {shortened(back)}"
