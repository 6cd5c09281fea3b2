"""Training that starts from the weights of another run: `weights=PATH`, and what came of it."""

import io
import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich import box
from rich.console import Console
from rich.table import Table
from torch import nn

from dlcexp.errors import ConfigError, SnapshotError
from dlcexp.models.transfer import ABSENT, Entry, Transfer, transfer
from dlcexp.text import listed
from dlcexp.training.weights_file import (
    Source,
    adapted,
    likely_net_type,
    names_in_file,
    read_source,
    target_layout,
)
from dlcexp.vocabulary import BODYPART

# Columns of the table; a narrow terminal has fewer.
WIDTH = 100
# Most reasons given for one module.
_REASONS = 3


@dataclass(frozen=True)
class Started:
    """The file that a network started from, and what was loaded.

    Attributes:
        path: the file.
        net_type: what the file seems to be, by DeepLabCut's name.
        bodyparts: of the project: what each is called in the file; None where it is not there.
        transfer: what became of each tensor.
    """

    path: Path
    net_type: str | None
    bodyparts: Mapping[str, str | None]
    transfer: Transfer

    def record(self) -> dict[str, Any]:
        """Return all of it in plain containers, for `weights.json`."""
        entries = self.transfer.entries
        return {
            "file": str(self.path),
            "net_type": self.net_type,
            "bodyparts": dict(self.bodyparts),
            "loaded": [entry.name for entry in self.transfer.loaded if not entry.new],
            "loaded_in_part": {
                entry.name: {"loaded": list(entry.found), "initial": list(entry.new)}
                for entry in self.transfer.loaded
                if entry.new
            },
            "initial": {entry.name: entry.reason for entry in entries if entry.source is None},
            "unused": list(self.transfer.unused),
        }

    def text(self) -> str:
        """Return the table as text that fits the terminal."""
        width = min(WIDTH, shutil.get_terminal_size((WIDTH, 0)).columns)
        console = Console(file=io.StringIO(), width=width)
        console.print(_table(self))
        return console.file.getvalue().rstrip()  # type: ignore[attr-defined]


def start_from(cfg: DictConfig, model: nn.Module) -> Started:
    """Put the weights of `weights.path` into the pose model.

    Raises:
        ConfigError: there is no such file, or `weights.bodyparts` are not its own.
        SnapshotError: nothing of it fits the model.
    """
    source = read_source(cfg)
    renamed = names_in_file(cfg, source.superanimal)
    state = adapted(source.state, model.state_dict())
    done = transfer(model, state, source.layout, target_layout(cfg, source.superanimal))
    net_type = likely_net_type(source.state)
    if not done.loaded:
        raise SnapshotError(_nothing_fits(source, net_type, done))
    _check_given_bodyparts(cfg, done)
    known = set(source.layout[BODYPART].names) if source.layout else set()
    bodyparts = {name: there if there in known else None for name, there in renamed.items()}
    return Started(source.path, net_type, bodyparts, done)


def _nothing_fits(source: Source, net_type: str | None, done: Transfer) -> str:
    reason = next(iter(Counter(entry.reason for entry in done.entries)), "")
    if net_type is None:
        names = ", ".join(list(source.state)[:3])
        return (
            f"weights.path: nothing in {source.path} fits the model, and it is of no network of "
            f"DeepLabCut's: its first weights are {names}."
        )
    return (
        f"weights.path: nothing in {source.path} fits the model ({reason}). It seems to be a "
        f"{net_type}: compose it by net_type={net_type}."
    )


def _check_given_bodyparts(cfg: DictConfig, done: Transfer) -> None:
    """Refuse names that make another number of channels than the file has."""
    if cfg.weights.bodyparts is None or any(entry.found for entry in done.entries):
        return
    misfits = [entry for entry in done.entries if entry.reason.endswith("by its names")]
    if misfits:
        names = cfg.weights.bodyparts
        count = "" if isinstance(names, str) else f"{len(names)} names, "
        raise ConfigError(
            "weights.bodyparts",
            f"{count}which do not fit the file: {misfits[0].name} is {misfits[0].reason}.",
        )


def _table(started: Started) -> Table:
    """Return a row per module, with how much of it was loaded and why the rest was not."""
    table = Table(
        title=f"weights of {started.path}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        caption=_bodyparts(started.bodyparts),
        caption_justify="left",
    )
    table.add_column("module", overflow="fold")
    table.add_column("loaded", justify="right", no_wrap=True)
    table.add_column("at its initial weights, and why", overflow="fold")
    left_over = Counter(map(_module, started.transfer.unused))
    for module, entries in _by_module(started.transfer.entries).items():
        loaded = sum(entry.source is not None for entry in entries)
        table.add_row(module, f"{loaded}/{len(entries)}", _why(entries, left_over))
    if left_over:
        table.add_section()
        table.add_row(
            "in the file, not used",
            f"0/{left_over.total()}",
            listed(f"{module} ({count})" for module, count in left_over.items()),
        )
    return table


def _by_module(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Tensors by their module; the backbone is one if it is loaded as one."""
    backbone = {bool(entry.source) for entry in entries if entry.name.startswith("backbone.")}
    modules: dict[str, list[Entry]] = {}
    for entry in entries:
        module = _module(entry.name)
        if len(backbone) == 1 and module.startswith("backbone."):
            module = "backbone"
        modules.setdefault(module, []).append(entry)
    return modules


def _module(name: str) -> str:
    """heads.bodypart.heatmap_head of a head, backbone.stage2 of a backbone."""
    parts = name.replace("backbone.model.", "backbone.").split(".")
    depth = 3 if parts[0] == "heads" else 2
    return ".".join(parts[: min(depth, len(parts) - 1)])


def _why(entries: Sequence[Entry], left_over: Collection[str]) -> str:
    """Return why tensors are at their initial weights.

    Args:
        entries: the tensors of a module.
        left_over: modules of the file that are not used.
    """

    def reason_of(entry: Entry) -> str:
        other = entry.reason == ABSENT and _module(entry.name) in left_over
        return "made of other layers in the file" if other else entry.reason

    new = list(dict.fromkeys(name for entry in entries for name in entry.new))
    initial = [entry for entry in entries if entry.source is None and not entry.new]
    reasons = Counter(map(reason_of, initial))
    given = [f"{reason} ({count})" for reason, count in reasons.most_common(_REASONS)]
    if len(reasons) > _REASONS:
        given.append(f"{len(reasons) - _REASONS} more reasons, see weights.json")
    return "; ".join(([f"new: {listed(new)}"] if new else []) + given)


def _bodyparts(names: Mapping[str, str | None]) -> str:
    found = [name if there == name else f"{name} (there {there})" for name, there in names.items()]
    found = [text for text, there in zip(found, names.values(), strict=True) if there]
    new = [name for name, there in names.items() if there is None]
    lines = [f"bodyparts of the file: {listed(found, None)}"]
    return "\n".join(lines + ([f"not in the file: {listed(new, None)}"] if new else []))
