"""Everything that knows DeepLabCut's files: project, labels, shuffles, configuration, snapshots."""

from collections.abc import Mapping
from typing import Any

from dlcexp.deeplabcut.export import export_config


def export(tree: Mapping[str, Any]) -> str:
    """Return the resolved tree as a `pytorch_config.yaml`, in the form `export.schema`.

    Unlike that of `dlcexp export` it has no comment on how it was made, which a tree does not know.
    """
    return export_config(tree, schema=tree["export"]["schema"])
