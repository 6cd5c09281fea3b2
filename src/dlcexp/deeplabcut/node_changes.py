"""One node of a tree and of a file of DeepLabCut's, as changes at and below its place."""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dlcexp.config.overrides import Override, can_name
from dlcexp.deeplabcut.class_names import LR_LIST, kind_at
from dlcexp.errors import ConfigError
from dlcexp.trees import ABSENT, same, select


def node_changes(
    path: str, wanted: Any, shown: Any, raw: DictConfig, tree: dict[str, Any]
) -> Iterator[Override]:
    """Changes at and below one place of the tree.

    Args:
        path: the place.
        wanted: what the file has, with `type` for `_target_`.
        shown: what the export has.
    """
    if same(wanted, shown):
        return
    node = select(tree, path)
    exists = select(tree, path, ABSENT) is not ABSENT
    both = isinstance(wanted, Mapping) and isinstance(node, Mapping) and bool(node)
    if both and not OmegaConf.is_interpolation(*parent(raw, path)):
        yield from _mapping_changes(path, wanted, shown, raw, tree)
        return
    if _alike_lists(wanted, shown) and isinstance(node, list):
        inner = [
            change
            for index, (one, other) in enumerate(zip(wanted, shown, strict=True))
            for change in node_changes(f"{path}.{index}", one, other, raw, tree)
        ]
        if all(not change.prefix for change in inner):
            yield from inner
            return
    yield Override(path, _targeted(wanted, path), "" if exists else "+")


def _mapping_changes(
    path: str, wanted: Mapping[str, Any], shown: Any, raw: DictConfig, tree: dict[str, Any]
) -> Iterator[Override]:
    node = select(tree, path)
    shown = shown if isinstance(shown, Mapping) else {}
    for name, value in wanted.items():
        key = "_target_" if name == "type" and ("_target_" in node or "type" not in node) else name
        full = f"{path}.{key}"
        if not can_name(full):
            raise ConfigError(full, f"{name!r} cannot be the name of a key.")
        if key == "_target_":
            if shown.get("type") != value:
                target = _target(str(value), path)
                yield Override(full, target, "" if "_target_" in node else "+")
        elif name not in shown and name in node and same(value, node[name]):
            continue
        else:
            yield from node_changes(full, value, shown.get(name, node.get(name)), raw, tree)
            if name not in shown and name not in node and value is None:
                yield Override(full, None, "+")
    for name in shown:
        # Hydra cannot delete a null, which goes without saying.
        if name not in wanted and name != "type" and node.get(name) is not None:
            yield Override(f"{path}.{name}", prefix="~")


def parent(raw: DictConfig, path: str) -> tuple[Any, Any]:
    """Node and key for `OmegaConf.is_interpolation`."""
    parent, _, name = path.rpartition(".")
    node = OmegaConf.select(raw, parent) if parent else raw
    return node, (int(name) if OmegaConf.is_list(node) else name)


def _alike_lists(wanted: Any, shown: Any) -> bool:
    return (
        isinstance(wanted, list)
        and isinstance(shown, list)
        and len(wanted) == len(shown)
        and all(
            isinstance(one, Mapping) and isinstance(other, Mapping) and one.keys() == other.keys()
            for one, other in zip(wanted, shown, strict=True)
        )
    )


def _targeted(value: Any, path: str) -> Any:
    """The value with `_target_` where a node of the file has `type`."""
    if isinstance(value, Mapping):
        node = {name: _targeted(item, f"{path}.{name}") for name, item in value.items()}
        if "type" in node and (kind := kind_at(path)):
            name = str(node.pop("type"))
            partial = {"_partial_": True} if kind.package.startswith("torch.optim") else {}
            return {"_target_": _target(name, path), **partial, **node}
        return node
    if isinstance(value, list):
        return [_targeted(item, f"{path}.{index}") for index, item in enumerate(value)]
    return value


def _target(name: str, path: str) -> str:
    """Return the full path of the class that a file names at a path of the tree."""
    if name == LR_LIST.rpartition(".")[2]:
        return LR_LIST
    kind = kind_at(path)
    return f"{kind.package}.{name}" if kind else name
