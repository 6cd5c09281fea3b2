"""`dlcexp diff` of runs, files and command lines."""

import re

import pytest
import yaml
from omegaconf import OmegaConf

from dlcexp.cli import main
from dlcexp.composition import compose


def lines(capsys) -> list[list[str]]:
    return [line.split("\t") for line in capsys.readouterr().out.splitlines()]


def test_two_command_lines_differ_in_what_they_say(mouse_project, capsys):
    assert main(["diff", "", "dlcexp train batch_size=3 seed=7", f"project={mouse_project}"]) == 0
    header, *rows = lines(capsys)
    assert header == ["key", "", "dlcexp train batch_size=3 seed=7"]
    assert rows == [["batch_size", "8", "3"], ["seed", "42", "7"]]


def test_callbacks_that_one_experiment_has_are_shown_and_a_run_of_before_has_none(
    openfield, tmp_path, capsys
):
    line = f"project={openfield.as_posix()}"
    before = compose(line)
    del before["callbacks"]
    OmegaConf.save(before, tmp_path / "config.yaml")
    assert main(["diff", str(tmp_path), "callbacks=ema", line]) == 0
    (row,) = lines(capsys)[1:]
    assert row[0].startswith("callbacks")
    assert "ema" in row[0] + row[2]
    assert main(["diff", "callbacks=ema", "callbacks=ema callbacks.ema.decay=0.9", line]) == 0
    assert lines(capsys)[1:] == [["callbacks.ema.decay", "0.999", "0.9"]]
    assert main(["diff", str(tmp_path), "", line]) == 0
    assert capsys.readouterr().out == "no difference\n"


def test_a_run_and_a_file_are_the_same_experiment_until_one_is_edited(
    mouse_project, tmp_path, capsys
):
    words = [f"project={mouse_project.as_posix()}", "net_type=dekr_w18", "epochs=3"]
    run = tmp_path / "run"
    run.mkdir()
    OmegaConf.save(compose(*words), run / "config.yaml")
    file = tmp_path / "pytorch_config.yaml"
    assert main(["export", *words, f"export.file={file.as_posix()}"]) == 0
    capsys.readouterr()
    assert main(["diff", str(run), str(file), words[0]]) == 0
    assert "\t" not in capsys.readouterr().out
    document = yaml.safe_load(file.read_text())
    document["runner"]["optimizer"]["params"]["lr"] = 0.25
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    assert main(["diff", str(run / "config.yaml"), str(file)]) == 0
    assert ["optimizer.lr", "0.0005", "0.25"] in lines(capsys)


def test_what_a_model_recommends_is_shown_where_it_takes_effect(openfield, capsys):
    line = f"project={openfield.as_posix()}"
    assert main(["diff", "model.recipe.batch_size=3", "", line]) == 0
    assert lines(capsys)[1:] == [["batch_size", "3", "8"]]


@pytest.mark.parametrize("width", [50, 120])
def test_a_table_keeps_to_the_width_of_the_terminal(width, mouse_project, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    line = f"project={mouse_project.as_posix()}"
    assert main(["diff", "model=dekr", "model=heatmap optimizer=sgd", line]) == 0
    shown = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, shown)) <= width
    assert any("HeatmapHead" in row for row in shown) or width == 50


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([""], r"\bdiff\b"),
        (["net_type=dekr_w19", ""], r"net_type: 'dekr_w19' .*'dekr_w18'"),
        (["", "nowhere.yaml"], r"nowhere\.yaml"),
        (["", "{folder}"], r"{folder}.*config\.yaml"),
        (["", "{folder}/broken.yaml"], r"broken\.yaml, line 2: "),
        (["a='b", ""], r"a='b"),
        (["--fast", "", ""], r"'--fast'"),
    ],
)
def test_what_cannot_be_compared_is_one_message(words, message, tmp_path, capsys):
    (tmp_path / "broken.yaml").write_text("a: [1")
    assert main(["diff", *(word.format(folder=tmp_path) for word in words)]) == 2
    told = capsys.readouterr().err
    assert re.search(message.format(folder=re.escape(str(tmp_path))), told)
    assert len(told.splitlines()) == 1
