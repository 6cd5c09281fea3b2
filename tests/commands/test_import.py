"""`dlcexp import` as a user types it."""

import re

import pytest
import yaml

from dlcexp.cli import main
from dlcexp.yaml_files import read_mapping


def test_a_keyword_that_a_class_does_not_have_is_told(mouse_project, tmp_path, capsys):
    project = f"project={mouse_project.as_posix()}"
    assert main(["export", project, "net_type=dekr_w18"]) == 0
    document = yaml.safe_load(capsys.readouterr().out)
    predictor = document["model"]["heads"]["bodypart"]["predictor"]
    predictor["nms_treshold"] = predictor.pop("nms_threshold")
    file = tmp_path / "pytorch_config.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    assert main(["import", str(file), project]) == 2
    told = capsys.readouterr().err
    assert re.search(r"bodypart\.predictor\.nms_treshold: .*'nms_threshold'", told)


def test_a_misspelt_keyword_in_a_flat_file_of_tokenpose_is_told(
    samples, mouse_project, tmp_path, capsys
):
    document = read_mapping(samples / "flat_2024-02" / "single__tokenpose_base.yaml")
    head = document["model"]["heads"]["bodypart"]
    head["hidden_heatmap_dimm"] = head.pop("hidden_heatmap_dim")
    file = tmp_path / "pytorch_config.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    assert main(["import", str(file), f"project={mouse_project.as_posix()}"]) == 2
    told = capsys.readouterr().err
    assert re.search(r"heads\.bodypart\.hidden_heatmap_dimm: .*'hidden_heatmap_dim'", told)


@pytest.mark.parametrize("target", ["logging.os.system", "dlcexp.files.os.system", "os.system"])
@pytest.mark.parametrize("door", ["import", "pytorch_config=", "export"])
def test_an_alias_of_what_is_forbidden_is_refused_at_each_door(
    samples, mouse_project, tmp_path, capsys, door, target
):
    document = read_mapping(samples / "flat_2024-02" / "single__resnet_50.yaml")
    document["optimizer"] = {"_target_": target, "command": "touch made"}
    file = tmp_path / "pytorch_config.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    project = f"project={mouse_project.as_posix()}"
    words = {
        "import": ["import", str(file), project],
        "pytorch_config=": ["--cfg", "job", f"pytorch_config={file}", project],
        "export": ["export", project, f"optimizer._target_={target}"],
    }
    assert main(words[door]) == 2
    assert "_target_" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["pytorch_config.yaml"]
