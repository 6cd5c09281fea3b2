"""The keys of the tree, each declared once: type, meaning, unit, range. No behaviour.

The checks, the JSON schema, the reference page and the help are made from these declarations. The
defaults are in `conf/`. Nodes that name a `_target_` (model, optimizer, scheduler, logger,
callbacks, split) are mappings here; `dlcexp.config.checks` binds them to the signature of their
class. The keys of augmentations are declared in `dlcexp.config.augmentation_keys`.
"""

from functools import partial

from dlcexp.config.augmentation_keys import AUGMENTATIONS, SECTIONS, SETTINGS
from dlcexp.config.value_types import (
    MAPPING,
    OMITTED,
    PATH,
    PLAIN,
    POSITIVE,
    PROBABILITY,
    SHARE,
    SWITCH,
    TEXT,
    Key,
    Type,
    is_sequence,
    list_of,
    matching,
    node,
    number,
    one_of,
    open_fields,
    whole,
)
from dlcexp.vocabulary import AUTO

_optional = partial(Key, optional=True)

_EPOCHS = whole(1)
_MEMORY_FORMAT = one_of("contiguous", "channels_last")
_WORKERS = Key(
    (whole(0), one_of(AUTO)),
    "data-loading processes; any number gives the same batches; auto: as many as a GPU needs",
    "processes",
)
_DIRECTIONS = ("maximize", "minimize", None)
_DIRECTION = Type(
    "maximize or minimize, or a list of them",
    lambda value: all(each in _DIRECTIONS for each in (value if is_sequence(value) else [value])),
)
_NAME = Type("a name", lambda value: isinstance(value, str | int), {"type": ["string", "integer"]})
_NAMES = list_of(_NAME)
_FRACTION = Type("a fraction above 0", lambda value: POSITIVE.accepts(value) and value <= 1)
_NULL = Type("null", lambda value: value is None, {"type": "null"})
_EDGE = Type("a pair of bodyparts", lambda value: _NAMES.accepts(value) and len(value) == 2)
_METRIC = matching(
    r"(val|test|train)\.\S+",
    "a metric of val, test or train frames, such as val.mAP or test.mAP@50:95",
)
_SCHEDULER = "learning rate over the epochs; null keeps it constant"

# Files of predictions that `conditions` may name.
PREDICTION_FILES = (".h5", ".csv", ".json")

_MENUS = {
    "train": Key(MAPPING, "augmentations, and keys of this node that differ in training"),
    "inference": Key(MAPPING, "keys of this node that differ in inference", absent={}),
}

# What the images of the pose model and those of the detector have in common.
_IMAGES = {
    "resize": AUGMENTATIONS["resize"],
    "longest_max_size": AUGMENTATIONS["longest_max_size"],
    "auto_padding": AUGMENTATIONS["auto_padding"],
    "normalize_images": AUGMENTATIONS["normalize_images"].required(),
    "scale_to_unit_range": AUGMENTATIONS["scale_to_unit_range"].required(),
}

DATA = node(
    colormode=SETTINGS["colormode"],
    bbox_margin=SETTINGS["bbox_margin"],
    **_IMAGES,
    gen_sampling=SETTINGS["gen_sampling"],
    loader=SETTINGS["loader"],
    cache=SETTINGS["cache"],
    **_MENUS,
    top_down_crop=AUGMENTATIONS["top_down_crop"],
)

DATA_DETECTOR = node(colormode=SETTINGS["colormode"], **_IMAGES, **_MENUS)

# What a model, a backbone or a detector recommends, and the owners of the keys read and check.
RECIPE = open_fields(
    batch_size=_optional(whole(1), "samples per training batch", "images"),
    epochs=_optional(_EPOCHS, "length of training", "epochs"),
    eval_interval=_optional(_EPOCHS, "time between evaluations", "epochs"),
    num_workers=_optional(whole(0), "data-loading processes", "processes"),
    memory_format=_optional(_MEMORY_FORMAT, "the fastest order of numbers in memory"),
    lr=_optional(number(0), "learning rate; the first one, where a schedule changes it", PLAIN),
    scheduler=_optional(
        open_fields(
            milestones=_optional(list_of(whole(0)), "epochs, ascending", "epochs"),
            lr_list=_optional(list_of(list_of(number(0))), "learning rates by milestone", PLAIN),
        ),
        "arguments of the schedule lr_list",
    ),
    layer_decay=_optional(SHARE, "weights.layer_decay of a pretrained backbone", "factor"),
    with_center_keypoints=_optional(SWITCH, "the model needs the centre of each animal"),
    padding=_optional(whole(1), "the sides of an image are a multiple of it", "px"),
    pad_in_training=_optional(SWITCH, "pad in training as well"),
    crop_size=_optional(whole(1), "size of the crops that the model is for", "px"),
    random_bbox_prob=_optional(
        PROBABILITY, "share of the training crops that are shifted and scaled", "fraction"
    ),
    freeze_bn_stats=_optional(
        (SWITCH, one_of(AUTO)),
        "batch norm keeps its statistics; auto: where it starts from pretrained weights",
    ),
    all_branches=_optional(SWITCH, "HRNet: features of every resolution, not only of the highest"),
    graph=_optional(
        Type("complete, skeleton, or pairs of bodyparts by number", lambda value: True),
        "edges of model=paf, such as [[0,1],[1,2]]; `skeleton` is the project's",
    ),
    coarse=_optional(SWITCH, "one layer more, for features at a 32nd of the image size"),
    width=_optional(whole(1), "channels of the narrowest features", "channels"),
    channels=_optional(whole(1), "channels of the features", "channels"),
    stride=_optional(whole(1), "distance of the features in the image", "px"),
)

DETECTOR = node(
    model=Key(MAPPING, "a class of dlcexp.models.detectors with its arguments"),
    optimizer=Key(MAPPING, "a class of torch.optim with its arguments"),
    scheduler=_optional(MAPPING, _SCHEDULER),
    batch_size=Key(whole(1), "frames per training batch", "frames"),
    epochs=Key(_EPOCHS, "length of training", "epochs"),
    save_epochs=Key(_EPOCHS, "time between periodic snapshots", "epochs"),
    eval_interval=Key(_EPOCHS, "time between evaluations on the frames of key_metric", "epochs"),
    key_metric=_optional(
        _METRIC, "metric by which the best snapshot is chosen; null: the last counts"
    ),
    key_metric_asc=Key(SWITCH, "larger values of key_metric are better"),
    num_workers=_WORKERS,
    snapshot=_optional(PATH, "trained detector of another run or of DeepLabCut, used as it is"),
    recipe=Key(MAPPING, "what the detector recommends"),
)

TRAIN = node(
    stages=Key(list_of(TEXT), "what is trained, in this order: detector, pose"),
    select_edges=Key(
        SWITCH,
        "choose the edges of part-affinity fields on the training frames afterwards",
        absent=True,
    ),
)

# `dlcexp.config.checks` writes short forms out.
WEIGHTS = node(
    path=_optional(
        PATH,
        "what training starts from: auto, imagenet, random, superanimal_quadruped, ...; a "
        "snapshot, a run folder, or a file of weights",
    ),
    bodyparts=_optional(
        (TEXT, list_of(TEXT)),
        "bodyparts of the snapshot in its order, or the name of a SuperAnimal",
    ),
    freeze=Key(list_of(TEXT), "modules that are not trained, such as backbone.stage2", absent=[]),
    lr_scale=Key(MAPPING, "factors of optimizer.lr, by module", "factor", absent={}),
    layer_decay=_optional(
        SHARE,
        "factor of the learning rate from a layer of a pretrained backbone to the one before it, "
        "times that of lr_scale",
        "factor",
    ),
)

TRAINER = node(
    precision=Key(
        one_of(AUTO, "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"),
        "floating-point format; auto: the fast one of the device, mixed with float32",
    ),
    memory_format=Key(
        _MEMORY_FORMAT,
        "order of the pose model's numbers in memory; results differ by rounding only",
        absent="contiguous",
    ),
    devices=Key(whole(1), "processes that train together, one per device", "devices"),
    strategy=Key(one_of("auto", "ddp"), "how several processes share the work"),
    num_workers=_WORKERS,
    pin_memory=Key(
        (SWITCH, one_of(AUTO)), "keep batches in page-locked memory; auto: where CUDA trains"
    ),
    accumulate_grad_batches=Key(whole(1), "batches per optimizer step", "batches"),
    gradient_clip_val=_optional(number(0), "largest norm of the gradient", PLAIN),
    deterministic=Key(SWITCH, "reject algorithms that are not deterministic"),
    progress_bar=Key(SWITCH, "show a progress bar on a terminal"),
    display_iters=Key(whole(1), "steps between log lines where there is no terminal", "steps"),
    eval_interval=Key(_EPOCHS, "time between evaluations on the frames of key_metric", "epochs"),
    key_metric=_optional(
        _METRIC, "metric by which the best snapshot is chosen; null: the last counts"
    ),
    key_metric_asc=Key(SWITCH, "larger values of key_metric are better"),
    max_snapshots=Key(whole(1), "periodic snapshots kept, in addition to the best", "snapshots"),
    save_optimizer_state=Key(
        SWITCH, "keep the state of the optimizer in snapshots; last.ckpt always has it"
    ),
    early_stopping=Key(
        node(
            patience=_optional(
                whole(1), "evaluations without a better key_metric; null: off", "evaluations"
            ),
            min_delta=Key(number(0), "smallest change that is better", "that of key_metric"),
        ),
        "when training ends early",
    ),
    limit_train_batches=Key(
        (whole(1), _FRACTION),
        "batches of an epoch, or the fraction of them; all unless given",
        "batches",
        absent=OMITTED,
    ),
    gradient_clip_algorithm=Key(
        one_of("norm", "value"),
        "what trainer.gradient_clip_val limits; norm unless given",
        absent=OMITTED,
    ),
    benchmark=Key(SWITCH, "let cuDNN try which algorithm is fastest", absent=OMITTED),
    detect_anomaly=Key(
        SWITCH, "name the operation whose gradient becomes NaN; slow", absent=OMITTED
    ),
    sync_batchnorm=Key(SWITCH, "batch norm over the batches of all devices", absent=OMITTED),
)

# Keys of `trainer` that Lightning's Trainer gets as they are.
PASSED_ON = tuple(name for name, key in TRAINER.keys.items() if key.absent is OMITTED)

EVALUATION = node(
    mode=Key(one_of("all", "train", "test"), "frames that DeepLabCut evaluates"),
    pcutoff=Key(number(0), "confidence from which a keypoint is found", "fraction"),
    comparison_bodyparts=Key((TEXT, _NAMES), "bodyparts that are scored: all, or a list"),
    per_keypoint_evaluation=Key(SWITCH, "for DeepLabCut; dlcexp always scores each bodypart"),
    force_multi_animal=Key(SWITCH, "has no effect; DeepLabCut accepts it"),
    oks_sigma=Key(number(0), "fall-off of the object keypoint similarity", PLAIN),
    oks_bbox_margin=Key(number(0), "margin around the box whose area enters the similarity", "px"),
    pck_thresholds=Key(
        list_of(number()), "distances for PCK, of the longer side of the animal's box", "fraction"
    ),
    examples=Key(whole(0), "best and worst test frames that are drawn in figures/", "frames"),
    calibration_px=_optional(
        number(0), "distance up to which a keypoint is right, for calibration", "px"
    ),
)

# DeepLabCut's settings of inference; it may have more.
INFERENCE = open_fields(
    multithreading=_optional(
        open_fields(
            enabled=_optional(SWITCH, "prepare batches in a thread"),
            queue_length=_optional(whole(0), "batches that are prepared ahead", "batches"),
            timeout=_optional(number(0), "longest wait for a batch", "seconds"),
        ),
        "batches in the background",
    ),
    compile=_optional(
        open_fields(
            enabled=_optional(SWITCH, "compile the model with torch.compile"),
            backend=_optional(TEXT, "backend of torch.compile"),
        ),
        "compiled models",
    ),
    autocast=_optional(
        open_fields(enabled=_optional(SWITCH, "compute in mixed precision")), "mixed precision"
    ),
)

EXPORT = node(
    file=_optional(PATH, "where to write; null prints"),
    schema=Key(
        one_of("dlc3", "sectioned", "flat"),
        "form of pytorch_config.yaml: dlc3 of DeepLabCut 3.0.2, sectioned of 3.0.0, flat of before",
    ),
    like=_optional(PATH, "file of that form whose order of keys and omissions are kept"),
    pose_config_path=_optional(
        PATH, "path of the file below the project; null: pytorch_config.yaml"
    ),
    extra=Key(MAPPING, "further keys for DeepLabCut, without effect here", absent={}),
)

SWEEP = node(
    metric=Key(
        (TEXT, list_of(TEXT)),
        "key of metrics.json by which jobs are compared, or a list of them",
        absent="test.mAP",
    ),
    direction=_optional(
        _DIRECTION, "a list for several metrics; null: as the name of the metric implies"
    ),
    rerun=Key(
        one_of("never", "failed", "always"),
        "jobs that run again when the sweep is started again: none, those that failed, or all",
        absent="failed",
    ),
)

# Metadata of the project; `${metadata.num_bodyparts}` and the like refer to it.
METADATA = open_fields(
    project_name=_optional(TEXT, "name of the project"),
    bodyparts=Key(_NAMES, "bodyparts of each animal"),
    unique_bodyparts=Key(_NAMES, "bodyparts that a frame has once"),
    individuals=Key(_NAMES, "names of the animals"),
    with_identity=Key((SWITCH, _NULL), "individuals are recognised across frames"),
    skeleton=Key(list_of(_EDGE), "edges, each a pair of bodyparts"),
    multianimal=Key(SWITCH, "DeepLabCut calls it a multi-animal project"),
    num_bodyparts=Key(whole(0), "number of bodyparts", "bodyparts"),
    num_individuals=Key(whole(0), "number of animals", "animals"),
    num_unique_bodyparts=Key(whole(0), "number of unique bodyparts", "bodyparts"),
    labeled_data=_optional(MAPPING, "digest of the labels, for the hash of a run"),
)

TREE = node(
    project=Key(PATH, "folder or config.yaml of a DeepLabCut project, a COCO file, or demo"),
    metadata=Key(METADATA, "metadata of the project"),
    method=Key(one_of("bu", "td", "ctd"), "bu: bottom-up, td: top-down, ctd: conditional top-down"),
    conditions=_optional(
        Type(
            "a run folder of a bottom-up model, the number of a DeepLabCut shuffle, or a file of "
            f"predictions ({', '.join(PREDICTION_FILES)})",
            lambda value: bool(value) if isinstance(value, str) else whole(0).accepts(value),
            is_path=True,
        ),
        "whose poses method=ctd corrects; null: errors made of the labels",
    ),
    train=Key(TRAIN, "which stages are trained"),
    batch_size=Key(whole(1), "images per training batch", "images"),
    epochs=Key(_EPOCHS, "length of training", "epochs"),
    save_epochs=Key(_EPOCHS, "time between periodic snapshots", "epochs"),
    device=Key(
        matching(r"auto|cpu|mps|cuda(:\d+)?", "auto, cpu, mps, cuda, cuda:0 and so on"),
        "where to compute",
    ),
    seed=Key(whole(0, high=2**32 - 1), "seed of weights, batches and augmentations", PLAIN),
    with_center_keypoints=Key(SWITCH, "the model needs the centre of each animal"),
    weights=Key(WEIGHTS, "what training starts from", absent={}),
    resume=Key(PATH, "auto: resume in this run folder; never; or another run folder or last.ckpt"),
    data=Key(DATA, "images and augmentations"),
    model=Key(MAPPING, "architecture, targets, losses and decoding"),
    optimizer=Key(MAPPING, "a class of torch.optim with its arguments"),
    scheduler=_optional(MAPPING, _SCHEDULER),
    detector=_optional(DETECTOR, "what finds the animals; only method=td"),
    data_detector=_optional(
        DATA_DETECTOR, "images and augmentations of the detector; only method=td"
    ),
    logger=Key(MAPPING, "where the metrics go, by name", absent={}),
    callbacks=Key(
        MAPPING,
        "Lightning callbacks by name; detector and pose model are trained with separate instances",
        absent={},
    ),
    split=Key(MAPPING, "which frames train, validate and test"),
    trainer=Key(TRAINER, "how Lightning trains"),
    evaluation=Key(EVALUATION, "how predictions are scored"),
    inference=Key(INFERENCE, "DeepLabCut's settings of inference"),
    export=Key(EXPORT, "how pytorch_config.yaml is written"),
    sweep=Key(SWEEP, "how the jobs of a sweep are compared", absent={}),
    allow_targets=Key(list_of(TEXT), "prefixes of your classes, such as `mylab.`", absent=[]),
    recipe=Key(MAPPING, "what the model recommends"),
)

# Keys that are text and are declared elsewhere, by pattern: Hydra's, and arguments of classes.
_LOGGED = "run_name|project_name|experiment_name|entity|group|notes|job_type"
TEXTS_ELSEWHERE = {
    r"hydra\.(run|sweep)\.dir": Key(PATH, "folder of a run or a sweep"),
    r"hydra\.sweeper\.(storage|study_name)": _optional(TEXT, "where Optuna keeps a study"),
    r"(model\.backbone(\.backbone)?|detector\.model)\.weights": _optional(PATH, "a file"),
    r"split\.(test|val)": Key((TEXT, list_of(TEXT)), "folders of videos"),
    rf"logger\.\w+\.({_LOGGED})": _optional(TEXT, "a name"),
    r"logger\.\w+\.(tracking_uri|artifact_location)": _optional(TEXT, "a place"),
    r"logger\.\w+\.tags": Key(list_of(TEXT), "labels of a run"),
}


def declaration(path: str) -> Key | None:
    """Return the declaration of a key by its dotted path; None for arguments of classes."""
    *parents, name = path.split(".")
    if "recipe" in parents:  # those of models, backbones and detectors have the same keys
        below = RECIPE
        parents = parents[parents.index("recipe") + 1 :]
    elif len(parents) > 1 and parents[0] in ("data", "data_detector") and parents[1] in SECTIONS:
        below = AUGMENTATIONS
        parents = parents[2:]
    else:
        below = TREE
    for parent in parents:
        key = below.keys.get(parent)
        if key is None or key.fields is None:
            return None
        below = key.fields
    return below.keys.get(name)
