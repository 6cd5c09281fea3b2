"""Overrides as Hydra can take them: short forms in full, what fits the project."""

import codecs
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlcexp.config.options import (
    GLOBAL,
    HEADS,
    OVERLAYS,
    conf_folder,
    groups,
    options,
    read_option,
    wrong_option,
)
from dlcexp.config.overrides import Override
from dlcexp.errors import ConfigError, ProjectError
from dlcexp.project import DEMO, open_project
from dlcexp.vocabulary import IDENTITY, UNIQUE_BODYPART


def expand(overrides: Iterable[Override], config_dir: Path | None = None) -> list[Override]:
    """Return overrides as Hydra can take them: short forms in full, what fits the project.

    `group=null` means `group=none`, and `weights=PATH` means `weights.path=PATH`.

    Hydra picks options before it knows the project. What a net type means in that project, and
    which heads its model has in addition to that of the bodyparts, is therefore made explicit here.
    The project may also be that of an overlay, `experiment=`, of dlcexp or in `config_dir`.

    Raises:
        ConfigError: a sweep, a group that cannot be left out, or a choice in the form of a key.
    """
    expanded = []
    for override in overrides:
        _check_form(override)
        full = _null_means_none(weights_in_full(override))
        expanded += [full] if full else []
    _check_overlays(expanded, config_dir)
    project = _project(expanded, config_dir)
    return [*_fitting_net_types(expanded, project), *_heads_of_project(expanded, project)]


def _check_overlays(overrides: Sequence[Override], config_dir: Path | None) -> None:
    """Refuse an overlay of the user without the line that puts its keys at the top of the tree.

    Raises:
        ConfigError: it is missing, or Hydra does not see it behind a byte-order mark.
    """
    chosen = {group: _last(overrides, group) for group in OVERLAYS}
    for group, names in chosen.items() if config_dir else ():
        for name in names if isinstance(names, list) else [names]:
            file = Path(config_dir or "", group, f"{name}.yaml")
            if not file.is_file():
                continue
            content = file.read_bytes()
            if content.startswith(codecs.BOM_UTF8):
                problem = "begins with a byte-order mark, before which Hydra does not read"
            elif not re.search(rb"^#\s*@package\b", content, re.MULTILINE):
                problem = "does not begin with"
            else:
                continue
            raise ConfigError(
                group,
                f"{file}: {problem} {GLOBAL!r}. Save it as UTF-8 with that as its first line.",
            )


def _check_form(override: Override) -> None:
    """Refuse several values, a choice of what is not an option, and a choice written as a key."""
    group, value, name = override.key, override.value, override.name
    if override.is_sweep:
        raise ConfigError(group, "several values are a sweep; add -m.")
    is_name = not override.prefix and re.fullmatch(r"\w+", override.value_text)
    if name in ("detector.optimizer", "detector.scheduler") and is_name:
        option = Override(name.rpartition(".")[2], value, package=name)
        raise ConfigError(name, f"{value!r} is an option of a group: {option}")
    if group not in groups() or value is None:
        return
    if isinstance(value, list) and any(isinstance(item, list | dict) for item in value):
        raise ConfigError(name, f"{override.value_text!r} is not a list of options: [csv,wandb].")
    problem = wrong_option(override)
    if problem and (override.prefix or str(value).startswith("_")):
        raise problem
    if override.prefix in ("+", "++"):
        plain = replace(override, prefix="", text="")
        raise ConfigError(
            name, f"'{override}' is not possible; each group has one option. Write {plain}."
        )


def _null_means_none(override: Override) -> Override | None:
    """Return `group=null` and `~group` as the choice of the option that has nothing."""
    group = override.key
    if group not in groups() or not (override.is_deletion or override.value is None):
        return override
    if group in ("net_type", "experiment"):
        return None
    if group == HEADS:
        return Override(HEADS, [])
    known = options(group)
    if "none" not in known:
        problem = f"'{override}' is not possible, as each experiment needs one."
        raise ConfigError(override.name, f"{problem} Choose {', '.join(known)}.")
    return Override(group, "none", package=override.package)


def weights_in_full(override: Override) -> Override:
    """`weights=PATH` means `weights.path=PATH`; any module may be a key of `weights.lr_scale`."""
    if override.prefix:
        return override
    if override.key == "weights" and not isinstance(override.value, dict):
        return Override.parse(f"weights.path={override.value_text}")
    if override.key == "weights" or override.key.startswith("weights.lr_scale"):
        return replace(override, prefix="++", text=f"++{override}")
    return override


def _fitting_net_types(overrides: list[Override], project: str) -> list[Override]:
    """Return the overrides with net types as they are meant in the project.

    DeepLabCut gives a plain name such as `hrnet_w32` heatmaps in a single-animal project and
    part-affinity fields, `multi_animal/hrnet_w32`, in another; top-down it is always heatmaps.
    """
    ambiguous = options("net_type/multi_animal")
    if _last(overrides, "net_type") not in ambiguous or _last(overrides, "method") == "td":
        return overrides
    if not open_project(project).multianimal:
        return overrides
    return [
        Override("net_type", f"multi_animal/{each.value}") if each.key == "net_type" else each
        for each in overrides
    ]


def _heads_of_project(overrides: Sequence[Override], project: str) -> list[Override]:
    """Return the choice of heads that the project asks for; none where the user chooses."""
    if any(override.key == HEADS for override in overrides):
        return []
    try:
        metadata = open_project(project)
    except ProjectError:
        return []  # raised when the tree is resolved
    present = {UNIQUE_BODYPART: metadata.unique_bodyparts, IDENTITY: metadata.with_identity}
    heads = [head for head, there in present.items() if there]
    return [Override(HEADS, heads)] if heads else []


def _project(overrides: Sequence[Override], config_dir: Path | None) -> str:
    """Return the project that the overrides, or an overlay among them, name; else the demo."""
    given = [str(override.value) for override in overrides if override.key == "project"]
    if given:
        return given[-1]
    overlay = _last(overrides, "experiment")
    for name in overlay if isinstance(overlay, list) else [overlay]:
        for folder in (conf_folder(), *([config_dir] if config_dir else [])):
            with suppress(ProjectError):  # reported by Hydra
                file = folder / "experiment" / f"{name}.yaml"
                project = read_option(file, "experiment").values.get("project")
                if isinstance(project, str) and "${" not in project:
                    return project
    return DEMO


def _last(overrides: Iterable[Override], key: str) -> Any:
    """Return the value that overrides give to a key; None if they do not."""
    return next((each.value for each in reversed([*overrides]) if each.key == key), None)
