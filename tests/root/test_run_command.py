"""`lamina run`: output, exit codes, refusals, signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from commandkit import LAMINA, TIMEOUT_S, Lamina, until


def test_run_prints_what_the_command_prints(lamina: Lamina) -> None:
    done = lamina("run", "--network", "none", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "err\n")


@pytest.mark.parametrize("code", [0, 1, 42, 125, 255])
def test_run_ends_with_the_commands_exit_code(lamina: Lamina, code: int) -> None:
    done = lamina("run", "--rm", "--network", "none", "busybox", "sh", "-c", f"exit {code}")
    assert (done.returncode, done.stderr) == (code, "")


def test_a_command_that_a_signal_ends_gives_128_and_its_number(lamina: Lamina) -> None:
    script = "sh -c 'kill -9 $$'; exit $?"
    done = lamina("run", "--rm", "--network", "none", "busybox", "sh", "-c", script)
    assert done.returncode == 137


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("no-such-command", 127, "executable file not found in $PATH"),
        ("/no/such/path", 127, "no such file or directory"),
        ("/etc/passwd", 126, "permission denied"),
        ("/etc", 126, ""),
    ],
)
def test_a_command_that_cannot_run_is_told_apart(
    lamina: Lamina, command: str, code: int, words: str
) -> None:
    done = lamina("run", "--rm", "--network", "none", "busybox", command)
    assert done.returncode == code, done
    assert words in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert lamina.ok("ps", "-aq") == ""


def test_a_file_that_is_no_program_says_so(lamina: Lamina) -> None:
    done = lamina("run", "--rm", "--network", "none", "busybox", "/bin/not-a-program")
    assert done.returncode != 0
    assert done.stderr == "exec /bin/not-a-program: exec format error\n"


def test_a_missing_image_is_named_and_nothing_is_made(lamina: Lamina) -> None:
    done = lamina("run", "nowhere")
    assert done.returncode == 125
    first, second = done.stderr.splitlines()
    assert first == "Unable to find image 'nowhere:latest' locally"
    assert second.startswith("Error: No such image: nowhere:latest")
    assert done.stdout == ""
    assert lamina.ok("ps", "-aq") == ""


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--foo", "busybox"), "unknown flag: --foo"),
        (("--name", "!", "busybox"), "Invalid container name (!)"),
        (("Busybox",), "must be lowercase"),
        (("a b",), "invalid reference format"),
        (("-p", "x:80", "busybox"), "invalid hostPort: x"),
        (("-v", "a/b:/c", "busybox"), "includes invalid characters for a local volume name"),
        (("-v", "/a:/b:rx", "busybox"), "invalid mode: rx"),
        (("-v", "/a:/", "busybox"), "destination can't be '/'"),
        (("--network", "blue", "busybox"), "network blue not found"),
        (("-w", "here", "busybox"), "needs to be an absolute path"),
        (("-u", "nobody-here", "busybox"), "unable to find user nobody-here"),
        (("--env-file", "/absent", "busybox"), "open /absent: no such file or directory"),
        (("--cap-add", "FLY", "busybox"), "FLY"),
    ],
)
def test_a_wrong_input_is_refused_by_name_and_leaves_nothing(
    lamina: Lamina, args: tuple[str, ...], words: str
) -> None:
    done = lamina("run", "--rm", *args, "true")
    assert done.returncode == 125, done
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert lamina.ok("ps", "-aq") == ""
    assert lamina.ok("volume", "ls", "-q") == ""


def test_a_terminal_is_refused_where_there_is_none(lamina: Lamina) -> None:
    done = lamina("run", "-it", "busybox", "true")
    assert (done.returncode, done.stderr) == (1, "the input device is not a TTY\n")
    assert lamina.ok("ps", "-aq") == ""


def test_run_passes_its_input_on(lamina: Lamina) -> None:
    data = os.urandom(300_000).hex().encode()
    done = lamina("run", "-i", "--rm", "--network", "none", "busybox", "md5sum", stdin=data)
    import hashlib

    assert done.stdout.split()[0] == hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_run_without_i_gives_no_input(lamina: Lamina) -> None:
    args = ("run", "--rm", "--network", "none", "busybox", "cat")
    assert lamina.ok(*args, stdin=b"unseen") == ""


def test_a_large_output_arrives_whole(lamina: Lamina) -> None:
    script = "yes 0123456789abcdef | head -c 3000000"
    out = lamina.ok("run", "--rm", "--network", "none", "busybox", "sh", "-c", script)
    assert len(out) == 3_000_000


def test_env_user_workdir_hostname_and_entrypoint(lamina: Lamina) -> None:
    out = lamina.ok(
        "run", "--rm", "--network", "none", "-e", "A=b c", "-u", "user", "-w", "/data",
        "-h", "box", "--entrypoint", "sh", "busybox", "-c",
        'echo "$A"; id -u; id -g; pwd; hostname; echo $HOME',
    )  # fmt: skip
    assert out.splitlines() == ["b c", "1000", "1001", "/data", "box", "/tmp"]


def test_a_workdir_that_is_missing_is_made(lamina: Lamina) -> None:
    args = ("run", "--rm", "--network", "none", "-w", "/new/place", "busybox", "pwd")
    assert lamina.ok(*args) == "/new/place\n"


def test_a_read_only_container_cannot_write(lamina: Lamina) -> None:
    done = lamina(
        "run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/scratch", "busybox",
        "sh", "-c", "echo x > /scratch/ok && cat /scratch/ok; echo x > /no",
    )  # fmt: skip
    assert done.stdout == "x\n"
    assert "Read-only file system" in done.stderr


def test_rm_leaves_nothing_behind(lamina: Lamina) -> None:
    lamina.ok("run", "--rm", "--network", "none", "-v", "/cache", "busybox", "true")
    assert lamina.ok("ps", "-aq") == ""
    assert lamina.ok("volume", "ls", "-q") == ""
    assert os.listdir(lamina.root / "containers") == []


def test_a_detached_container_with_rm_goes_by_itself(lamina: Lamina) -> None:
    lamina.ok("run", "-d", "--rm", "--network", "none", "busybox", "true")
    until(lambda: lamina.ok("ps", "-aq") == "", "the container is removed")


def test_a_detached_container_prints_its_id_and_runs_on(lamina: Lamina) -> None:
    out = lamina.ok("run", "-dit", "--name", "one", "--network", "none", "busybox", "sh")
    assert re.fullmatch(r"[0-9a-f]{64}\n", out)
    assert lamina.ok("ps", "-q", "--no-trunc") == out
    assert lamina.ok("inspect", "-f", "{{.State.Status}} {{.Name}}", "one") == "running /one\n"


def test_a_taken_name_is_refused(lamina: Lamina) -> None:
    identity = lamina.ok("create", "--name", "one", "busybox").strip()
    done = lamina("run", "--name", "one", "busybox", "true")
    assert done.returncode == 125
    assert f'The container name "/one" is already in use by container "{identity}"' in done.stderr


def test_a_cidfile_is_written_once(lamina: Lamina, tmp_path: Path) -> None:
    path = tmp_path / "cid"
    identity = lamina.ok("create", "--cidfile", str(path), "busybox").strip()
    assert path.read_text() == identity
    done = lamina("create", "--cidfile", str(path), "busybox")
    assert done.returncode == 1
    assert "container ID file found" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_container(lamina: Lamina, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo caught {name}; exit 7' {name}; echo ready; while :; do sleep 0.05; done"
    process = lamina.begin(
        "run", "--rm", "--network", "none", "busybox", "sh", "-c", script, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    assert process.stdout.read() == f"caught {name}\n".encode()
    assert process.wait(TIMEOUT_S) == 7
    process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_interrupts_a_deaf_container_three_times_is_let_go(
    lamina: Lamina, number: signal.Signals
) -> None:
    script = f"trap 'echo heard' {number.name.removeprefix('SIG')}; echo ready; "
    words = ("--rm", "--name", "deaf", "--network", "none", "busybox", "sh", "-c")
    process = lamina.begin(
        *("run", *words, script + "while :; do sleep 0.05; done"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == b"ready\n"
    for _ in range(2):
        process.send_signal(number)
        assert process.stdout.readline() == b"heard\n"
    process.send_signal(number)
    assert process.wait(TIMEOUT_S) == 130
    told = b"Error: got 3 SIGTERM/SIGINTs, forcefully exiting: the container goes on: "
    assert process.stderr.read().startswith(told)
    assert lamina.ok("ps", "--format", "{{.Names}}") == "deaf\n"
    lamina.ok("kill", "deaf")
    until(lambda: lamina.ok("ps", "-aq") == "", "the container removed itself")
    process.stdout.close()
    process.stderr.close()


@pytest.mark.parametrize(
    ("closed", "printed"), [("<&-", "hi"), (">&-", ""), ("2>&-", "hi"), ("<&- >&- 2>&-", "")]
)
def test_closed_streams_do_no_harm(lamina: Lamina, closed: str, printed: str) -> None:
    script = f'"$0" run -i --rm --network none busybox echo hi {closed}'
    done = subprocess.run(
        ["sh", "-c", script, LAMINA], capture_output=True, env=lamina.environment, timeout=TIMEOUT_S
    )
    assert (done.returncode, done.stdout.decode().strip(), done.stderr) == (0, printed, b"")
