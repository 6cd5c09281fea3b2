"""The overrides that turn a composed tree into the one that a file of DeepLabCut's amounts to.

Values that others are computed from come first, so that what follows from them needs no override.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlcexp.config.hydra_errors import readable
from dlcexp.config.overrides import Override
from dlcexp.deeplabcut.file_differences import differences
from dlcexp.deeplabcut.node_changes import parent
from dlcexp.deeplabcut.read import Request
from dlcexp.text import first_line

# What schedules are computed from.
_SCHEDULE = ("epochs", "optimizer", "eta_min")

# More rounds than the longest chain of keys that follow from each other.
_MAX_ROUNDS = 40


def changes_of(raw: DictConfig, request: Request) -> tuple[dict[str, Any], list[Override]]:
    """Overrides until the export of `raw` has what the file has, and the tree with them."""
    made: dict[str, Override] = {}
    try:
        tree = _plain(raw)
    except OmegaConfBaseException as error:
        raise readable(error, raw) from error
    for _ in range(_MAX_ROUNDS):
        found = [
            change
            for change in differences(request, raw, tree)
            if made.get(change.key) != change and change not in request.refused
        ]
        batch = next((list(stage) for stage in _stages(found, raw) if stage), [])
        if not batch:
            break
        raw, tree, batch = _applied(raw, batch, request)
        for change in batch:
            before = made.pop(change.key, None)
            if before and before.prefix == "+":
                change = replace(change, prefix="+", text="")
            made[change.key] = change
    return tree, sorted(made.values(), key=lambda change: change.key.startswith("export."))


def _applied(
    raw: DictConfig, batch: list[Override], request: Request
) -> tuple[DictConfig, dict[str, Any], list[Override]]:
    """The tree with the changes; one that others depend on and that is deleted stays."""
    changed = copy.deepcopy(raw)
    try:
        for change in batch:
            change.apply(changed)
        return changed, _plain(changed), batch
    except OmegaConfBaseException as error:
        if len(batch) == 1:
            request.refused.append(batch[0])
            request.notes.append(
                f"{batch[0].key}: {batch[0].text} is not possible: {first_line(error)}"
            )
            return raw, _plain(raw), []
    done = []
    for change in batch:
        raw, _, applied = _applied(raw, [change], request)
        done += applied
    return raw, _plain(raw), done


def _stages(found: list[Override], raw: DictConfig) -> Iterator[list[Override]]:
    """The changes in groups: what others may be computed from comes first."""
    model = [c for c in found if c.key.startswith(("model.", "detector.model."))]
    derived = [c for c in model if _follows(raw, c)]
    schedules = [c for c in found if "scheduler." in c.key and _follows(raw, c, *_SCHEDULE)]
    later = [*derived, *schedules, *_following_menus(found)]
    yield [change for change in found if change not in later]
    yield derived[:1]
    yield schedules


def _following_menus(found: list[Override]) -> list[Override]:
    """Additions to the training menu that may follow from what changes for both menus."""
    shared = [change.key.split(".")[:2] for change in found if not change.prefix]
    return [
        change
        for change in found
        if change.prefix == "+"
        and change.key.split(".")[1:2] == ["train"]
        and [change.key.split(".")[0], change.key.split(".")[2]] in shared
    ]


def _follows(raw: DictConfig, change: Override, *sources: str) -> bool:
    """Return True if the value that changes is computed from others, or from one of `sources`."""
    return not change.prefix and _interpolated(raw, change.key, sources or ("",))


def _interpolated(raw: DictConfig, path: str, sources: Sequence[str]) -> bool:
    """Return True if the node at `path`, or one below it, is an interpolation of a source."""
    text = OmegaConf.to_yaml(OmegaConf.create([_raw_node(raw, path)]))
    return "${" in text and any(source in text for source in sources)


def _raw_node(raw: DictConfig, path: str) -> Any:
    """The node as it is written, interpolations unresolved."""
    node, key = parent(raw, path)
    return OmegaConf.to_container(node, resolve=False)[key]  # type: ignore[index]


def _plain(raw: DictConfig) -> dict[str, Any]:
    container = OmegaConf.to_container(raw, resolve=True)
    if not isinstance(container, dict):
        raise TypeError("a tree is a mapping")
    return {str(name): value for name, value in container.items()}
