"""Every mistake in a composed tree, found before anything is built.

Three passes over the plain tree: keys, types and limits against the schema; keywords of every
target against its signature; combinations of keys that make no sense together. Each check raises a
`ConfigError` with the full key, its value, what is allowed and the nearest match, or `Mistakes`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from dlcexp.config.augmentation_checks import check_batchable, validate_data
from dlcexp.config.augmentation_keys import SECTIONS
from dlcexp.config.build import (
    allowing,
    bind,
    build,
    check_target,
    check_targets,
    find_class,
)
from dlcexp.config.model_checks import (
    DETECTOR_KEYS,
    check_combinations,
    check_needs,
    needs_top_down,
)
from dlcexp.config.schema import PREDICTION_FILES, TREE
from dlcexp.config.value_types import number
from dlcexp.errors import ConfigError, nearest, run_checks
from dlcexp.files import expanded, names_in
from dlcexp.hub import ADDRESS
from dlcexp.project.superanimal import SUPERANIMALS
from dlcexp.vocabulary import BACKBONE_STARTS, TREE_FILE
from dlcexp.yaml_files import read_yaml


def check_keys(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Check keys, types and limits of a plain, resolved tree; imports nothing heavy.

    Returns:
        The tree with its values converted to the types of the schema, in the schema's order.
    """
    for name in DETECTOR_KEYS:
        if tree.get(name) and tree.get("method") in ("bu", "ctd"):
            raise needs_top_down(name, tree[name], tree["method"])
    given = {**tree, "weights": weights_node(tree.get("weights"))}
    checked: dict[str, Any] = TREE.read(given, "", convert=True)
    check_conditions(checked["conditions"], checked["method"])
    for node in (checked, checked["detector"] or {}):
        node["scheduler"] = node.get("scheduler") or None  # scheduler=none is an empty option
    metadata, method = checked["metadata"], checked["method"]
    bodyparts = [*metadata["bodyparts"], *metadata["unique_bodyparts"]]
    validate_data(checked["data"], bodyparts, method=method)
    if method == "td":
        for name in DETECTOR_KEYS:
            if checked[name] is None:
                raise ConfigError(name, "must be given with method=td.")
        validate_data(checked["data_detector"], bodyparts, method=method, key="data_detector")
    return checked


def check_tree(tree: Mapping[str, Any]) -> None:
    """Check the targets and the combinations of a tree that passed `check_keys`; imports torch."""
    check_combinations(tree)
    check_modules(tree["weights"], tree["model"])
    check_nodes(tree)
    with allowing(tree["allow_targets"]):
        check_needs(tree)
    recipe = tree["model"]["backbone"].get("recipe") or {}
    check_batchable(tree["data"], recipe.get("padding") or 1)


def check_nodes(tree: Mapping[str, Any]) -> None:
    """Check every target of a tree against its signature, and schedules; imports torch."""
    detector = tree["detector"] or {}
    run_checks(*_targets_needed(tree, detector))
    with allowing(tree["allow_targets"]):
        parts = ("model", "optimizer", "scheduler")
        nodes = {part: tree[part] for part in (*parts, "logger")}
        nodes |= {f"detector.{part}": detector.get(part) for part in parts}
        for data in ("data", "data_detector"):
            nodes |= {f"{data}.{menu}": (tree[data] or {}).get(menu) for menu in SECTIONS}
        run_checks(
            *(partial(check_targets, node, key) for key, node in nodes.items()),
            partial(check_callbacks, tree),
            # A split costs nothing to build, and knows its limits.
            partial(build, tree["split"], key="split"),
            partial(check_schedule, tree["scheduler"], "scheduler"),
            partial(check_schedule, detector.get("scheduler"), "detector.scheduler"),
        )


def _targets_needed(
    tree: Mapping[str, Any], detector: Mapping[str, Any]
) -> Iterator[Callable[[], None]]:
    """Yield a check for each node that must name its class."""
    needed = {name: tree[name] for name in ("optimizer", "split")}
    parts = ("model", "optimizer", "scheduler")
    needed |= {f"detector.{name}": detector[name] for name in parts if detector.get(name)}
    needed |= {"scheduler": tree["scheduler"]} if tree["scheduler"] else {}
    for key, node in needed.items():
        yield partial(check_target, node, key, f"Choose one with {key}=.")
    for name, node in tree["logger"].items():
        yield partial(
            check_target, node, f"logger.{name}", f"To remove it, write '~logger.{name}'."
        )


CONDITIONS = TREE["conditions"]


def check_conditions(conditions: Any, method: str) -> None:
    """Check the key `conditions` of a tree.

    A shuffle is looked up where it is needed: an export may name one that is yet to be made.
    """
    if conditions is None:
        return
    if method != "ctd":
        raise ConfigError(
            "conditions",
            f"{conditions!r} is for a model that corrects poses, and method={method} finds them "
            "itself. Add method=ctd.",
        )
    if isinstance(CONDITIONS.read(conditions, "conditions"), int):
        return
    path = expanded(conditions)
    if not path.exists():
        hint = nearest(path.name, names_in(path.parent))
        raise ConfigError("conditions", f"there is no {conditions!r}.{hint}")
    if path.is_dir():
        _check_run(path, conditions)
    elif path.suffix.lower() not in PREDICTION_FILES:
        raise ConfigError(
            "conditions", f"{conditions!r} is not allowed. Allowed: {CONDITIONS.text}."
        )


def _check_run(folder: Path, conditions: str) -> None:
    """A folder is that of a run whose model finds poses itself, and all of them."""
    config = folder / TREE_FILE
    run = read_yaml(config) if config.is_file() else None
    if not isinstance(run, dict) or "method" not in run:
        problem = f"{conditions!r} is not a dlcexp run folder. Allowed: {CONDITIONS.text}."
        raise ConfigError("conditions", problem)
    if run["method"] != "bu":
        raise ConfigError(
            "conditions",
            f"{conditions!r} is a run of method={run['method']}; the poses to correct come from a "
            "bottom-up model, method=bu.",
        )


_PATH = "a snapshot, or a run or shuffle folder that has some"


# Values of `weights` in addition to files.
STARTS = (*BACKBONE_STARTS, *SUPERANIMALS)


def weights_node(value: Any) -> Any:
    """Return the node `weights` in its full form.

    A text is the path; one module to freeze needs no list; `lr_scale` is flat, by module path.
    """
    node = {"path": value} if isinstance(value, str) else value
    if not isinstance(node, Mapping):
        return {} if node is None else node
    given = dict(node)
    path = given.get("path")
    is_text = isinstance(path, str | int) and not isinstance(path, bool)
    if path is not None and not (is_text and str(path).strip()):
        raise ConfigError("weights.path", f"{path!r} is not allowed. Allowed: {_PATH}, or null.")
    if "freeze" in given:
        given["freeze"] = _names("weights.freeze", given["freeze"] or [])
    if "lr_scale" in given:
        given["lr_scale"] = _factors("weights.lr_scale", given["lr_scale"] or {})
    if given.get("bodyparts") is not None:
        given["bodyparts"] = _bodyparts(given["bodyparts"])
    return given


def check_weights_file(path: str | None) -> None:
    """Check that there is what `weights.path` names; only an experiment that begins needs it."""
    if path is None or path in STARTS or path.startswith(ADDRESS):
        return
    file = expanded(path)
    if not file.exists():
        names = ", ".join(STARTS)
        hint = nearest(path, STARTS) or nearest(file.name, names_in(file.parent))
        problem = f"there is no {path!r}. Allowed: {names}, {_PATH}, or a file of weights.{hint}"
        raise ConfigError("weights.path", problem)


def check_modules(weights: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """Check what `weights.freeze` and `weights.lr_scale` name, as far as the tree shows."""
    heads = [f"heads.{name}" for name in model.get("heads") or {}]
    parts = [name for name in ("backbone", "neck") if model.get(name)] + ["heads"]
    for key in ("freeze", "lr_scale"):
        for path in weights.get(key) or ():
            known = heads if path.startswith("heads.") else parts
            if not any(f"{path}.".startswith(f"{part}.") for part in known):
                raise ConfigError(
                    f"weights.{key}",
                    f"the network has no {path!r}; it has {', '.join([*parts, *heads])}, and what "
                    f"is inside of them.{nearest(path, [*parts, *heads])}",
                )
    frozen = {_short(path): path for path in weights.get("freeze") or ()}
    for path in weights.get("lr_scale") or ():
        around = [
            own for short, own in frozen.items() if f"{_short(path)}.".startswith(f"{short}.")
        ]
        if around:
            raise ConfigError(
                f"weights.lr_scale.{path}",
                f"has no effect together with weights.freeze={around[0]}, which keeps it as it is. "
                "Leave one of them out.",
            )


def _short(path: str) -> str:
    """A path without the `model` that may be left out of it, as in `find_module`."""
    return f"{path}.".replace(".model.", ".", 1).removesuffix(".")


def _names(key: str, value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(key, f"{value!r} is not allowed. Allowed: a name, or a list of names.")
    return names


def _bodyparts(value: Any) -> str | list[str]:
    key = "weights.bodyparts"
    if isinstance(value, str):
        if value not in SUPERANIMALS:
            raise ConfigError(
                key,
                f"{value!r} is not allowed. Allowed: a list of names, or one of "
                f"{', '.join(SUPERANIMALS)}.{nearest(value, SUPERANIMALS)}",
            )
        return value
    names = [str(name) for name in value] if isinstance(value, list) else _names(key, value)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(key, f"{twice!r} is named twice.")
    return names


def _factors(key: str, value: Any) -> dict[str, float]:
    """Factors by the path of their module, from a flat mapping or nested ones."""
    if not isinstance(value, Mapping):
        raise ConfigError(
            key, f"{value!r} is not allowed. Write a factor by module, as in {key}.backbone=0.1"
        )
    factors: dict[str, float] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            factors |= {f"{name}.{rest}": each for rest, each in _factors(key, item).items()}
        elif isinstance(item, bool) or not isinstance(item, int | float):
            raise ConfigError(f"{key}.{name}", f"{item!r} is not a number.")
        elif not (math.isfinite(item) and item > 0):
            raise ConfigError(
                f"{key}.{name}",
                f"{item!r} is not allowed. Allowed: a factor above 0; weights.freeze={name} keeps "
                "the module as it is.",
            )
        else:
            factors[str(name)] = float(item)
    return factors


EPOCH = number(0)


def check_schedule(node: Any, key: str) -> None:
    """Check the lists of a `scheduler` node, and of the schedules inside it."""
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
        if not all(map(EPOCH.accepts, milestones)):
            problem = (
                f"{milestones!r} is not allowed. Allowed: a list of epochs, such as [90, 120]."
            )
            raise ConfigError(f"{path}.milestones", problem)
        if milestones != sorted(milestones):
            raise ConfigError(f"{path}.milestones", f"{milestones!r} does not ascend.")


def late_milestones(tree: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each schedule in a checked tree with milestones after the end."""
    for prefix, stage in (("", tree), ("detector.", tree.get("detector") or {})):
        for path, schedule in _schedules(stage.get("scheduler"), f"{prefix}scheduler"):
            late = [m for m in schedule.get("milestones") or [] if m >= stage["epochs"]]
            if late:
                yield (
                    f"{path}.milestones: {', '.join(map(str, late))} of {schedule['milestones']} "
                    f"never come: training ends after {prefix}epochs={stage['epochs']}."
                )


def never_measured(tree: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence if the key metric of a checked tree does not exist in its project.

    A single point has no size, so that several animals of one bodypart have neither the similarity
    of mAP nor a pair to match.
    """
    metadata, metric = tree["metadata"], tree["trainer"]["key_metric"]
    several_points = metadata["num_bodyparts"] == 1 and metadata["num_individuals"] > 1
    if several_points and metric and "rmse_detections" not in metric:
        yield (
            f"trainer.key_metric={metric} is never measured, as the project has several animals "
            "with one bodypart each: the loss chooses the best snapshot. Set "
            "trainer.key_metric=val.rmse_detections."
        )


def for_deeplabcut_only(tree: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each setting of inference in a checked tree that has no effect here."""
    for name, instead in (
        ("compile", "predict.backend=onnx predicts with a network that was made ready once"),
        ("autocast", "predict.precision=bf16, or 16 on a GPU, predicts in mixed precision"),
    ):
        if ((tree.get("inference") or {}).get(name) or {}).get("enabled"):
            yield (
                f"inference.{name}.enabled=true is written for DeepLabCut and has no effect in "
                f"dlcexp: {instead}."
            )


def _schedules(node: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A schedule and those inside it, each with its key."""
    if not isinstance(node, Mapping):
        return
    yield key, node
    for index, inner in enumerate(node.get("schedulers") or []):
        yield from _schedules(inner, f"{key}.schedulers[{index}]")


def check_callbacks(tree: Mapping[str, Any]) -> None:
    """Check that each callback of a plain tree is one that this training loop can run."""
    batches = tree["trainer"]["accumulate_grad_batches"]
    run_checks(
        *(
            partial(_check_callback, node, batches, f"callbacks.{name}")
            for name, node in tree["callbacks"].items()
        )
    )


def _check_callback(node: Any, accumulate_grad_batches: int, key: str) -> None:
    check_target(node, key, f"To remove it, write '~{key}'.")
    if node.get("_partial_"):
        raise ConfigError(f"{key}._partial_", "true, but a callback is built whole.")
    from lightning.pytorch import callbacks

    cls = find_class(node["_target_"], f"{key}._target_")
    if not issubclass(cls, callbacks.Callback):
        raise ConfigError(f"{key}._target_", f"{cls.__name__} is not a Lightning callback.")
    for kind, remedy in _conflicts().items():
        if issubclass(cls, kind):
            raise ConfigError(f"{key}._target_", f"{cls.__name__} cannot be used here: {remedy}")
    check_targets(node, key)
    if issubclass(cls, callbacks.WeightAveraging):
        bind(node, key, only_named=True)  # it hands others to a class that takes functions alone
    if issubclass(cls, callbacks.GradientAccumulationScheduler) and accumulate_grad_batches != 1:
        raise ConfigError(
            "trainer.accumulate_grad_batches",
            f"{accumulate_grad_batches!r}, but {key} schedules it. Allowed with this callback: 1.",
        )


def _conflicts() -> dict[type, str]:
    """Lightning's callbacks that do what dlcexp does, or that no run could resume with."""
    from lightning.pytorch import callbacks

    return {
        callbacks.Checkpoint: (
            "snapshots and last.ckpt are written anyway. Set save_epochs, trainer.max_snapshots "
            "or trainer.key_metric."
        ),
        callbacks.EarlyStopping: "set trainer.early_stopping.patience.",
        callbacks.ProgressBar: "set trainer.progress_bar or trainer.display_iters.",
        callbacks.LearningRateMonitor: "every row of metrics.csv has the learning rates.",
        callbacks.DeviceStatsMonitor: "it logs each step, and dlcexp logs each epoch.",
        callbacks.BatchSizeFinder: "set batch_size, or sweep it.",
        callbacks.LearningRateFinder: "set optimizer.lr, or sweep it.",
        callbacks.BackboneFinetuning: "set weights.freeze and weights.lr_scale.",
        callbacks.StochasticWeightAveraging: (
            "it replaces the schedule, and averages after the last snapshot. Use callbacks=ema."
        ),
        callbacks.ModelPruning: "its masks are not in last.ckpt, so that no run could resume.",
        callbacks.SpikeDetection: "it cannot load its own state, so that no run could resume.",
    }
