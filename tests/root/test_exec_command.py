"""`lamina exec`."""

from __future__ import annotations

import re

import pytest
from commandkit import Lamina, until


def test_exec_gives_output_and_exit_code(lamina: Lamina, sleeper: str) -> None:
    done = lamina("exec", "one", "sh", "-c", "echo out; echo err >&2; exit 4")
    assert (done.returncode, done.stdout, done.stderr) == (4, "out\n", "err\n")


def test_exec_takes_variables_folder_and_user(lamina: Lamina, sleeper: str) -> None:
    out = lamina.ok(
        "exec", "-e", "B=c", "-w", "/data", "-u", "user", "one",
        "sh", "-c", "echo $A $B; pwd; id -u",
    )  # fmt: skip
    assert out == "image c\n/data\n1000\n"


def test_exec_passes_its_input_on(lamina: Lamina, sleeper: str) -> None:
    assert lamina.ok("exec", "-i", "one", "cat", stdin=b"hello") == "hello"


def test_exec_in_the_background(lamina: Lamina, sleeper: str) -> None:
    assert lamina.ok("exec", "-d", "one", "sh", "-c", "echo x > /tmp/done") == ""
    until(lambda: lamina("exec", "one", "cat", "/tmp/done").stdout == "x\n", "the command has run")


@pytest.mark.parametrize(("command", "code"), [("no-such", 127), ("/etc/passwd", 126)])
def test_exec_of_what_cannot_run(lamina: Lamina, sleeper: str, command: str, code: int) -> None:
    done = lamina("exec", "one", command)
    assert done.returncode == code, done
    assert done.stderr.startswith("Error: ")


def test_exec_needs_a_running_container(lamina: Lamina) -> None:
    identity = lamina.ok("create", "--name", "one", "busybox").strip()
    done = lamina("exec", "one", "true")
    assert done.returncode == 1
    assert re.search(rf"[Cc]ontainer {identity} is not running", done.stderr), done
    done = lamina("exec", "nobody", "true")
    assert (done.returncode, done.stderr) == (1, "Error: No such container: nobody\n")


@pytest.mark.parametrize("flag", [("-u", "nobody-here"), ("-w", "relative")])
def test_exec_that_cannot_be_set_up_is_126(
    lamina: Lamina, sleeper: str, flag: tuple[str, str]
) -> None:
    done = lamina("exec", *flag, "one", "true")
    assert done.returncode == 126, done
    assert done.stderr.startswith("Error: ")


def test_exec_without_a_terminal_knows_of_none(lamina: Lamina) -> None:
    lamina.ok("run", "-dit", "--name", "one", "--network", "none", "busybox")
    assert "TERM=" not in lamina.ok("exec", "one", "env")
    assert "TERM=xterm\r\n" in lamina.ok("exec", "-t", "one", "env")
