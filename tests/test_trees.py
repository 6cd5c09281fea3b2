"""Two trees side by side: what only one has, what both have otherwise, nothing else."""

from dlcexp.trees import ABSENT, Difference, differences, nodes


def test_only_what_differs_is_told_with_its_full_key():
    first = {"a": 1, "b": {"c": [1, 2], "d": None}, "e": {"x": 1}}
    second = {"a": 1.0, "b": {"c": [1, 3], "d": None}, "f": True}
    assert list(differences(first, second)) == [
        Difference("b.c", [1, 2], [1, 3]),
        Difference("e", {"x": 1}, ABSENT),
        Difference("f", ABSENT, True),
    ]


def test_true_is_not_one_and_null_is_not_absent():
    assert list(differences({"a": 1, "b": None}, {"a": True})) == [
        Difference("a", 1, True),
        Difference("b", None, ABSENT),
    ]


def test_an_empty_node_is_as_good_as_none():
    assert list(differences({"callbacks": {}}, {})) == []
    assert list(differences({}, {"callbacks": {}, "b": []})) == [Difference("b", ABSENT, [])]


def test_nodes_of_a_list_are_compared_one_by_one():
    first = {"s": [{"lr": 1}, {"lr": 2}]}
    second = {"s": [{"lr": 1}, {"lr": 3}]}
    assert list(differences(first, second)) == [Difference("s[1].lr", 2, 3)]
    assert [each.key for each in differences(first, {"s": [{"lr": 1}]})] == ["s"]


def test_every_node_has_its_path():
    tree = {"a": {"b": [{"c": 1}, 2]}, "d": {}}
    assert dict(nodes(tree)) == {
        "": tree,
        "a": tree["a"],
        "a.b": [{"c": 1}, 2],
        "a.b[0]": {"c": 1},
        "a.b[0].c": 1,
        "a.b[1]": 2,
        "d": {},
    }
    assert [path for path, _ in nodes([1], "x")] == ["x", "x[0]"]
