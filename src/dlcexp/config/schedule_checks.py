"""Learning-rate schedules: lists that must fit each other, and milestones that never come."""

from collections.abc import Iterator, Mapping
from typing import Any

from dlcexp.errors import ConfigError


def check_schedule(node: Any, key: str) -> None:
    """Check the lists of a `scheduler` node, and of the schedules inside it.

    Raises:
        ConfigError: lists of other lengths than each other, or milestones that do not ascend.
    """
    for path, schedule in _schedules(node, key):
        milestones = schedule.get("milestones")
        if not isinstance(milestones, list):
            continue
        for name, further in (("lr_list", 0), ("schedulers", 1)):
            others = schedule.get(name)
            if isinstance(others, list) and len(others) != len(milestones) + further:
                raise ConfigError(
                    f"{path}.milestones",
                    f"{milestones!r} has {len(milestones)} entries, and {path}.{name} has "
                    f"{len(others)}. Allowed: {len(others) - further} entries.",
                )
        if milestones != sorted(milestones):
            raise ConfigError(f"{path}.milestones", f"{milestones!r} does not ascend.")


def late_milestones(tree: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each schedule with milestones that training ends before.

    Args:
        tree: the validated tree.
    """
    for prefix, stage in (("", tree), ("detector.", tree.get("detector") or {})):
        for path, schedule in _schedules(stage.get("scheduler"), f"{prefix}scheduler"):
            late = [m for m in schedule.get("milestones") or [] if m >= stage["epochs"]]
            if late:
                yield (
                    f"{path}.milestones: {', '.join(map(str, late))} of {schedule['milestones']} "
                    f"never come: training ends after {prefix}epochs={stage['epochs']}."
                )


def _schedules(node: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A schedule and those inside it, each with its key."""
    if not isinstance(node, Mapping):
        return
    yield key, node
    for index, inner in enumerate(node.get("schedulers") or []):
        yield from _schedules(inner, f"{key}.schedulers[{index}]")
