"""The types of a project and its labelled frames."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Name of the synthetic project.
DEMO = "demo"
# The one slot of a project with a single animal.
SINGLE_ANIMAL = ("individual_1",)


@dataclass(frozen=True)
class Project:
    """A labelled project.

    Attributes:
        source: its `config.yaml`, the COCO file, or a `pytorch_config.yaml` without its project.
        root: the folder that holds `source`; the `project_path` in a config.yaml is often stale.
        name: `Task` of a config.yaml, or the COCO file's name without suffix.
        bodyparts: of every individual, in the order of the label arrays.
        unique_bodyparts: points of which a frame has one each, such as the corners of an arena.
        individuals: names of the slots; `("individual_1",)` for a single animal.
        with_identity: `identity` of config.yaml; None where it is null.
        skeleton: pairs of names; pairs that name an unknown bodypart are left out, because
            DeepLabCut's template for config.yaml holds such pairs.
        iteration: the current refinement round, part of the paths of shuffles.
        labeled_data: number of images in each video folder.
        videos: names of the videos in `video_sets` of a config.yaml, without folder and suffix.
        superanimal_tables: `SuperAnimalConversionTables` of a config.yaml: by data set, what a
            bodypart of the project is called there.
    """

    source: Path
    root: Path
    kind: Literal["dlc", "coco", "pytorch_config"]
    name: str
    scorer: str
    date: str
    multianimal: bool
    bodyparts: tuple[str, ...]
    unique_bodyparts: tuple[str, ...]
    individuals: tuple[str, ...]
    with_identity: bool | None
    skeleton: tuple[tuple[str, str], ...]
    iteration: int
    pcutoff: float | None
    labeled_data: Mapping[str, int] = field(default_factory=dict)
    superanimal_tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    videos: frozenset[str] = frozenset()

    def metadata(self) -> dict[str, Any]:
        """Return the `metadata` block of the tree, in plain containers."""
        return {
            "project_name": self.name,
            "bodyparts": list(self.bodyparts),
            "unique_bodyparts": list(self.unique_bodyparts),
            "individuals": list(self.individuals),
            "with_identity": self.with_identity,
            "skeleton": [list(edge) for edge in self.skeleton],
            "multianimal": self.multianimal,
            "num_bodyparts": len(self.bodyparts),
            "num_individuals": len(self.individuals),
            "num_unique_bodyparts": len(self.unique_bodyparts),
            "labeled_data": dict(self.labeled_data),
        }


@dataclass(frozen=True, eq=False)
class Labels:
    """Labelled frames; the first axis of every array is the frame.

    Attributes:
        names: path of each image below the project, with forward slashes.
        images: absolute path of each image; all exist.
        folders: video folder of each frame.
        keypoints: (frames, individuals, bodyparts, 2) px; NaN where unlabelled. The slot of an
            animal is its place in `Project.individuals`.
        unique: (frames, unique bodyparts, 2) px; NaN where unlabelled.
        boxes: (frames, individuals, 4) x, y, width, height in px, where a COCO file gives them.
        absent: frames that are listed but whose image is missing; not in the arrays.
    """

    names: tuple[str, ...]
    images: tuple[Path, ...]
    folders: tuple[str, ...]
    keypoints: "NDArray[np.float64]"
    unique: "NDArray[np.float64]"
    boxes: "NDArray[np.float64] | None" = None
    absent: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)
