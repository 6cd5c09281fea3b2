"""The keys of the tree: type, meaning and what is allowed. No behaviour.

Values come from `conf/`; the classes here say what a value may be. Nodes that name a `_target_`
(model, optimizer, scheduler, logger, callbacks, split; model, optimizer and scheduler of the
detector) are free here and bound to the signature of their target by `dlcexp.config.checks`.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


def key(
    doc: str,
    *,
    choices: tuple[str, ...] | None = None,
    pattern: str | None = None,
    allowed: str = "",
    minimum: float | None = None,
    default: Any = MISSING,
) -> Any:
    """A field with its meaning and its limits.

    Args:
        doc: meaning and unit.
        choices: the words allowed.
        pattern: a regular expression that the whole value must match.
        allowed: the same in words.
        minimum: smallest number allowed.
        default: value where a tree has none, a class for a node of its defaults; without it the
            tree must give one.
    """
    metadata = {
        "doc": doc,
        "choices": choices,
        "pattern": pattern,
        "allowed": allowed,
        "minimum": minimum,
    }
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    if isinstance(default, dict | list):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class Resize:
    width: int | None = key("px; null follows from the height", minimum=1)
    height: int | None = key("px; null follows from the width", minimum=1)
    keep_ratio: bool = key("scale to the largest size that fits, then pad", default=True)


@dataclass
class Data:
    colormode: str = key("order of the colour channels, RGB or BGR")
    bbox_margin: int = key("px around the box of the keypoints")
    resize: Resize | None = key("size of the images that the model sees")
    longest_max_size: int | None = key("px of the longer side at most", minimum=1)
    auto_padding: Any = key("pad_width_divisor and pad_height_divisor, or null")
    normalize_images: bool = key("subtract ImageNet's mean, divide by its standard deviation")
    scale_to_unit_range: bool = key("divide by 255")
    gen_sampling: Any = key("sampling of pose errors, for conditional top-down")
    loader: Any = key("kept for DeepLabCut")
    cache: Any = key("memory for decoded images: bytes, or a text like 2GiB; 0 switches it off")
    train: dict[str, Any] = key("augmentations, and keys of `data` that differ in training")
    inference: dict[str, Any] = key("keys of `data` that differ in inference", default={})
    top_down_crop: Any = key("width and height of the crops, px; not bottom-up", default=None)


@dataclass
class DataDetector:
    colormode: str = key("order of the colour channels, RGB or BGR")
    resize: Resize | None = key("size of the frames that the detector sees")
    longest_max_size: int | None = key("px of the longer side at most", minimum=1)
    auto_padding: Any = key("pad_width_divisor and pad_height_divisor, or null")
    normalize_images: bool = key("subtract ImageNet's mean, divide by its standard deviation")
    scale_to_unit_range: bool = key("divide by 255")
    train: dict[str, Any] = key(
        "augmentations, and keys of `data_detector` that differ in training"
    )
    inference: dict[str, Any] = key("keys of `data_detector` that differ in inference", default={})


@dataclass
class Detector:
    model: dict[str, Any] = key("a class of dlcexp.models.detectors")
    optimizer: dict[str, Any] = key("a class of torch.optim")
    scheduler: dict[str, Any] | None = key(
        "learning rate over the epochs; null: constant", default=None
    )
    batch_size: int = key("frames a training batch", minimum=1)
    epochs: int = key("epochs of training", minimum=1)
    save_epochs: int = key("epochs between snapshots", minimum=1)
    eval_interval: int = key("epochs between evaluations on the test frames", minimum=1)
    key_metric: str = key(
        "metric of the best snapshot",
        pattern=r"test\.\S+|train\.\S+",
        allowed="a metric of test or train frames, such as test.mAP@50:95",
    )
    key_metric_asc: bool = key("larger is better")
    num_workers: int = key("data-loading processes", minimum=0)
    snapshot: str | None = key("a detector of another run or of DeepLabCut, to start from")
    recipe: dict[str, Any] = key("what the detector recommends")


@dataclass
class Train:
    stages: list[str] = key("what is trained, in this order: detector, pose")
    select_edges: bool = key(
        "choose the limbs of part-affinity fields on the training frames afterwards", default=True
    )


@dataclass
class Weights:
    path: str | None = key("a snapshot or a run folder that training starts from", default=None)
    bodyparts: Any = key("of the file, in its order, or the name of a SuperAnimal", default=None)
    freeze: Any = key("modules that are not trained", default=[])
    lr_scale: Any = key("factors of optimizer.lr, by module", default={})


@dataclass
class EarlyStopping:
    patience: int | None = key("evaluations without a better key metric; null: off", minimum=1)
    min_delta: float = key("smallest change that counts as better", minimum=0)


@dataclass
class Trainer:
    precision: str = key(
        "floating-point format",
        choices=("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"),
    )
    memory_format: str = key(
        "order of the pose model's numbers in memory; the same results up to rounding",
        choices=("contiguous", "channels_last"),
        default="contiguous",
    )
    devices: int = key("processes, one a device", minimum=1)
    strategy: str = key("how several processes share the work", choices=("auto", "ddp"))
    num_workers: int = key("data-loading processes", minimum=0)
    pin_memory: bool = key("page-locked batches, for CUDA")
    accumulate_grad_batches: int = key("batches an optimizer step", minimum=1)
    gradient_clip_val: float | None = key("largest norm of the gradient", minimum=0)
    deterministic: bool = key("refuse algorithms that are not deterministic")
    progress_bar: bool = key("show a bar on a terminal")
    display_iters: int = key("steps between log lines where there is no terminal", minimum=1)
    eval_interval: int = key("epochs between evaluations on the test frames", minimum=1)
    key_metric: str = key(
        "metric of the best snapshot",
        pattern=r"test\.\S+|train\.\S+",
        allowed="a metric of test or train frames, such as test.mAP",
    )
    key_metric_asc: bool = key("larger is better")
    max_snapshots: int = key("periodic snapshots kept", minimum=1)
    save_optimizer_state: bool = key("also in the snapshots")
    early_stopping: EarlyStopping = key("when to give up")


@dataclass
class Evaluation:
    mode: str = key("frames that DeepLabCut evaluates", choices=("all", "train", "test"))
    pcutoff: float = key("confidence from which a keypoint counts as found", minimum=0)
    comparison_bodyparts: Any = key("all, or a list of bodyparts")
    per_keypoint_evaluation: bool = key("for DeepLabCut; here they always are")
    force_multi_animal: bool = key("kept for DeepLabCut")
    oks_sigma: float = key("fall-off of the object keypoint similarity", minimum=0)
    oks_bbox_margin: float = key("px around the box whose area enters the similarity", minimum=0)
    pck_thresholds: list[float] = key("fractions of the longer side of the animal's box")
    examples: int = key("best and worst test frames drawn", minimum=0)


@dataclass
class Export:
    file: str | None = key("where to write; null prints")
    schema: str = key("form of pytorch_config.yaml", choices=("dlc3", "sectioned", "flat"))
    like: str | None = key("a file of that form, written alike", default=None)
    pose_config_path: str | None = key("where the file lies in the project", default=None)
    extra: dict[str, Any] = key("what else DeepLabCut's file says, without effect here", default={})


@dataclass
class Sweep:
    metric: Any = key("key of metrics.json that decides, or a list of them", default="test.mAP")
    direction: Any = key(
        "maximize or minimize, a list for several metrics; null: as the metric wants", default=None
    )
    rerun: str = key(
        "jobs that failed when the sweep is started again: failed, never or always (every job)",
        choices=("never", "failed", "always"),
        default="failed",
    )


@dataclass
class Tree:
    """The composed experiment; see `conf/config.yaml` for the order in which it is told."""

    project: str = key("folder or config.yaml of a DeepLabCut project, a COCO file, or demo")
    metadata: dict[str, Any] = key("what the project says of itself")
    method: str = key(
        "bu: bottom-up, td: top-down, ctd: conditional top-down", choices=("bu", "td", "ctd")
    )
    conditions: Any = key(
        "whose poses method=ctd corrects: a run folder, a shuffle's number or a predictions file",
        default=None,
    )
    train: Train = key("which stages are trained")
    batch_size: int = key("images a training batch", minimum=1)
    epochs: int = key("epochs of training", minimum=1)
    save_epochs: int = key("epochs between snapshots", minimum=1)
    device: str = key(
        "where to compute",
        pattern=r"auto|cpu|mps|cuda(:\d+)?",
        allowed="auto, cpu, mps, cuda, cuda:0 and so on",
    )
    seed: int = key("of weights, batches and augmentations", minimum=0)
    with_center_keypoints: bool = key("the model needs the centre of each animal")
    weights: Weights = key("what training starts from", default=Weights)
    resume: str = key("auto, never, or the path of a run folder or last.ckpt")
    data: Data = key("images and augmentations")
    model: dict[str, Any] = key("architecture, targets, losses and decoding")
    optimizer: dict[str, Any] = key("a class of torch.optim")
    scheduler: dict[str, Any] | None = key(
        "learning rate over the epochs; null: constant", default=None
    )
    detector: Detector | None = key("what finds the animals; only top-down", default=None)
    data_detector: DataDetector | None = key(
        "images and augmentations of the detector; only top-down", default=None
    )
    logger: dict[str, Any] = key("where the metrics go, by name", default={})
    callbacks: dict[str, Any] = key(
        "Lightning callbacks by name; detector and pose model are trained with separate instances",
        default={},
    )
    split: dict[str, Any] = key("which frames train and which test")
    trainer: Trainer = key("how Lightning runs")
    evaluation: Evaluation = key("how predictions are scored")
    inference: dict[str, Any] = key("DeepLabCut's settings of inference")
    export: Export = key("pytorch_config.yaml")
    sweep: Sweep = key("what decides between the jobs of a sweep", default=Sweep)
    allow_targets: list[str] = key("prefixes of your own classes", default=[])
    recipe: dict[str, Any] = key("what the model recommends")
