"""The words of `ps` and `logs`: statuses, commands cut short, moments."""

from __future__ import annotations

import time

import pytest

from lamina.cli.logs import moment, stamp
from lamina.cli.ps import read_filters, status, truncate
from lamina.containers.state import ContainerState
from lamina.errors import InvalidInput

NOW_S = 1_700_000_000


def at(seconds_ago: float) -> int:
    return int((NOW_S - seconds_ago) * 1e9)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (ContainerState("created"), "Created"),
        (ContainerState("running", started_ns=at(3)), "Up 3 seconds"),
        (ContainerState("running", started_ns=at(0.2)), "Up Less than a second"),
        (ContainerState("running", started_ns=at(70)), "Up About a minute"),
        (ContainerState("exited", finished_ns=at(120)), "Exited (0) 2 minutes ago"),
        (ContainerState("exited", exit_code=137, finished_ns=at(1)), "Exited (137) 1 second ago"),
        (ContainerState("removing"), "Removal In Progress"),
    ],
)
def test_a_state_is_told_in_dockers_words(state: ContainerState, expected: str) -> None:
    assert status(state, NOW_S) == expected


def test_what_is_too_long_ends_in_an_ellipsis() -> None:
    assert truncate("x" * 20, 20) == "x" * 20
    assert truncate("x" * 21, 20) == "x" * 19 + "…"


def test_filters_of_one_name_are_gathered() -> None:
    assert read_filters(["name=a", "NAME = b", "label=k=v"]) == {
        "name": ["a", "b"],
        "label": ["k=v"],
    }


def test_a_filter_without_a_value_is_refused() -> None:
    with pytest.raises(InvalidInput, match="bad format of filter"):
        read_filters(["running"])


def test_a_log_line_is_stamped_with_nine_digits() -> None:
    assert stamp(1_700_000_000_000_000_005) == "2023-11-14T22:13:20.000000005Z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-11-14T22:13:20Z", 1_700_000_000),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000),
        ("2023-11-14T22:13:20.5Z", 1_700_000_000.5),
        ("2023-11-14T22:13:20", 1_700_000_000),
        ("2023-11-14T22:13", 1_699_999_980),
        ("2023-11-14", 1_699_920_000),
        ("1700000000", 1_700_000_000),
        ("1700000000.25", 1_700_000_000.25),
    ],
)
def test_a_moment_is_read(text: str, expected: float) -> None:
    assert moment(text, "since") == round(expected * 100) * 10**7


def test_a_length_of_time_counts_back_from_now() -> None:
    before = time.time_ns()
    found = moment("1h30m", "since")
    assert before - 5400 * 10**9 <= found <= time.time_ns() - 5400 * 10**9


@pytest.mark.parametrize("text", ["yesterday", "2023-13-40", "10x", "1.2.3", "-5m"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match='invalid value for "since"'):
        moment(text, "since")
