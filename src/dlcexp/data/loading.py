"""The data of an experiment: project, labels, split, and the loaders made of them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch.utils.data import DataLoader, get_worker_info

from dlcexp.config.augmentation_keys import Section, effective_menu, parse_bytes
from dlcexp.config.build import build, plain
from dlcexp.data.augmentation import MOVES, build_pipeline, moves
from dlcexp.data.boxes import RandomBBoxTransform, ground_truth_boxes
from dlcexp.data.cache import ImageCache, shared_cache
from dlcexp.data.collation import PadCollate, ResizeCollate, build_collate
from dlcexp.data.conditional_crops import ConditionalCropDataset, Conditions
from dlcexp.data.crops import CropDataset, labelled_animals
from dlcexp.data.dataset import Failure, PoseDataset, SampleDataset
from dlcexp.data.gen_sampling import GenerativeSampler
from dlcexp.data.loading_processes import cores_for, pinned, workers
from dlcexp.data.pipeline import Pipeline
from dlcexp.data.sampling import EpochSampler
from dlcexp.data.splits import Split, SplitName
from dlcexp.errors import ConfigError, UserError
from dlcexp.project import Labels, load_labels, open_project
from dlcexp.vocabulary import AUTO

DataKey = Literal["data", "data_detector"]

# px, where a tree does not set it.
_BBOX_MARGIN = 20


class PoseLoader(DataLoader[Any]):
    """A DataLoader that raises a user's mistake as such, without the traceback of a worker."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for batch in super().__iter__():
            if isinstance(batch, Failure):
                raise UserError(batch.message)
            yield batch


class FrameData:
    """Frames with labels, or without, as the networks of an experiment see them.

    Args:
        cfg: the resolved tree.
        labels: the frames.
        split: which of them train, validate and test.
        bodyparts, unique_bodyparts: names of the keypoints in `labels`.
        cache: gives decoded images; None: the one that all runs of the process share.
    """

    def __init__(
        self,
        cfg: DictConfig,
        labels: Labels,
        split: Split,
        *,
        bodyparts: Sequence[str],
        unique_bodyparts: Sequence[str],
        cache: ImageCache | None = None,
    ) -> None:
        self.tree = plain(cfg)
        self.labels = labels
        self.split = split
        self.bodyparts = tuple(bodyparts)
        self.unique_bodyparts = tuple(unique_bodyparts)
        self.cache = cache or shared_cache(parse_bytes(self.tree["data"].get("cache") or 0))

    @property
    def top_down(self) -> bool:
        """True if the pose model sees crops of single animals, and not frames."""
        return self.tree.get("method", "bu") in ("td", "ctd")

    @property
    def conditional(self) -> bool:
        """True if the pose model is also given a pose of the animal, found by another model."""
        return self.tree.get("method", "bu") == "ctd"

    def frames(self, split: SplitName) -> SampleDataset:
        """Return the images on which the pose model is applied to a split.

        These are its frames; top-down a crop for each labelled animal, by its ground-truth box, or
        conditional by a pose drawn from its labels.
        """
        return self._poses(getattr(self.split, split), "inference")

    def crops(self, boxes: Mapping[int, NDArray[Any]]) -> CropDataset:
        """Return the crops of a top-down model around animals that a detector has found.

        Args:
            boxes: row of `labels` to boxes (m, 4) x, y, width, height px of the original image;
                columns beyond, such as scores, are ignored.
        """
        animals = [(row, number) for row, found in boxes.items() for number in range(len(found))]
        return self._crop_dataset(animals, "inference", boxes)

    def conditional_crops(self, conditions: Conditions) -> ConditionalCropDataset:
        """Return the crops of a conditional top-down model around poses of another model.

        Args:
            conditions: row of `labels` to poses (m, bodyparts, 3) x, y px of the original image,
                score; see `dlcexp.data.conditional_crops.usable_conditions`.
        """
        animals = [
            (row, number) for row, found in conditions.items() for number in range(len(found))
        ]
        return self._conditional_dataset(animals, "inference", conditions)

    def ground_truth_boxes(self, row: int) -> NDArray[np.float64]:
        """Return the boxes of a frame, (individuals, 4) x, y, width, height px of the original.

        NaN where there is no animal; see `dlcexp.data.boxes.ground_truth_boxes`. The image is
        decoded for its size, unless it is in the cache.
        """
        shape = self.cache(self.labels.images[row]).shape
        return ground_truth_boxes(self.labels, row, shape, self._bbox_margin)

    def train_loader(self, rank: int = 0, world_size: int = 1) -> PoseLoader:
        """Return augmented batches for the pose model; its `sampler.set_epoch` chooses the epoch.

        An epoch shows every training frame once; top-down every labelled animal in them.

        Args:
            rank, world_size: which of how many processes asks; `batch_size` is that of each.

        Raises:
            ConfigError: top-down, and no training frame has a labelled animal.
        """
        self._check_split()
        dataset = self._poses(self.split.train, "train")
        if not len(dataset):
            method, frames = self.tree["method"], len(self.split.train)
            raise _nothing_to_train(method, f"cuts animals out of {frames} training frames")
        trainer = self.tree["trainer"]
        return self._loader(
            dataset, self.tree, trainer["num_workers"], self._collate("data"), rank, world_size
        )

    def detector_frames(self, split: SplitName) -> PoseDataset:
        """Return the frames of a split as the detector sees them when it is applied.

        `boxes` (n, 4) of a sample are x, y, width, height px of its `image`, zeros where there is
        no animal.
        """
        return self._frame_dataset(getattr(self.split, split), "inference", "data_detector")

    def detector_train_loader(self, rank: int = 0, world_size: int = 1) -> PoseLoader:
        """Return augmented batches for the detector, of all training frames: `image`, `boxes`.

        `boxes` (b, n, 4) are as in `detector_frames`, zeros also where an animal has left its
        image. The sampler and the arguments are as in `train_loader`.
        """
        self._check_split()
        rows = list(self.split.train)
        boxes = self.labels.boxes
        if not (
            np.isfinite(self.labels.keypoints[rows]).any()
            or (boxes is not None and np.isfinite(boxes[rows]).any())
        ):
            raise _nothing_to_train("td", f"learns from the boxes of {len(rows)} training frames")
        dataset = self._frame_dataset(self.split.train, "train", "data_detector")
        settings = self.tree["detector"]
        collate = self._collate("data_detector")
        return self._loader(dataset, settings, settings["num_workers"], collate, rank, world_size)

    def _check_split(self) -> None:
        if not self.split.train:
            raise ConfigError(
                "split", "leaves no frame to train, as split=all does. Choose a different split."
            )

    def _loader(
        self,
        dataset: SampleDataset,
        settings: Mapping[str, Any],
        num_workers: int | str,
        collate: Any,
        rank: int,
        world_size: int,
    ) -> PoseLoader:
        if settings["batch_size"] > len(dataset):
            key = "batch_size" if settings is self.tree else "detector.batch_size"
            raise ConfigError(
                key,
                f"{settings['batch_size']} is larger than the training set, which has "
                f"{len(dataset)} samples. Allowed: 1 to {len(dataset)}.",
            )
        device, batches = self._training_device(), len(dataset) // settings["batch_size"]
        recipe = (settings.get("recipe") or {}).get("num_workers") or 0
        num_workers = workers(num_workers, recipe, device, cores_for(world_size), batches)
        if num_workers:
            # Workers keep to one core each. Set here and not in the worker: OpenCV's thread pool
            # does not survive a fork, and there this call can wait for its threads for ever.
            cv2.setNumThreads(1)
        seed = self.tree["seed"]
        return PoseLoader(
            dataset,
            batch_size=settings["batch_size"],
            sampler=EpochSampler(len(dataset), seed, rank, world_size),
            collate_fn=collate,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=pinned(self.tree["trainer"]["pin_memory"], device),
            worker_init_fn=_start_worker,
            # Its own generator: iterating must not move torch's global random numbers.
            generator=torch.Generator().manual_seed(seed),
        )

    def _training_device(self) -> str:
        device = str(self.tree.get("device", "cpu")).partition(":")[0]
        if device == AUTO:
            return "cuda" if torch.cuda.is_available() else "cpu"
        return device

    def _collate(self, key: DataKey) -> PadCollate | ResizeCollate:
        return build_collate(
            effective_menu(self.tree[key], "train").get("collate"),
            seed=self.tree["seed"],
            with_center_keypoints=key == "data" and self.tree["with_center_keypoints"],
        )

    def _poses(self, indices: Sequence[int], section: Section) -> SampleDataset:
        if self.conditional:
            return self._conditional_dataset(labelled_animals(self.labels, indices), section)
        if self.top_down:
            return self._crop_dataset(labelled_animals(self.labels, indices), section)
        return self._frame_dataset(indices, section, "data")

    def _frame_dataset(self, indices: Sequence[int], section: Section, key: DataKey) -> PoseDataset:
        return PoseDataset(
            self.labels,
            indices,
            self._pipeline(section, key),
            with_center_keypoints=key == "data" and self.tree["with_center_keypoints"],
            seed=self.tree["seed"],
            cache=self.cache,
            bbox_margin=self._bbox_margin,
        )

    def _crop_dataset(
        self,
        animals: Sequence[tuple[int, int]],
        section: Section,
        boxes: Mapping[int, NDArray[Any]] | None = None,
    ) -> CropDataset:
        menu = effective_menu(self.tree["data"], section)
        crop, shaking = menu["top_down_crop"], menu.get("random_bbox_transform")
        given = {name: value for name, value in (shaking or {}).items() if value is not None}
        return CropDataset(
            self.labels,
            animals,
            self._pipeline(section, "data"),
            size=(crop["width"], crop["height"]),
            seed=self.tree["seed"],
            cache=self.cache,
            with_center_keypoints=self.tree["with_center_keypoints"],
            bbox_margin=self._bbox_margin,
            random_bbox=RandomBBoxTransform(**given) if shaking else None,
            surroundings=section == "train" and moves(menu),
            boxes=boxes,
        )

    def _conditional_dataset(
        self,
        animals: Sequence[tuple[int, int]],
        section: Section,
        conditions: Conditions | None = None,
    ) -> ConditionalCropDataset:
        menu = effective_menu(self.tree["data"], section)
        crop = menu["top_down_crop"]
        moving = {name: menu.pop(name) for name in MOVES if name in menu}
        return ConditionalCropDataset(
            self.labels,
            animals,
            self._pipeline(section, "data", menu),
            size=(crop["width"], crop["height"]),
            seed=self.tree["seed"],
            cache=self.cache,
            sampler=self._sampler(),
            bbox_margin=self._bbox_margin,
            context=bool(crop.get("crop_with_context", False)),
            moving=self._pipeline(section, "data", moving) if moving else None,
            conditions=conditions,
        )

    def _sampler(self) -> GenerativeSampler:
        given = self.tree["data"].get("gen_sampling") or {}
        settings = {name: value for name, value in given.items() if value is not None}
        pairs = settings.get("keypoints_symmetry") or ()
        settings["keypoints_symmetry"] = [
            [side if isinstance(side, int) else self.bodyparts.index(side) for side in pair]
            for pair in pairs
        ]
        try:
            return GenerativeSampler(len(self.bodyparts), **settings)
        except ValueError as error:
            raise ConfigError("data.gen_sampling", f"{error}.") from error

    def _pipeline(
        self, section: Section, key: DataKey, menu: Mapping[str, Any] | None = None
    ) -> Pipeline:
        data = self.tree[key]
        return build_pipeline(
            effective_menu(data, section) if menu is None else menu,
            # Boxes have no left and right.
            bodyparts=self.bodyparts if key == "data" else None,
            unique_bodyparts=self.unique_bodyparts,
            training=section == "train",
            colormode=data.get("colormode", "RGB"),
            key=key,
        )

    @property
    def _bbox_margin(self) -> int:
        return int(self.tree["data"].get("bbox_margin", _BBOX_MARGIN))


def unlabelled_frames(
    cfg: DictConfig, images: Sequence[Path], cache: ImageCache | None = None
) -> FrameData:
    """Return images as frames without labels, all of them in the test split.

    Args:
        cfg: the resolved tree; its `metadata` lists individuals and bodyparts.
        images: their paths.
        cache: gives decoded images; None: the one that all runs of the process share.
    """
    metadata = cfg.metadata
    individuals, bodyparts = metadata.num_individuals, metadata.num_bodyparts
    labels = Labels(
        names=tuple(map(str, images)),
        images=tuple(images),
        folders=tuple(image.parent.name for image in images),
        keypoints=np.full((len(images), individuals, bodyparts, 2), np.nan),
        unique=np.full((len(images), metadata.num_unique_bodyparts, 2), np.nan),
    )
    return FrameData(
        cfg,
        labels,
        Split(train=(), test=tuple(range(len(images)))),
        bodyparts=metadata.bodyparts,
        unique_bodyparts=metadata.unique_bodyparts,
        cache=cache,
    )


class PoseData(FrameData):
    """The labelled frames of an experiment.

    Args:
        cfg: the resolved tree.

    Attributes:
        project, labels, split: what the project holds, and which frames train, validate and test.

    Raises:
        ProjectError: a project that is missing or contradicts itself.
        ConfigError: a split or an augmentation that cannot be built.
    """

    def __init__(self, cfg: DictConfig) -> None:
        tree = plain(cfg)
        self.project = project = open_project(_source(tree["project"]))
        labels = load_labels(project)
        super().__init__(
            cfg,
            labels,
            build(tree["split"], key="split")(labels, project),
            bodyparts=project.bodyparts,
            unique_bodyparts=project.unique_bodyparts,
        )


def _nothing_to_train(method: str, what: str) -> ConfigError:
    return ConfigError(
        "split",
        f"method={method} {what}, and none of them has a labelled animal. Label animals, or use "
        "a different split, such as 'split.seed=1'.",
    )


def _source(project: str) -> str | Path:
    """Return where the project is; `demo` is drawn on first use."""
    if project != "demo":
        return project
    from dlcexp.data.draw_demo import demo_project

    return demo_project()


def _start_worker(_: int) -> None:
    """Share the memory for images among the workers."""
    worker: Any = get_worker_info()
    worker.dataset.cache.share_out(worker.num_workers)
