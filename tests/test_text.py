"""Wording that messages have in common."""

import math

import pytest

from dlcexp.text import clock, duration, first_line, listed, number, time_left, without_passwords


@pytest.mark.parametrize(
    ("names", "most", "expected"),
    [
        ([], 8, "none"),
        (["a"], 8, "a"),
        (["a", 2], 2, "a, 2"),
        (["a", "b", "c"], 2, "a, b and 1 more"),
        (map(str, range(20)), None, ", ".join(map(str, range(20)))),
    ],
)
def test_names_are_listed(names, most, expected):
    assert listed(names, most) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError(), "ValueError"),
        (ValueError("\n  one"), "one"),
    ],
)
def test_the_first_line_of_an_error(error, expected):
    assert first_line(error) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (59.4, "59 s"), (185, "3:05 min"), (7805, "2:10 h"), (math.nan, "–")],
)
def test_a_duration_is_in_its_largest_unit(seconds, expected):
    assert duration(seconds) == expected


def test_the_time_left_is_that_of_the_rest_at_the_speed_so_far():
    assert clock(185.4) == "0:03:05"
    assert time_left(60, 2, 8) == "0:03:00"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(math.nan, "–"), (0, "0"), (1234.5, "1234"), (12.345, "12.35"), (0.012345, "0.0123")],
)
def test_a_number_has_the_digits_that_matter(value, expected):
    assert number(value) == expected


def test_passwords_of_urls_are_masked_and_nothing_else():
    secret = "postgresql://me:secret@host/db"
    content = {"storage": secret, "list": [f"a={secret}", 3, None]}
    masked = "postgresql://me:***@host/db"
    assert without_passwords(content) == {"storage": masked, "list": [f"a={masked}", 3, None]}
    for text in ("http://host:5000", '["http://host:5000","me@home"]', "sqlite:///a.db me@home"):
        assert without_passwords(text) == text
