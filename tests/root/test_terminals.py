"""Containers at a terminal: size, keys, detaching and attaching."""

from __future__ import annotations

import termios
from collections.abc import Callable

import pytest
from commandkit import Lamina, Terminal


def test_a_terminal_has_the_callers_size_and_follows_it(
    terminal: Callable[..., Terminal],
) -> None:
    person = terminal("run", "-it", "--rm", "--network", "none", "busybox", "sh")
    person.expect("# ")
    person.type("stty size\n")
    person.expect("33 77")
    person.expect("# ")
    person.resize(44, 99)
    person.type("while [ \"$(stty size)\" != '44 99' ]; do sleep 0.02; done; echo res''ized\n")
    person.expect("resized")
    person.type("exit 5\n")
    assert person.end() == 5


def test_the_last_of_many_sizes_is_the_one_that_stays(terminal: Callable[..., Terminal]) -> None:
    person = terminal("run", "-it", "--rm", "--network", "none", "busybox", "sh")
    person.expect("# ")
    for number in range(40):
        person.resize(20 + number, 60 + number)
    person.type("while [ \"$(stty size)\" != '59 99' ]; do sleep 0.02; done; exit 5\n")
    assert person.end() == 5


def test_the_callers_terminal_is_as_it_was_afterwards(
    terminal: Callable[..., Terminal],
) -> None:
    person = terminal("run", "-it", "--rm", "--network", "none", "busybox", "sh")
    before = termios.tcgetattr(person.master)
    person.expect("# ")
    assert not termios.tcgetattr(person.master)[3] & termios.ICANON
    person.type("exit\n")
    assert person.end() == 0
    assert termios.tcgetattr(person.master)[3] & termios.ICANON == before[3] & termios.ICANON


def test_ctrl_c_goes_to_the_container_not_to_lamina(terminal: Callable[..., Terminal]) -> None:
    person = terminal("run", "-it", "--rm", "--network", "none", "busybox", "sh")
    person.expect("# ")
    # Wherever in the loop the signal comes, the next turn ends it; a long sleep could be begun
    # just after.
    person.type("trap 'echo int''errupted; ended=1' INT; echo go''es\n")
    person.type('while [ -z "$ended" ]; do sleep 0.05; done\n')
    person.expect("goes")
    person.type("\x03")
    person.expect("interrupted")
    person.type("exit 3\n")
    assert person.end() == 3


def test_the_detach_keys_leave_the_container_running(
    lamina: Lamina, terminal: Callable[..., Terminal]
) -> None:
    person = terminal("run", "-it", "--name", "one", "--network", "none", "busybox", "sh")
    person.expect("# ")
    person.type("\x10\x11")
    assert person.end() == 0
    assert lamina.ok("ps", "--format", "{{.Names}}") == "one\n"


@pytest.mark.parametrize("command", ["run", "start", "attach", "exec"])
def test_detach_keys_that_are_none_are_refused_before_anything_happens(
    command: str, lamina: Lamina, terminal: Callable[..., Terminal]
) -> None:
    words: dict[str, tuple[str, ...]] = {
        "run": ("-it", "busybox", "sh"),
        "start": ("-ai", "one"),
        "attach": ("two",),
        "exec": ("-it", "two", "touch", "/made"),
    }
    lamina.ok("create", "-it", "--name", "one", "--network", "none", "busybox", "sh")
    lamina.ok("run", "-dit", "--name", "two", "--network", "none", "busybox", "sh")
    person = terminal(command, "--detach-keys", "ctrl-no", *words[command])
    person.expect("Error: invalid detach keys (ctrl-no): unknown character: 'ctrl-no'")
    assert person.end() in (1, 125)
    states = "{{.Names}} {{.State}}"
    assert lamina.ok("ps", "-a", "--format", states) == "two running\none created\n"
    assert lamina.ok("diff", "two") == ""


def test_exec_with_a_terminal(lamina: Lamina, terminal: Callable[..., Terminal]) -> None:
    lamina.ok("run", "-d", "--name", "one", "--network", "none", "busybox", "sleep", "1000")
    person = terminal("exec", "-it", "one", "sh", rows=20, columns=50)
    person.expect("# ")
    person.type("stty size; exit 9\n")
    person.expect("20 50")
    assert person.end() == 9


def test_without_t_the_callers_terminal_is_left_alone(
    terminal: Callable[..., Terminal],
) -> None:
    person = terminal("run", "--rm", "--network", "none", "busybox", "sh", "-c", "echo a; echo b")
    assert person.end() == 0
    assert person.seen == "a\r\nb\r\n"
