"""Everything that knows DeepLabCut's files: project, labels, shuffles, configuration, snapshots."""

from collections.abc import Mapping
from typing import Any

from dlcexp.deeplabcut.export import export_config


def export(tree: Mapping[str, Any]) -> str:
    """Return the resolved tree as a `pytorch_config.yaml`, in the form `export.schema`.

    The text has no comment on how it was made, as that of `dlcexp export` has: a tree does not
    know the overrides that it was composed from, and may have been changed since.
    """
    return export_config(tree, schema=tree["export"]["schema"])
