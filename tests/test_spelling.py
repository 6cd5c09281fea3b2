"""Suggestions: mistyped names get theirs, names of something else get none."""

import re

import pytest

from dlcexp.commands import NAMES
from dlcexp.composition import compose
from dlcexp.config.augmentation_keys import AUGMENTATIONS
from dlcexp.config.options import groups, options
from dlcexp.config.schema import TRAINER, TREE
from dlcexp.errors import ConfigError, nearest

CANDIDATES = {
    "key": [*TREE.keys, "net_type", "experiment"],
    "key of trainer": list(TRAINER.keys),
    "augmentation": list(AUGMENTATIONS.keys),
    "precision": ["32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"],
    "metric": ["test.mAP", "test.mAR", "test.rmse", "test.rmse_nose", "train.mAP"],
    "bodypart": ["snout", "leftear", "rightear", "shoulder", "spine1", "spine2", "tailbase"],
    "command": list(NAMES),
    "argument": ["project_name", "run_name", "entity", "group", "tags", "mode"],
    **{group: options(group) for group in groups()},
}

# What was typed for what, as in logs and issues of such tools: letters lost, doubled, replaced or
# swapped, separators and case, British spelling, half of a name.
MEANT = {
    "key": "modle:model mdoel:model models:model batchsize:batch_size batch_sise:batch_size "
    "batch-size:batch_size batchSize:batch_size batch:batch_size epoch:epochs eopchs:epochs "
    "max_epochs:epochs optimiser:optimizer optim:optimizer schedular:scheduler "
    "lr_scheduler:scheduler sed:seed devcie:device devices:device proj:project nettype:net_type "
    "net:net_type wieghts:weights eval:evaluation center_keypoints:with_center_keypoints",
    "key of trainer": "precison:precision accumulate_gradient_batches:accumulate_grad_batches "
    "accum_grad_batches:accumulate_grad_batches devics:devices gradient_clip:gradient_clip_val "
    "workers:num_workers early_stoping:early_stopping metric:key_metric pinmemory:pin_memory",
    "augmentation": "hflipp:hflip flip:hflip h_flip:hflip rotate:rotation afine:affine "
    "greyscale:grayscale gausian_noise:gaussian_noise blur:motion_blur elastic:elastic_transform "
    "normalise_images:normalize_images crop:crop_sampling",
    "precision": "16:16-true 32:32-true bf16:bf16-true bf16_mixed:bf16-mixed mixed:16-mixed",
    "metric": "test.map:test.mAP test.rmsee:test.rmse test.rmse_nos:test.rmse_nose rmse:test.rmse",
    "bodypart": "snuot:snout left_ear:leftear spine_1:spine1 tail:tailbase",
    "command": "trian:train evalute:evaluate eval:evaluate reprot:report exprot:export",
    "argument": "projct:project_name name:run_name",
    "optimizer": "adamW:adamw adma:adam sdg:sgd rms:rmsprop adadlta:adadelta",
    "scheduler": "steplr:step_lr cosine:cosine_annealing_lr OneCycleLR:one_cycle_lr "
    "plateau:reduce_lr_on_plateau lrlist:lr_list linear:linear_lr cosine_lr:cosine_annealing_lr",
    "model": "dekrr:dekr derk:dekr heatmaps:heatmap heat:heatmap rtm:rtmpose DLCRNet:dlcrnet",
    "model/backbone": "hrnet32:hrnet_w32 hrnet_32:hrnet_w32 hrnetw32:hrnet_w32 hrnet:hrnet_w18 "
    "resnet50:resnet_50 resnet_152:resnet_101 hrent_w32:hrnet_w32",
    "net_type": "hrnet32:hrnet_w32 dekr32:dekr_w32 dekr:dekr_w18 rtmposem:rtmpose_m "
    "topdown_hrnet_w32:top_down_hrnet_w32 dlcrnet:dlcrnet_stride16_ms5",
    "split": "k_fold:kfold fold:kfold byvideo:by_video video:by_video shuffle:dlc_shuffle",
    "logger": "tensorbord:tensorboard wanb:wandb mlfow:mlflow cvs:csv",
    "method": "tdd:td",
    "detector": "ssd:ssdlite ssdlight:ssdlite fasterrcnn:fasterrcnn_resnet50_fpn",
}

# Names that are right somewhere else: other libraries, other programs, placeholders.
UNKNOWN = {
    "key": "foo bar x bs dropout debug gpu verbose output name output_dir loss classes steps",
    "key of trainer": "ema callbacks plugins profiler",
    "augmentation": "cutout mixup mosaic contrast brightness shear",
    "precision": "fp16 fast",
    "bodypart": "nose paw elbow wing hip knee",
    "command": "run fit sweep label video",
    "optimizer": "foo lion adabelief novograd lamb shampoo sophia",
    "scheduler": "warmup noam sgdr",
    "model": "foo vitpose yolo unet",
    "model/backbone": "foo swin_t yolo_v8 vgg16",
    "split": "foo random test holdout leave_one_out",
    "logger": "foo neptune comet clearml aim tb",
    "method": "abc topdown",
    "detector": "yolo detr retinanet maskrcnn",
}


@pytest.mark.parametrize(
    ("kind", "typed", "meant"),
    [(kind, *pair.split(":")) for kind, pairs in MEANT.items() for pair in pairs.split()],
)
def test_a_mistyped_name_gets_its_suggestion(kind, typed, meant):
    assert nearest(typed, CANDIDATES[kind]) == f" Did you mean {meant!r}?"


@pytest.mark.parametrize(
    ("kind", "typed"), [(kind, name) for kind, names in UNKNOWN.items() for name in names.split()]
)
def test_a_name_of_something_else_gets_none(kind, typed):
    assert nearest(typed, CANDIDATES[kind]) == ""


def test_nothing_is_suggested_without_letters_or_candidates():
    assert nearest("", ["a", "model"]) == nearest("--", ["a", "model"]) == nearest("x", []) == ""


def test_names_in_other_alphabets_are_compared_by_their_letters():
    assert re.search("'naïve_ohr'", nearest("naive_ohr", ["naïve_ohr", "nase"]))


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("lr=1e-3", "optimizer.lr"),
        ("devices=2", "trainer.devices"),
        ("backbone=a", "model.backbone"),
    ],
)
def test_a_key_of_a_node_is_suggested_with_its_path(override, meant):
    with pytest.raises(ConfigError, match=f"Did you mean '{meant}'"):
        compose(override)
