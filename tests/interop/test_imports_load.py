"""DeepLabCut loads what dlcexp makes of the files that DeepLabCut itself refuses, or once wrote."""

import pytest

from dlcexp.composition import compose
from dlcexp.deeplabcut.export import export_config

SAMPLES = [
    "flat_2024-02/single__dekr_w18",
    "flat_2024-02/single__topdown_hrnet_w18",
    "flat_2024-02/single__resnet_50",
    "sectioned_3.0rc1/single__topdown_hrnet_w18",
    "sectioned_3.0.0/single__rtmpose_s",
]


@pytest.mark.slow
def test_deeplabcut_loads_every_converted_file_and_builds_its_model(
    deeplabcut, samples, mouse_project, tmp_path
):
    epochs = {}
    for sample in SAMPLES:
        source = samples / f"{sample}.yaml"
        cfg = compose(f"pytorch_config={source.as_posix()}", f"project={mouse_project.as_posix()}")
        name = sample.replace("/", "-")
        (tmp_path / f"{name}.yaml").write_text(export_config(cfg), encoding="utf-8")
        epochs[name] = cfg.epochs
    said = deeplabcut("load_configs", tmp_path)
    assert {name: answer["epochs"] for name, answer in said.items()} == epochs
    assert all(answer["parameters"] > 0 for answer in said.values())
