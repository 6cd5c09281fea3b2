"""The data of an experiment: project, labels, split, and the loaders made of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import cv2
import torch
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import DataLoader, get_worker_info

from dlcexp.config import build
from dlcexp.config.menu import Section, effective_menu, parse_bytes
from dlcexp.data.augmentation import build_pipeline
from dlcexp.data.cache import shared_cache
from dlcexp.data.collation import build_collate
from dlcexp.data.dataset import Failure, PoseDataset
from dlcexp.data.sampling import EpochSampler
from dlcexp.data.splits import Split
from dlcexp.deeplabcut.labels import load_labels
from dlcexp.deeplabcut.project import open_project
from dlcexp.errors import UserError


class PoseLoader(DataLoader[Any]):
    """A DataLoader that raises a user's mistake as such, without the traceback of a worker."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for batch in super().__iter__():
            if isinstance(batch, Failure):
                raise UserError(batch.message)
            yield batch


class PoseData:
    """The labelled frames of an experiment.

    Args:
        cfg: the resolved tree.

    Attributes:
        project, labels, split: what the project holds, and which frames train and which test.

    Raises:
        ProjectError: a project that is missing or contradicts itself.
        ConfigError: a split or an augmentation that cannot be built.
    """

    def __init__(self, cfg: DictConfig) -> None:
        tree: Any = OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg
        self.tree: dict[str, Any] = tree
        self.project = open_project(_source(tree["project"]))
        self.labels = load_labels(self.project)
        self.split: Split = build(tree["split"], key="split")(self.labels, self.project)
        self.cache = shared_cache(parse_bytes(tree["data"].get("cache") or 0))

    def frames(self, split: Literal["train", "test"]) -> PoseDataset:
        """The frames of a split as the model sees them when it is applied."""
        return self._dataset(getattr(self.split, split), "inference")

    def train_loader(self, rank: int = 0, world_size: int = 1) -> PoseLoader:
        """Augmented batches of the training frames; its `sampler.set_epoch` chooses the epoch.

        Args:
            rank, world_size: which of how many processes asks; `batch_size` is that of each.
        """
        tree, trainer = self.tree, self.tree["trainer"]
        dataset = self._dataset(self.split.train, "train")
        if trainer["num_workers"]:
            # Workers keep to one core each. Said here and not in the worker: OpenCV's thread pool
            # does not survive a fork, and there this call can wait for its threads for ever.
            cv2.setNumThreads(1)
        return PoseLoader(
            dataset,
            batch_size=tree["batch_size"],
            sampler=EpochSampler(len(dataset), tree["seed"], rank, world_size),
            collate_fn=build_collate(
                effective_menu(tree["data"], "train").get("collate"),
                seed=tree["seed"],
                with_center_keypoints=tree["with_center_keypoints"],
            ),
            num_workers=trainer["num_workers"],
            persistent_workers=trainer["num_workers"] > 0,
            pin_memory=trainer["pin_memory"],
            worker_init_fn=_start_worker,
            # Its own generator: iterating must not move torch's global random numbers.
            generator=torch.Generator().manual_seed(tree["seed"]),
        )

    def _dataset(self, indices: tuple[int, ...], section: Section) -> PoseDataset:
        data = self.tree["data"]
        pipeline = build_pipeline(
            effective_menu(data, section),
            bodyparts=self.project.bodyparts,
            unique_bodyparts=self.project.unique_bodyparts,
            training=section == "train",
            colormode=data.get("colormode", "RGB"),
        )
        return PoseDataset(
            self.labels,
            indices,
            pipeline,
            with_center_keypoints=self.tree["with_center_keypoints"],
            seed=self.tree["seed"],
            cache=self.cache,
            bbox_margin=data.get("bbox_margin", 20),
        )


def _source(project: str) -> str | Path:
    """Where the project is; `demo` is drawn when it is first asked for."""
    if project != "demo":
        return project
    from dlcexp.data.demo import demo_project

    return demo_project()


def _start_worker(_: int) -> None:
    """Workers share the memory for images among them."""
    worker: Any = get_worker_info()
    worker.dataset.cache.share_out(worker.num_workers)
