"""The export equals what DeepLabCut 3.0.2 writes itself for the same project and net type."""

from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from dlcexp.config import compose
from dlcexp.deeplabcut.pytorch_config import export_config, net_type

NET_TYPES = [f"{family}_{width}" for family in ("dekr", "hrnet") for width in ("w18", "w32", "w48")]


def read(text: str) -> dict:
    """Parse as YAML 1.2 would: `1e-05` is a number, as it is for DeepLabCut."""
    return OmegaConf.to_container(OmegaConf.create(text))


def ordered(node):
    """Nested lists of pairs, so that a comparison also sees the order of keys."""
    if isinstance(node, dict):
        return [(key, ordered(value)) for key, value in node.items()]
    return node


@pytest.mark.parametrize("net", NET_TYPES)
@pytest.mark.parametrize("project", ["openfield", "flies13"])
def test_an_export_equals_deeplabcuts_own_file_key_by_key_and_in_its_order(shared, project, net):
    root = shared / "data" / project
    text = export_config(compose(f"project={root}", f"net_type={net}"))
    record = (shared / "parity" / "configs" / project / f"{net}.yaml").read_text()
    expected = read(record.replace("PROJECT", root.as_posix()))
    assert ordered(read(text)) == ordered(expected)


def test_what_the_user_changes_is_the_only_difference(shared):
    root = shared / "data" / "openfield"
    base = read(export_config(compose(f"project={root}")))
    changed = read(
        export_config(
            compose(
                f"project={root}",
                "optimizer=sgd",
                "optimizer.lr=0.01",
                "optimizer.momentum=0.9",
                "scheduler=step_lr",
                "batch_size=4",
                "data.resize.width=320",
                "data.resize.height=240",
                "data.train.affine.rotation=90",
                "logger=wandb",
                "logger.wandb.run_name=first",
            )
        )
    )
    runner = changed["runner"]
    assert runner["optimizer"] == {"type": "SGD", "params": {"lr": 0.01, "momentum": 0.9}}
    assert runner["scheduler"] == {"type": "StepLR", "params": {"step_size": 30, "gamma": 0.1}}
    assert changed["train_settings"]["batch_size"] == 4
    resize = {"width": 320, "height": 240, "keep_ratio": True}
    assert changed["data"]["train"]["resize"] == changed["data"]["inference"]["resize"] == resize
    assert changed["data"]["train"]["affine"]["rotation"] == 90
    assert changed["logger"] == {
        "type": "WandbLogger",
        "project_name": "dlcexp",
        "run_name": "first",
    }
    assert changed["model"] == base["model"]
    assert changed["metadata"] == base["metadata"]


def test_nested_schedulers_keep_deeplabcuts_form(shared):
    root = shared / "data" / "openfield"
    exported = read(
        export_config(compose(f"project={root}", "scheduler=sequential_lr", "epochs=50"))
    )
    scheduler = exported["runner"]["scheduler"]
    assert scheduler["type"] == "SequentialLR"
    assert scheduler["params"]["milestones"] == [5]
    assert scheduler["params"]["schedulers"][1] == {
        "type": "CosineAnnealingLR",
        "params": {"T_max": 45, "eta_min": 0.0},
    }


def test_the_flat_form_has_the_keys_of_the_specification_at_its_top(shared):
    root = shared / "data" / "openfield"
    flat = read(export_config(compose(f"project={root}", "logger=wandb"), schema="flat"))
    specified = "batch_size data device epochs method model with_center_keypoints optimizer"
    assert set(specified.split()) | {"save_epochs", "scheduler", "logger"} <= set(flat)
    sample = shared / "spec" / "pytorch_configs" / "flat_2024-02" / "single__dekr_w18.yaml"
    recorded = read(sample.read_text())
    assert set(recorded) - set(flat) == {"cfg_path"}
    assert flat["data"]["rotation"] == recorded["data"]["rotation"]
    assert flat["data"]["scale_jitter"] == recorded["data"]["scale_jitter"]
    assert flat["model"]["heads"]["bodypart"]["offset_config"].keys() == (
        recorded["model"]["heads"]["bodypart"]["offset_config"].keys()
    )


def test_the_net_type_is_derived_from_the_groups_never_copied():
    assert net_type(compose("net_type=dekr_w18", "model=paf").model) == "hrnet_w18"
    assert net_type(compose("net_type=hrnet_w48", "model=dekr").model) == "dekr_w48"


def test_safe_loaders_read_every_number_as_a_number():
    text = export_config(compose())
    assert yaml.safe_load(text) == read(text)


@pytest.mark.parametrize(
    "option",
    sorted((Path(__file__).parents[2] / "conf" / "optimizer").glob("*.yaml")),
    ids=lambda p: p.stem,
)
def test_the_literal_values_of_an_optimizer_option_are_torchs_defaults(option):
    """An export leaves such values out, so DeepLabCut must arrive at the same ones."""
    import inspect

    import torch

    node = yaml.safe_load(option.read_text())
    name = node.pop("_target_").rpartition(".")[2]
    if not hasattr(torch.optim, name):
        pytest.skip(f"this torch has no {name}")
    parameters = inspect.signature(getattr(torch.optim, name)).parameters
    node.pop("_partial_")
    for key, value in node.items():
        if value != "${..recipe.lr}":
            default = parameters[key].default
            assert value == (list(default) if isinstance(default, tuple) else default)
