"""Overrides as Hydra can take them: short forms in full, what fits the project."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import yaml

from dlcexp.config.options import HEADS, conf_folder, groups, options, wrong_option
from dlcexp.config.overrides import group_of, key_of, unreadable
from dlcexp.errors import ConfigError, ProjectError
from dlcexp.files import expanded


def expand(overrides: Iterable[str], config_dir: Path | None = None) -> list[str]:
    """Overrides as Hydra can take them: short forms in full, what fits the project.

    `group=null` means `group=none`, and `weights=PATH` means `weights.path=PATH`.

    Hydra picks options before it knows the project. What a net type means in that project, and
    which heads its model has beside the bodyparts, is therefore put into words here. The project
    may also stand in an overlay, `experiment=`, of a folder that `config_dir` or a flag names.
    """
    overrides = [word for word in map(_null_means_none, overrides) if word]
    overrides = [*map(weights_in_full, overrides)]
    for word in overrides:
        _check_form(word)
    projects = _projects(overrides, config_dir)
    return [*_fitting_net_types(overrides, projects), *_heads_of_project(overrides, projects)]


def _null_means_none(word: str) -> str:
    """`group=null`, and `~group`, as the option that there is for it.

    Raises:
        ConfigError: a group that cannot be left out.
    """
    name, _, value = word.partition("=")
    place, group = key_of(word), group_of(word)
    if (value != "null" and not name.startswith("~")) or group not in groups():
        return word
    if group in ("net_type", "experiment"):
        return ""
    if group == HEADS:
        return f"{HEADS}=[]"
    known = options(group)
    if "none" not in known:
        raise ConfigError(
            place, f"{word!r} is not possible, it cannot be left out. Choose {', '.join(known)}."
        )
    return f"{place}=none"


def weights_in_full(word: str) -> str:
    """`weights=PATH` means `weights.path=PATH`; any module may be a key of `weights.lr_scale`."""
    if word.startswith("weights=") and not word.startswith("weights={"):
        return f"weights.path={word.removeprefix('weights=')}"
    return f"++{word}" if word.startswith(("weights.lr_scale", "weights={")) else word


def _check_form(word: str) -> None:
    """Refuse a choice of what is no option, and a group choice in the form of a key."""
    name, _, value = word.partition("=")
    if not key_of(word):
        raise unreadable(word)
    if group_of(word) in groups() and name[:1] in "+~":
        plain = key_of(word)
        raise wrong_option(group_of(word), value) or ConfigError(
            plain, f"{word!r} cannot be; each group has one option. Write {plain}={value}."
        )
    if group_of(word) in groups() and value.startswith("_"):
        raise wrong_option(group_of(word), value) or ConfigError(name, f"{value!r}")
    if group_of(word) in groups() and re.search(r"\[.*[\[{]", value):
        raise ConfigError(name, f"{value!r} is no list of options, such as [csv,wandb].")
    if name in ("detector.optimizer", "detector.scheduler") and re.fullmatch(r"\w+", value):
        group = name.rpartition(".")[2]
        raise ConfigError(name, f"{value!r} is an option of a group: {group}@{name}={value}")


def _fitting_net_types(overrides: list[str], projects: list[str]) -> list[str]:
    """Net types as they are meant in the project.

    DeepLabCut gives a plain name such as `hrnet_w32` heatmaps in a single-animal project and
    part-affinity fields in a multi-animal one; top-down it is always heatmaps:
    `net_type=hrnet_w32` becomes `net_type=multi_animal/hrnet_w32`.
    """
    chosen = [word for word in overrides if word.startswith("net_type=")]
    multi = options("net_type/multi_animal")
    if not any(name in re.split(r"[=,\s]", word) for word in chosen for name in multi):
        return overrides
    methods = _values_of("method", overrides, "bu")
    if methods == ["td"] or not _is_multianimal(projects):
        return overrides
    if "td" in methods:
        raise ConfigError(
            "net_type",
            "means part-affinity fields for method=bu and heatmaps for method=td in this project, "
            "and the sweep has both. Give the two as net_type=hrnet_w32,top_down_hrnet_w32.",
        )
    pattern = re.compile(rf"(?<![\w/])({'|'.join(map(re.escape, multi))})(?!\w)")
    return [
        pattern.sub(r"multi_animal/\1", word) if word.startswith("net_type=") else word
        for word in overrides
    ]


def _is_multianimal(projects: list[str]) -> bool:
    from dlcexp.project import open_project

    answers = {open_project(project).multianimal for project in projects}
    if len(answers) > 1:
        raise ConfigError(
            "net_type",
            "means heatmaps in a single-animal project and part-affinity fields in a multi-animal "
            "one, and the sweep has both. Choose with model=heatmap or model=paf.",
        )
    return True in answers


def _heads_of_project(overrides: Sequence[str], projects: list[str]) -> list[str]:
    """The choice of heads that the project asks for; none where the user chooses.

    Raises:
        ConfigError: a sweep over projects that ask for different heads.
    """
    if any(group_of(word) == HEADS for word in overrides):
        return []
    wanted = {project: _heads_of(project) for project in projects}
    if len(set(map(tuple, wanted.values()))) > 1:
        told = "; ".join(f"{p}: {', '.join(heads) or 'none'}" for p, heads in wanted.items())
        raise ConfigError(
            "project",
            f"the sweep's projects need different heads beside the bodyparts ({told}). "
            "Sweep over each kind on its own.",
        )
    heads = next(iter(wanted.values()), [])
    return [f"{HEADS}=[{','.join(heads)}]"] if heads else []


def _heads_of(project: str) -> list[str]:
    """The heads beside the bodyparts, in DeepLabCut's order."""
    from dlcexp.project import open_project

    try:
        metadata = open_project(project)
    except ProjectError:
        return []  # said when the tree is resolved
    present = {
        "unique_bodypart": bool(metadata.unique_bodyparts),
        "identity": bool(metadata.with_identity),
    }
    return [head for head, there in present.items() if there]


def _projects(overrides: Sequence[str], config_dir: Path | None) -> list[str]:
    """Every project that the overrides name; the demo where they name none."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Transformer
    from hydra.errors import HydraException

    given = [word for word in overrides if word.startswith("project=")]
    if not given:
        return _projects_of_overlays(overrides, config_dir)
    try:
        override = OverridesParser.create().parse_override(given[-1])
        if not override.is_sweep_override():
            return [str(override.value())]
        values = (
            override.sweep_iterator(Transformer.identity) if override.is_discrete_sweep() else ()
        )
        return [str(getattr(value, "text", value)) for value in values]  # text: without quotes
    except HydraException:
        return []  # Hydra says what it cannot read


def _projects_of_overlays(overrides: Sequence[str], config_dir: Path | None) -> list[str]:
    """The project of each overlay that is chosen; the demo where it has none of its own."""
    folders = [conf_folder(), *([config_dir] if config_dir else _config_dirs(overrides))]
    found = []
    for name in _values_of("experiment", overrides, ""):
        files = [folder / "experiment" / f"{name}.yaml" for folder in folders]
        there = (_project_in(file) for file in files if file.is_file())
        found.append(next((project for project in there if project), "demo"))
    return list(dict.fromkeys(found))


def _config_dirs(words: Sequence[str]) -> list[Path]:
    """The folders that flags among the words name."""
    found = []
    for word, following in pairwise([*words, ""]):
        flag, equals, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            found.append(expanded(value if equals else following))
    return found


def _project_in(file: Path) -> str | None:
    """The project that an overlay sets; what cannot be read, Hydra will tell."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    project = content.get("project") if isinstance(content, dict) else None
    return project if isinstance(project, str) and "${" not in project else None


def _values_of(key: str, overrides: Iterable[str], default: str) -> list[str]:
    """The values that a plain override or a simple sweep gives to a key; the last one counts."""
    given = [word.partition("=")[2] for word in overrides if word.startswith(f"{key}=")]
    return given[-1].split(",") if given else [default]
