"""Moments are written and read as Go does."""

from __future__ import annotations

import pytest

from lamina.errors import InvalidInput
from lamina.images.filters import moment_ns
from lamina.images.times import ZERO, parse_rfc3339, rfc3339

SECOND = 1_000_000_000
HOUR = 3600 * SECOND


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2001-09-09T01:46:40Z", 10**18),
        ("2001-09-09T01:46:40.5Z", 10**18 + SECOND // 2),
        ("2001-09-09T01:46:40.000000001Z", 10**18 + 1),
        ("2001-09-09T03:46:40+02:00", 10**18),
        ("1969-12-31T23:59:59Z", -SECOND),
    ],
)
def test_a_moment_is_read(text: str, moment: int) -> None:
    assert parse_rfc3339(text) == moment
    if text.endswith("Z"):
        assert rfc3339(moment) == text


def test_the_zero_time_of_go_is_read() -> None:
    assert parse_rfc3339(ZERO) < 0


@pytest.mark.parametrize("text", ["", "now", "2020-01-01", "2020-01-01T00:00:00", "2020"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_rfc3339(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("10m", 10**18 - HOUR // 6),
        ("1h30m", 10**18 - HOUR * 3 // 2),
        ("1.5h", 10**18 - HOUR * 3 // 2),
        ("1000000000", 10**18),
        ("1000000000.5", 10**18 + SECOND // 2),
        ("2001-09-09", 10**18 - (HOUR + 46 * 60 * SECOND + 40 * SECOND)),
        ("2001-09-09T01:46:40", 10**18),
        ("2001-09-09T01:46:40Z", 10**18),
    ],
)
def test_until_takes_lengths_of_time_and_moments(text: str, moment: int) -> None:
    assert moment_ns(text, now_ns=10**18) == moment
