"""What a flat file cannot say is named, and nothing else is."""

import re

import pytest

from dlcexp.cli import main
from dlcexp.config.checks import check_keys
from dlcexp.config.compose import compose_tree, resolve
from dlcexp.config.overrides import parse_overrides
from dlcexp.deeplabcut.export import export_sections
from dlcexp.deeplabcut.lost_in_flat import lost_in_flat


def lost(project, *words: str) -> list[str]:
    line = [f"project={project.as_posix()}", "net_type=dekr_w18", "data.bbox_margin=25", *words]
    return lost_in_flat(export_sections(check_keys(resolve(compose_tree(parse_overrides(line))))))


def test_what_both_forms_can_say_is_not_lost(mouse_project):
    said = ["batch_size=3", "optimizer.lr=0.5", "data.train.affine.rotation=90", "seed=7"]
    assert lost(mouse_project, *said, "data.train.auto_padding=${data.auto_padding}") == []


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("evaluation.pcutoff=0.4", "inference.eval.pcutoff: 0.4.* 0.6"),
        ("data.train.affine.p=0.7", "data.train.affine.p: 0.7.* 0.5"),
        ("data.bbox_margin=3", "data.bbox_margin: 3.* 25"),
        ("trainer.key_metric=test.mAR", "runner.key_metric: test.mAR.* test.mAP"),
    ],
)
def test_what_the_flat_form_has_no_words_for_is_lost(word, line, mouse_project):
    own = lost(mouse_project, word, "data.train.auto_padding=${data.auto_padding}")
    assert len(own) == 1
    assert re.match(line, own[0])


def test_export_prints_the_list(mouse_project, capsys):
    words = [f"project={mouse_project.as_posix()}", "evaluation.pcutoff=0.4", "export.schema=flat"]
    assert main(["export", *words]) == 0
    assert re.search("inference.eval.pcutoff: 0.4.* 0.6", capsys.readouterr().err)
