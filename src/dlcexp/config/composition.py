"""From override strings to a validated tree, and from Hydra's errors to messages one can act on."""

import copy
import logging
import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from dlcexp.config import resolvers
from dlcexp.config.imports import with_imports
from dlcexp.config.schedules import late_milestones
from dlcexp.config.validation import DETECTOR_KEYS, check_keys, check_tree, needs_top_down
from dlcexp.config.weights import check_weights_file
from dlcexp.errors import ConfigError, ProjectError, UserError, nearest

logger = logging.getLogger(__name__)

CONFIG_MODULE = "dlcexp.conf"
CONFIG_NAME = "config"

# The group of heads beside that of the bodyparts.
HEADS = "model/heads"

# Groups whose options choose those of other groups.
OVERLAYS = ("method", "net_type", "experiment")


def compose(*overrides: str, config_dir: Path | None = None) -> DictConfig:
    """Compose an experiment from overrides as on the command line, validate and resolve it.

    Args:
        overrides: such as `"net_type=dekr_w32"`, `"batch_size=4"`.
        config_dir: a folder with options of your own, beside those that come with dlcexp.

    Returns:
        The resolved tree; `dlcexp.build(cfg.model)` and `dlcexp.train(cfg)` take it from here.

    Raises:
        ConfigError: names the key, its value, what is allowed and the nearest match.
        ProjectError: the project cannot be read.
    """
    return compose_run(overrides, config_dir)[0]


def compose_run(
    overrides: Sequence[str], config_dir: Path | None = None
) -> tuple[DictConfig, Path]:
    """The validated tree, and the run folder that Hydra's settings give it."""
    raw = compose_raw(overrides, config_dir)
    try:
        folder = Path(raw.hydra.run.dir)
        tree = validated(without_hydra(raw))
        if tree.resume == "never" or not (folder / "snapshots" / "last.ckpt").is_file():
            check_weights_file(tree.weights.path)
    except OmegaConfBaseException as error:
        raise _readable(error, raw) from error
    return tree, folder


def without_hydra(raw: DictConfig) -> DictConfig:
    """The experiment alone, without Hydra's own settings."""
    return OmegaConf.masked_copy(raw, [str(key) for key in raw if key != "hydra"])


def validated(tree: DictConfig) -> DictConfig:
    """Resolve and check a composed tree, every pass of `dlcexp.config.validation`.

    What is allowed and of no use is logged as a warning.
    """
    checked = _checked(tree)
    for warning in late_milestones(checked):
        logger.warning("%s", warning)
    return checked


def _checked(tree: DictConfig) -> DictConfig:
    plain = check_keys(resolve(tree))
    check_tree(plain)
    return DictConfig(plain)


def resolve(tree: DictConfig) -> dict[str, Any]:
    """Plain containers with every interpolation filled in.

    Raises:
        ConfigError: an interpolation to nothing, or a mandatory value that is missing.
    """
    try:
        container = OmegaConf.to_container(tree, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise _readable(error, tree) from error
    if not isinstance(container, dict):
        raise ConfigError("", "the tree is not a mapping.")
    return {str(name): value for name, value in container.items()}


def modified(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """A resolved tree, such as that of a finished run, with overrides put on top, validated.

    A group choice (`split=kfold`, `optimizer@detector.optimizer=sgd`) takes the place of the
    whole node.

    Raises:
        ConfigError: as `compose`, and for a group that chooses the options of others.
    """
    tree = copy.deepcopy(cfg)
    OmegaConf.set_readonly(tree, False)
    known_groups = groups()
    choices = [word for word in overrides if group_of(word) in known_groups]
    values = [word for word in overrides if word not in choices]
    for group in map(group_of, choices):
        if group in OVERLAYS:
            raise ConfigError(group, "cannot change in a finished run; start a new one with it.")
    if choices:
        common = [f"method={tree.method}", f"project={quoted(tree.project)}"]
        composed = without_hydra(compose_raw([*common, *choices]))
        for place in {place_of(word) for word in choices}:
            OmegaConf.update(tree, place, OmegaConf.select(composed, place), merge=False)
    OmegaConf.set_struct(tree, True)
    for word in values:
        _put(tree, word)
    return _checked(tree)


def _put(tree: DictConfig, word: str) -> None:
    """Change a tree in place by an override of a key."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException as error:
        raise _unreadable(word) from error
    key = override.key_or_group
    if override.is_sweep_override():
        raise ConfigError(key, f"{word!r} has several values, and a finished run takes one.")
    adds = override.is_add() or override.is_force_add()
    missing = None if adds else _missing_key(tree, key, override.value())
    if missing:
        raise missing
    parent, _, name = key.rpartition(".")
    try:
        with open_dict(tree):
            if override.is_delete():
                del (OmegaConf.select(tree, parent) if parent else tree)[name]
            else:
                OmegaConf.update(tree, key, override.value(), merge=True, force_add=adds)
    except (OmegaConfBaseException, TypeError, AttributeError, ValueError) as error:
        raise _readable(error) from error


def _unreadable(word: str) -> ConfigError:
    return ConfigError("", f"cannot read the override {word!r}; the form is key=value.")


def group_of(word: str) -> str:
    """The group of an override such as `optimizer@detector.optimizer=sgd`."""
    return key_of(word).partition("@")[0]


def key_of(word: str) -> str:
    """What an override is about, whether it sets (`key=`), adds (`+`, `++`) or deletes (`~`)."""
    return word.partition("=")[0].lstrip("+~")


def place_of(word: str) -> str:
    """The node that a group choice fills: the package after `@`, or that of the outermost group."""
    group, _, package = key_of(word).partition("@")
    return package or group.partition("/")[0]


def compose_raw(
    overrides: Sequence[str], config_dir: Path | None = None, packaged: Path | None = None
) -> DictConfig:
    """The tree as Hydra composes it, unresolved, with its `hydra` node.

    Args:
        overrides: as on the command line.
        config_dir: a folder with options of the user's own.
        packaged: a copy of `conf/` to take instead of that of dlcexp.

    Raises:
        ConfigError: an override that Hydra refuses, in our words.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir, initialize_config_module
    from hydra.core.utils import setup_globals
    from hydra.errors import HydraException

    overrides = with_imports(overrides)
    resolvers.register()
    setup_globals()
    settings = [f"hydra.searchpath=[{config_dir.resolve().as_uri()}]"] if config_dir else []
    initialized = (
        initialize_config_dir(str(packaged.resolve()), version_base="1.3", job_name="dlcexp")
        if packaged
        else initialize_config_module(CONFIG_MODULE, version_base="1.3", job_name="dlcexp")
    )
    with initialized:
        try:
            words = [*settings, *expand(overrides, config_dir)]
            return hydra_compose(CONFIG_NAME, words, return_hydra_config=True)
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise _diagnose(overrides, error, config_dir) from error


def expand(overrides: Iterable[str], config_dir: Path | None = None) -> list[str]:
    """Overrides as Hydra can take them: short forms in full, what fits the project.

    `group=null` means `group=none`, and `weights=PATH` means `weights.path=PATH`.

    Hydra picks options before it knows the project. What a net type means in that project, and
    which heads its model has beside the bodyparts, is therefore put into words here. The project
    may also stand in an overlay, `experiment=`, of a folder that `config_dir` or a flag names.
    """
    overrides = [word for word in map(_null_means_none, with_imports(overrides)) if word]
    overrides = [*map(_weights_in_full, overrides)]
    for word in overrides:
        _check_form(word)
    projects = _projects(overrides, config_dir)
    return [*_fitting_net_types(overrides, projects), *_heads_of_project(overrides, projects)]


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
    from dlcexp.deeplabcut.project import open_project

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
            found.append(Path(value if equals else following).expanduser())
    return found


def _project_in(file: Path) -> str | None:
    """The project that an overlay sets; what cannot be read, Hydra will tell."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    project = content.get("project") if isinstance(content, dict) else None
    return project if isinstance(project, str) and "${" not in project else None


def quoted(value: Any) -> str:
    """A value as Hydra's overrides take it, whatever characters it has."""
    escaped = str(value).replace("\\", "/").replace("'", "\\'")
    return str(value) if isinstance(value, int) else f"'{escaped}'"


def check_choices(words: Iterable[str]) -> None:
    """Check the options of every group choice among overrides, those of a sweep too.

    Raises:
        ConfigError: a group has no such option among those that come with dlcexp.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if any(word.partition("=")[0] in ("--config-dir", "-cd") for word in words):
        return  # there may be options of the user's own
    known_groups = groups()
    for word in words:
        if group_of(word) not in known_groups:
            continue
        try:
            override = OverridesParser.create().parse_override(word)
            swept = override.is_sweep_override() and not override.is_discrete_sweep()
        except HydraException:
            continue  # Hydra says what it cannot read
        if swept:
            continue
        values = override.sweep_iterator() if override.is_sweep_override() else [override.value()]
        for value in values:
            name = value if isinstance(value, list) else str(value)
            if problem := _wrong_option(group_of(word), name):
                raise problem


def _check_form(word: str) -> None:
    """Refuse a choice of what is no option, and a group choice in the form of a key."""
    name, _, value = word.partition("=")
    if not key_of(word):
        raise _unreadable(word)
    if group_of(word) in groups() and name[:1] in "+~":
        plain = key_of(word)
        raise _wrong_option(group_of(word), value) or ConfigError(
            plain, f"{word!r} cannot be; each group has one option. Write {plain}={value}."
        )
    if group_of(word) in groups() and value.startswith("_"):
        raise _wrong_option(group_of(word), value) or ConfigError(name, f"{value!r}")
    if group_of(word) in groups() and re.search(r"\[.*[\[{]", value):
        raise ConfigError(name, f"{value!r} is no list of options, such as [csv,wandb].")
    if name in ("detector.optimizer", "detector.scheduler") and re.fullmatch(r"\w+", value):
        group = name.rpartition(".")[2]
        raise ConfigError(name, f"{value!r} is an option of a group: {group}@{name}={value}")


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


def _weights_in_full(word: str) -> str:
    """`weights=PATH` means `weights.path=PATH`; any module may be a key of `weights.lr_scale`."""
    if word.startswith("weights=") and not word.startswith("weights={"):
        return f"weights.path={word.removeprefix('weights=')}"
    return f"++{word}" if word.startswith(("weights.lr_scale", "weights={")) else word


def _values_of(key: str, overrides: Iterable[str], default: str) -> list[str]:
    """The values that a plain override or a simple sweep gives to a key; the last one counts."""
    given = [word.partition("=")[2] for word in overrides if word.startswith(f"{key}=")]
    return given[-1].split(",") if given else [default]


def _is_multianimal(projects: list[str]) -> bool:
    from dlcexp.deeplabcut.project import open_project

    answers = {open_project(project).multianimal for project in projects}
    if len(answers) > 1:
        raise ConfigError(
            "net_type",
            "means heatmaps in a single-animal project and part-affinity fields in a multi-animal "
            "one, and the sweep has both. Choose with model=heatmap or model=paf.",
        )
    return True in answers


def options(group: str) -> list[str]:
    """The options of a config group, such as `optimizer`, that come with dlcexp.

    A file whose name begins with an underscore is what the others share, not an option.
    """
    folder = Path(conf_folder(), *group.split("/"))
    return sorted(path.stem for path in folder.glob("[!_]*.yaml"))


@cache
def groups() -> tuple[str, ...]:
    """Every config group that comes with dlcexp, in the order of its path."""
    root = conf_folder()
    folders = (path.parent.relative_to(root).as_posix() for path in root.rglob("*.yaml"))
    own = (folder for folder in folders if folder.partition("/")[0] != "hydra")
    return tuple(sorted(set(own) - {".", "net_type/multi_animal"}))


def conf_folder() -> Path:
    """Where the options that come with dlcexp are."""
    return Path(str(resources.files(CONFIG_MODULE)))


def _readable(error: BaseException, tree: DictConfig | None = None) -> UserError:
    """A message of ours for an error while the tree is resolved."""
    # OmegaConf cuts the chain of causes; the message still names the class of the first.
    first = str(error).splitlines()[0]
    key = str(getattr(error, "full_key", None) or "")
    raised = re.match(r"(\w+) raised while resolving interpolation: (.*)", first)
    if raised and raised[1] == ProjectError.__name__:
        return ProjectError(raised[2])
    if raised and raised[1] in (ConfigError.__name__, UserError.__name__):
        own_key, _, message = raised[2].partition(": ")
        return ConfigError(own_key, message)
    if isinstance(error, MissingMandatoryValue):
        return ConfigError(key, "must be given; it has no default.")
    return ConfigError(
        key, _of_interpolation(key, raised[2].strip("\"'") if raised else first, tree)
    )


def _of_interpolation(key: str, problem: str, tree: DictConfig | None) -> str:
    """What is wrong with the value at `key`, an interpolation that cannot be filled in."""
    if tree is None or not key:
        return problem
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(tree, parent, throw_on_resolution_failure=False) if parent else tree
    raw = OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else {}
    value = raw.get(name) if isinstance(raw, dict) else None
    missing = re.fullmatch(r"Interpolation key '(.+)' not found", problem)
    if missing is None:
        return f"{value!r}: {problem}." if value is not None else problem
    keys = _all_keys(OmegaConf.to_container(tree, resolve=False))
    hint = nearest(missing[1], keys)
    return f"{value!r} leads to nothing: there is no key {missing[1]!r}.{hint}"


def _all_keys(node: Any, path: str = "") -> list[str]:
    """Every dotted key of a plain tree."""
    if not isinstance(node, dict):
        return []
    keys = []
    for name, child in node.items():
        full = f"{path}.{name}" if path else str(name)
        keys += [full, *_all_keys(child, full)]
    return keys


def _diagnose(
    overrides: Sequence[str], error: BaseException, config_dir: Path | None = None
) -> UserError:
    """Find the override that Hydra stumbled over and say what would have been right."""
    if isinstance(error, UserError):
        return error
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    known_groups = groups()
    parser = OverridesParser.create()
    for word in map(_weights_in_full, overrides):
        try:
            override = parser.parse_override(word)
        except HydraException:
            return _unreadable(word)
        if override.is_sweep_override():
            return ConfigError(override.key_or_group, "several values are a sweep; add -m.")
        if (
            config_dir
            and Path(config_dir, override.key_or_group, f"{override.value()}.yaml").is_file()
        ):
            continue  # an option of the user's own
        if override.key_or_group in known_groups:
            problem = _wrong_option(override.key_or_group, override.value())
            if override.key_or_group not in OVERLAYS:
                problem = problem or _wrong_place(word, override.value(), overrides)
        elif override.is_delete():
            problem = _cannot_delete(override.key_or_group, override.value(), overrides)
        elif override.is_add():
            problem = _cannot_add(override.key_or_group, word, overrides)
        elif override.is_force_add():
            continue
        else:
            problem = _unknown(override.key_or_group, override.value(), known_groups, overrides)
        if problem:
            return problem
    return ConfigError("", str(error))


def _cannot_add(key: str, word: str, overrides: Sequence[str]) -> ConfigError | None:
    """An error if the key to add is there already."""
    tree = _choices_alone(overrides)
    if tree is None or _missing_key(tree, key, None):
        return None
    found = OmegaConf.select(tree, key, throw_on_resolution_failure=False)
    return ConfigError(key, f"it is there already, {found!r}. Write '{word.lstrip('+')}'.")


def _cannot_delete(key: str, value: Any, overrides: Sequence[str]) -> ConfigError | None:
    """An error if there is no such key to delete, or it has another value than the one given."""
    tree = _choices_alone(overrides)
    if tree is None:
        return None
    problem = _missing_key(tree, key, None)
    if problem is None and value is not None:
        found = OmegaConf.select(tree, key, throw_on_resolution_failure=False)
        if found != value:
            return ConfigError(key, f"it is {found!r} and not {value!r}. Write '~{key}'.")
    return problem


def _wrong_option(group: str, value: Any) -> ConfigError | None:
    known = options(group)
    chosen = value if isinstance(value, list) else [value]
    for name in chosen:
        name = "null" if name is None else name
        if str(name) not in known and not str(name).startswith("multi_animal/"):
            hint = nearest(str(name), known)
            return ConfigError(group, f"{name!r} is not one of {', '.join(known)}.{hint}")
    return None


def _wrong_place(word: str, value: Any, overrides: Sequence[str]) -> ConfigError | None:
    """An error if a group choice fills a node that the tree of the other choices does not have."""
    key, place = word.partition("=")[0], place_of(word)
    others = [w for w in overrides if w != word and not place_of(w).startswith(DETECTOR_KEYS)]
    tree = _choices_alone(others)
    if tree is None:
        return None
    usual = place in (group_of(word).partition("/")[0], f"detector.{group_of(word)}")
    if usual and OmegaConf.select(tree, place) is not None:
        return None
    top = place.partition(".")[0]
    if top in DETECTOR_KEYS and top not in tree:
        return needs_top_down(key, value, tree["method"])
    group = group_of(word)
    allowed = [group, f"{group}@detector.{group}"] if "@" in key else [group]
    return ConfigError(key, f"{value!r} cannot stand at {place!r}. Allowed: {', '.join(allowed)}.")


def _unknown(
    key: str, value: Any, known_groups: Sequence[str], overrides: Sequence[str]
) -> ConfigError | None:
    """An error if the tree that the group choices alone compose has no such key."""
    tree = _choices_alone(overrides, with_hydra=key.startswith("hydra"))
    return None if tree is None else _missing_key(tree, key, value, known_groups)


def _choices_alone(overrides: Sequence[str], *, with_hydra: bool = False) -> DictConfig | None:
    """The tree that the group choices among `overrides` compose, None if they cannot."""
    from hydra import compose as hydra_compose
    from hydra.errors import HydraException

    known_groups = groups()
    choices = [word for word in expand(overrides) if group_of(word) in known_groups]
    try:
        return hydra_compose(CONFIG_NAME, choices, return_hydra_config=with_hydra)
    except (HydraException, ValueError):
        return None


def _missing_key(
    tree: DictConfig, key: str, value: Any, others: Sequence[str] = ()
) -> ConfigError | None:
    """An error that names the first part of `key` that the tree does not have, if there is one."""
    parts, path, node = key.split("."), "", tree
    if parts[0] in DETECTOR_KEYS and not tree.get(parts[0]):
        return needs_top_down(key, value, tree["method"])
    given = "" if value is None else f" (the value given was {value!r})"
    for part in parts:
        names = [str(name) for name in node] if OmegaConf.is_dict(node) else []
        if part not in names:
            candidates = [*names, *others] if not path else names
            allowed = f" {path} has {', '.join(names)}." if path and names else ""
            deeper = [f"{path}.{n}.{part}" for n in names if path and _holds(node, n, part)]
            hint = f" Did you mean {deeper[0]!r}?" if deeper else nearest(part, candidates)
            return ConfigError(key, f"there is no such key{given}.{allowed}{hint}")
        path = f"{path}.{part}" if path else part
        node = OmegaConf.select(tree, path)
    return None


def _holds(node: Any, name: str, part: str) -> bool:
    """Whether the mapping at `name` in a node has the key `part`."""
    inner = OmegaConf.select(node, name, throw_on_resolution_failure=False)
    return OmegaConf.is_dict(inner) and part in inner
