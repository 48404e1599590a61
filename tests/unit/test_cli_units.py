"""Sizes and times read as Docker's."""

from __future__ import annotations

import pytest

from lamina.cli.units import ago, binary_size, duration, human_size, parse_size, size
from lamina.errors import InvalidInput


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0B"),
        (5, "5B"),
        (999, "999B"),
        (1000, "1kB"),
        (1024, "1.02kB"),
        (7_750_000, "7.75MB"),
        (63_200_000, "63.2MB"),
        (1_000_000_000, "1GB"),
        (999_950, "1e+03kB"),
    ],
)
def test_sizes_have_three_significant_digits(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


def test_four_digits_and_binary_units() -> None:
    assert human_size(1_234_567) == "1.235MB"
    assert binary_size(24 * 1024**3) == "24GiB"
    assert binary_size(25_276_723_200) == "23.54GiB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"),
        (1, "1 second"),
        (47, "47 seconds"),
        (60, "About a minute"),
        (3 * 60, "3 minutes"),
        (59 * 60, "59 minutes"),
        (60 * 60, "About an hour"),
        (89 * 60, "About an hour"),
        (90 * 60, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (59 * 86400, "8 weeks"),
        (60 * 86400, "2 months"),
        (23 * 30 * 86400, "23 months"),
        (2 * 365 * 86400, "2 years"),
        (10 * 365 * 86400, "10 years"),
    ],
)
def test_durations_are_told_in_their_largest_unit(seconds: int, text: str) -> None:
    assert duration(seconds) == text
    assert ago(seconds) == f"{text} ago"


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("32", 32),
        ("32b", 32),
        ("1k", 1024),
        ("1kb", 1024),
        ("512m", 512 << 20),
        ("1.5G", 3 << 29),
        ("64KiB", 64 << 10),
        ("2 tb", 2 << 40),
    ],
)
def test_sizes_are_read_in_powers_of_1024(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "x", "-1", "1x", "1kk", "nan", "inf", "m", "1 2"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid size"):
        parse_size(text)
