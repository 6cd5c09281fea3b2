"""A stranger's file is read as plain values, or refused at once with one message."""

import re

import pytest

from dlcexp.errors import ProjectError
from dlcexp.yaml_files import (
    MAX_BYTES,
    comments_in,
    dump_yaml,
    parse_yaml,
    read_as_text,
    read_mapping,
    read_yaml,
)

EXPLODING = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)


def read(tmp_path, text: str | bytes) -> dict:
    source = tmp_path / "file.yaml"
    source.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_mapping(source)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a: 1e-4\nb: 5E3\nc: .5\nd: 1.\ne: -3",
            {"a": 1e-4, "b": 5e3, "c": 0.5, "d": 1.0, "e": -3},
        ),
        ("a: no\nb: y\nc: 1:30\nd: 1_000", {"a": "no", "b": "y", "c": "1:30", "d": "1_000"}),
        ("a: true\nb: ~\nc:\nd: 'null'", {"a": True, "b": None, "c": None, "d": "null"}),
        ("a: 2024-01-01\nb: 0x1f # hex\nc: '1'", {"a": "2024-01-01", "b": 31, "c": "1"}),
        ("\ufeffa: 1\r\nb:\r\n  - x\r\n", {"a": 1, "b": ["x"]}),
        ("a: 1\n".encode("utf-16"), {"a": 1}),
        ("a:\n\tb: 1\n\tc:\t2\n", {"a": {"b": 1, "c": 2}}),
        (r'project_path: "C:\Users\me"', {"project_path": r"C:\Users\me"}),
        (r"project_path: C:\Users\me", {"project_path": r"C:\Users\me"}),
        ("a: &x {p: 1}\nb:\n  <<: *x\n  q: 2", {"a": {"p": 1}, "b": {"p": 1, "q": 2}}),
    ],
)
def test_what_deeplabcut_and_people_write_is_read(tmp_path, text, expected):
    assert read(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: !!python/object/apply:os.system ['touch x']", r"python/object/apply:os\.system"),
        ("a: !mine 1", "'!mine'"),
        ("m: {b: {_target_: os.system}}", r"m\.b\._target_: "),
        ("a: [{_args_: [1]}]", r"a\[0\]\._args_"),
        ("a: ${oc.env:HOME}", r"a: '\$\{oc.env:HOME\}'"),
        ("a: x${b}", r"a: 'x\$\{b\}'"),
        ("'${a}': 1", r"\$\{a\}"),
        ("a: '???'", r"a: '\?\?\?'"),
        (EXPLODING, "100,000"),
        ("a: &a [*a]", "100,000"),
        ("a: " + "[" * 200 + "]" * 200, "40"),
        ("[" * 2_000_000, "file.yaml"),
        ("a: 1\na: 2", "'a'"),
        ("a: [1", "line 2: "),
        ("a: *nope", "line 1: "),
        ("a: " + "9" * 5000, "file.yaml"),
        ("1: 2", "1"),
        ("? [1]\n: 2", "file.yaml"),
        ("a: 1\n---\nb: 2", "file.yaml"),
        ("", "file.yaml"),
        ("- 1", "file.yaml"),
        (b"\xff\xfa", "UTF-8"),
        (b"a: \x00", "file.yaml"),
        ("x" * (MAX_BYTES + 1), "bytes"),
    ],
)
def test_what_could_run_or_explode_is_refused(tmp_path, monkeypatch, text, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProjectError, match=told) as caught:
        read(tmp_path, text)
    assert len(str(caught.value)) < 500
    assert [path.name for path in tmp_path.iterdir()] == ["file.yaml"]


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ProjectError, match=f"{re.escape(str(path))}: "):
            read_mapping(path)


# Our own files


def test_what_is_written_is_read_back(tmp_path):
    shared = {"names": ["näme", "no", "1"], "values": [None, True, 1e-4, 3]}
    text = dump_yaml({"b": shared, "a": shared})
    assert "&" not in text
    assert "näme" in text
    assert list(parse_yaml(text, tmp_path)) == ["b", "a"]
    assert parse_yaml(text, tmp_path)["a"] == shared


def test_a_name_keeps_its_spelling_as_text(tmp_path):
    source = tmp_path / "config.yaml"
    source.write_text("bodyparts: [no, 1, 1e5, ~]\nTask:\n", encoding="utf-8-sig")
    assert read_as_text(source) == {"bodyparts": ["no", "1", "1e5", "~"], "Task": ""}


@pytest.mark.parametrize("read_file", [read_yaml, read_as_text])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: [1", "line 2: is not valid YAML"),
        (b"a: \xff", r"is not UTF-8 text \(byte 3\)"),
        (b"a: !!python/object/apply:os.getcwd []", "is not valid YAML"),
        (None, "cannot be read"),
    ],
)
def test_what_cannot_be_read_names_the_file(tmp_path, read_file, content, problem):
    source = tmp_path / "file.yaml"
    if content is not None:
        source.write_bytes(content)
    if read_file is read_as_text and content and b"python" in content:
        assert read_file(source) == {"a": []}  # a tag has no effect on text
        return
    with pytest.raises(ProjectError, match=rf"file\.yaml.*{problem}"):
        read_file(source)


def test_the_comment_of_a_key_is_the_one_on_its_line():
    text = "# first\na: 1  # one\nb:   # of b\n  c: 'x # y'  # of c\nd: 2\n"
    assert comments_in(text) == {"a": "one", "b": "of b", "b.c": "of c"}


@pytest.mark.parametrize("reader", [read_yaml, read_as_text])
def test_aliases_that_amount_to_gigabytes_are_refused_in_every_file(tmp_path, reader):
    source = tmp_path / "config.yaml"
    source.write_text(f"Task: mouse\n{EXPLODING}")
    with pytest.raises(ProjectError, match="more than 100,000 values"):
        reader(source)
    source.write_text("a: &a !!str 1\nb: *a\n")
    assert reader(source) == {"a": "1", "b": "1"}
