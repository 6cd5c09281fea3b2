"""Jobs are composed once, by the sweep, from its own copy of the config folders.

Launchers of Hydra compose in the process that runs the job, minutes or days later. Here they get
a loader that composes nothing: a job is the folder in which its tree lies. A file that is edited
meanwhile therefore changes no job, whichever the launcher.
"""

import copy
from collections.abc import Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf, open_dict

from dlcexp.config.overrides import Override, parse_overrides
from dlcexp.results.ledger import Job

_SUBFOLDER = "hydra.sweep.subdir"


def launch_overrides(job: Job) -> list[str]:
    """Return the overrides with which a launcher runs a job."""
    return [Override(_SUBFOLDER, job.folder).text]


class FrozenLoader(ConfigLoader):
    """Hydra's loader for jobs that are composed already."""

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: Sequence[str]
    ) -> DictConfig:
        """Return Hydra's settings for a job: those of the sweep, and its folder."""
        config = copy.deepcopy(master_config)
        with open_dict(config):
            for override in parse_overrides(sweep_overrides):
                config.hydra.sweep.subdir = str(override.value)
            config.hydra.overrides.task = list(sweep_overrides)
        return config

    def load_configuration(self, *args: Any, **kwargs: Any) -> DictConfig:
        """Raise an error: everything is composed already."""
        raise NotImplementedError("the jobs of a sweep are composed before they are launched")

    get_search_path = get_sources = list_groups = load_configuration  # type: ignore[assignment]
    get_group_options = compute_defaults_list = load_configuration  # type: ignore[assignment]


def settled(master: DictConfig, folder: str) -> DictConfig:
    """Resolve Hydra's node of a composed tree, for a sweep into `folder`."""
    node = copy.deepcopy(master)
    OmegaConf.set_readonly(node, False)
    with open_dict(node):
        node.hydra.run.dir = "."
        node.hydra.sweep.dir = folder
        node.hydra.sweep.subdir = ""
    OmegaConf.resolve(node.hydra)
    return OmegaConf.create({"hydra": node.hydra})
