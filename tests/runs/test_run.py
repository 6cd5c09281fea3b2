"""A run folder that was damaged is refused with a message, or opened without what is damaged."""

import pytest

from dlcexp.errors import UserError
from dlcexp.runs.folder import RunFolder
from dlcexp.runs.run import Run


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"model: {a: 1", b"model: \xff\xfe", b"- 1", b"text", b"\0", b"model: 3"),
        *(b"model: " + b"[" * 900 + b"]" * 900, b"model: " + b"9" * 5000, b"model: {a: '${b}'}"),
    ],
    ids=range(10),
)
def test_a_damaged_tree_is_refused(content, tmp_path):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.yaml|not a run folder"):
        Run.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b'{"test.mAP": 5', b"\xff", b"[1]", b"3"])
def test_damaged_numbers_are_left_out(content, tree, tmp_path, caplog):
    RunFolder(tmp_path).write_tree(tree())
    (tmp_path / "metrics.json").write_bytes(content)
    assert Run.open(tmp_path).metrics == {}
    assert "metrics.json" in caplog.text
