"""`dlcexp import` as a user types it."""

import yaml

from dlcexp.cli import main


def test_a_keyword_that_a_class_does_not_have_is_told(openfield, tmp_path, capsys):
    project = f"project={openfield.as_posix()}"
    assert main(["export", project, "net_type=dekr_w18"]) == 0
    document = yaml.safe_load(capsys.readouterr().out)
    predictor = document["model"]["heads"]["bodypart"]["predictor"]
    predictor["nms_treshold"] = predictor.pop("nms_threshold")
    file = tmp_path / "pytorch_config.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    assert main(["import", str(file), project]) == 2
    told = capsys.readouterr().err
    assert "model.heads.bodypart.predictor.nms_treshold: " in told
    assert "Did you mean 'nms_threshold'?" in told
