"""`lamina build` and `lamina builder prune` as typed: words, streams, exit codes."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

LAMINA = Path(sys.executable).parent / "lamina"
TIMEOUT_S = 120


class Shell:
    """The command on one data root, in a folder with a context."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LAMINA_ROOT": str(root),
            "TERM": "xterm",
            "FROM_HERE": "value",
        }

    def __call__(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LAMINA, *args],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment,
            timeout=TIMEOUT_S,
            check=False,
        )

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def images(self) -> list[str]:
        return self("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()


@pytest.fixture
def shell(engine_root: Path) -> Iterator[Shell]:
    folder = engine_root / "work"
    folder.mkdir()
    made = Shell(engine_root / "root", folder)
    with tarfile.open(engine_root / "base.tar", "w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for applet in ("sh", "cat", "echo", "sleep", "env"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link, io.BytesIO())
    assert made("import", str(engine_root / "base.tar"), "alpine").returncode == 0
    yield made
    root = engine_root / "root"
    assert list((root / "tmp").iterdir()) == []
    assert f"{root}/" not in Path("/proc/self/mountinfo").read_text()


def test_progress_goes_to_standard_error_and_nothing_to_standard_output(shell: Shell) -> None:
    shell.write("Dockerfile", "FROM alpine\nRUN echo hi\nCMD echo\n")
    done = shell("build", "-t", "acme/x:1.0", "-t", "other", "--network", "none", ".")
    assert (done.returncode, done.stdout) == (0, "")
    lines = [re.sub(r"\d+\.\d+s", "T", line) for line in done.stderr.splitlines()]
    lines = [re.sub(r"[0-9a-f]{64}", "ID", re.sub(r"\d\.\d{3} ", "", line)) for line in lines]
    assert lines == [
        "#1 [internal] load build definition from Dockerfile",
        "#1 transferring dockerfile: 33B done",
        "#1 DONE T",
        "",
        "#2 [internal] load metadata for docker.io/library/alpine:latest",
        "#2 DONE T",
        "",
        "#3 [internal] load .dockerignore",
        "#3 transferring context: 2B done",
        "#3 DONE T",
        "",
        "#4 [1/2] FROM docker.io/library/alpine:latest",
        "#4 CACHED",
        "",
        "#5 [2/2] RUN echo hi",
        "#5 hi",
        "#5 DONE T",
        "",
        "#6 exporting to image",
        "#6 exporting layers done",
        "#6 writing image sha256:ID done",
        "#6 naming to docker.io/acme/x:1.0 done",
        "#6 naming to docker.io/library/other:latest done",
        "#6 DONE T",
    ]
    assert {"acme/x:1.0", "other:latest"} <= set(shell.images())


def test_quiet_prints_the_id_alone(shell: Shell) -> None:
    shell.write("Dockerfile", "FROM alpine\nLABEL a=b\n")
    done = shell("build", "-q", "--iidfile", "id", ".")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert (shell.folder / "id").read_text() == done.stdout.strip()


def test_dockerfiles_by_name_from_standard_input_and_without_a_context(shell: Shell) -> None:
    shell.write("Dockerfile.base", "FROM alpine\nLABEL from=file\n")
    named = shell("build", "-f", "Dockerfile.base", ".")
    assert "#1 [internal] load build definition from Dockerfile.base" in named.stderr
    for args in (("-f", "-", "."), ("-",)):
        assert shell("build", "-q", *args, stdin="FROM alpine\nLABEL a=b\n").returncode == 0
    done = shell("build", "-", stdin="FROM alpine\nCOPY x /\n")
    assert done.returncode == 1
    assert "ERROR: failed to solve: there is no build context to copy from" in done.stderr


def test_build_arguments_come_from_the_flag_or_the_environment(shell: Shell) -> None:
    shell.write("Dockerfile", "FROM alpine\nARG A\nARG FROM_HERE\nRUN echo $A $FROM_HERE\n")
    flags = ("--build-arg", "A=1", "--build-arg", "FROM_HERE", "--build-arg", "UNUSED=1")
    done = shell("build", "--network", "none", *flags, ".")
    assert re.search(r"^#5 \d\.\d+ 1 value$", done.stderr, re.MULTILINE)
    assert "[Warning] One or more build-args [UNUSED] were not consumed" in done.stderr


def test_a_failed_command_ends_as_buildkit_ends(shell: Shell) -> None:
    shell.write("Dockerfile", "FROM alpine\nRUN echo oh && exit 7\nCMD x\n")
    done = shell("build", "--network", "none", "-t", "x", ".")
    assert (done.returncode, done.stdout) == (1, "")
    ended = re.sub(r"\d+\.\d{3} ", "T ", done.stderr).splitlines()[-13:]
    failure = 'process "/bin/sh -c echo oh && exit 7" did not complete successfully: exit code: 7'
    assert ended == [
        "#5 T oh",
        f"#5 ERROR: {failure}",
        "------",
        " > [2/2] RUN echo oh && exit 7:",
        "T oh",
        "------",
        "Dockerfile:2",
        "--------------------",
        "   1 |     FROM alpine",
        "   2 | >>> RUN echo oh && exit 7",
        "   3 |     CMD x",
        "--------------------",
        f"ERROR: failed to solve: {failure}",
    ]
    assert shell.images() == ["alpine:latest"]


@pytest.mark.parametrize(
    ("dockerfile", "place", "error"),
    [
        (
            "FROM alpine\n\nFOO bar\n",
            "Dockerfile:3",
            "dockerfile parse error on line 3: unknown instruction: FOO",
        ),
        (
            "FROM alpine\nRUN --mount=type=cache,target=/c true\n",
            "Dockerfile:2",
            "Dockerfile:2: RUN --mount is not supported yet",
        ),
        (
            "FROM nothere\n",
            "Dockerfile:1",
            (
                "nothere: failed to resolve source metadata for docker.io/library/nothere:latest: "
                "No such image: nothere: import, load or build it first"
            ),
        ),
        (None, "", "failed to read dockerfile: open Dockerfile: no such file or directory"),
        ("", "", "file with no instructions"),
    ],
)
def test_bad_dockerfiles(shell: Shell, dockerfile: str | None, place: str, error: str) -> None:
    if dockerfile is not None:
        shell.write("Dockerfile", dockerfile)
    done = shell("build", "-t", "x", ".")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"ERROR: failed to solve: {error}"
    assert (place in done.stderr.splitlines()) == bool(place)
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_named(shell: Shell) -> None:
    shell.write("Dockerfile", "FROM alpine\nCOPY x /\n")
    done = shell("build", ".")
    assert done.returncode == 1
    assert re.fullmatch(
        "ERROR: failed to solve: failed to compute cache key: failed to calculate checksum of ref "
        r'\S+: "/x": not found',
        done.stderr.splitlines()[-1],
    )


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("/nowhere",), "unable to prepare context: path '/nowhere' not found"),
        (("https://example.com/x.git",), "a URL as build context is not supported yet"),
        (("--pull", "."), "build --pull is not supported yet"),
        (("--progress", "loud", "."), "invalid progress 'loud'"),
        (("--network", "mars", "."), "invalid network 'mars'"),
        (("-t", "A:b", "."), 'invalid tag "A:b"'),
        (("--target", "x", "."), "target stage 'x' could not be found"),
    ],
)
def test_what_cannot_be_asked_for(shell: Shell, args: tuple[str, ...], error: str) -> None:
    shell.write("Dockerfile", "FROM alpine\n")
    done = shell("build", *args)
    assert done.returncode == 1
    assert error in done.stderr
    assert "Traceback" not in done.stderr


def test_usage_mistakes_are_told_as_docker_tells_them(shell: Shell) -> None:
    assert "requires 1 argument" in shell("build").stderr
    unknown = shell("build", "--foo", ".")
    assert unknown.returncode != 0
    assert "unknown flag: --foo" in unknown.stderr


def on_terminal(shell: Shell, *args: str, interrupt_at: bytes = b"") -> tuple[int, str]:
    """The exit code, and what a terminal of its own got; ^C is typed when `interrupt_at` came."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(shell.folder)
        os.execve(LAMINA, ["lamina", *args], shell.environment)
    seen = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
        if interrupt_at and interrupt_at in seen:
            interrupt_at = b""
            os.write(terminal, b"\x03")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), seen.decode()


def test_on_a_terminal_the_picture_is_drawn_in_place(shell: Shell) -> None:
    shell.write("Dockerfile", "FROM alpine\nRUN echo hi\n")
    code, seen = on_terminal(shell, "build", "-t", "acme/x:1.0", "--network", "none", ".")
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", seen.rpartition("\x1b[?25l")[2])
    lines = [re.sub(r" +\d+\.\ds$", "", line) for line in last.splitlines()]
    lines = [re.sub(r"\d+\.\ds", "T", line) for line in lines]
    assert code == 0
    assert [line.partition("sha256")[0] for line in lines] == [
        "[+] Building T (6/6) FINISHED",
        " => [internal] load build definition from Dockerfile",
        " => => transferring dockerfile: 24B",
        " => [internal] load metadata for docker.io/library/alpine:latest",
        " => [internal] load .dockerignore",
        " => => transferring context: 2B",
        " => CACHED [1/2] FROM docker.io/library/alpine:latest",
        " => [2/2] RUN echo hi",
        " => exporting to image",
        " => => exporting layers",
        " => => writing image ",
        " => => naming to docker.io/acme/x:1.0",
    ]


def test_an_interrupt_ends_the_build_and_its_command(shell: Shell) -> None:
    shell.write("Dockerfile", "FROM alpine\nRUN echo started; sleep 600\n")
    args = ("build", "-t", "x", "--network", "none", ".")
    code, seen = on_terminal(shell, *args, interrupt_at=b"# started")
    assert code == 128 + signal.SIGINT
    assert "CANCELED [2/2] RUN" in seen
    assert shell.images() == ["alpine:latest"]


def test_a_terminated_build_ends_its_command(shell: Shell) -> None:
    shell.write("Dockerfile", "FROM alpine\nRUN echo started; sleep 600\n")
    with subprocess.Popen(
        [LAMINA, "build", "--network", "none", "."],
        stderr=subprocess.PIPE,
        cwd=shell.folder,
        env=shell.environment,
    ) as build:
        assert build.stderr is not None
        while not re.match(rb"#5 [\d.]+ started", line := build.stderr.readline()):
            assert line
        build.terminate()
        rest = build.stderr.read()
        assert build.wait(timeout=TIMEOUT_S) == 128 + signal.SIGTERM
    assert b"CANCELED" in rest
    assert b"Traceback" not in rest


@pytest.mark.parametrize("line", [rb"#1 ", rb"#3 DONE", rb"#4 CACHED", rb"#5 \[2/2\] RUN"])
def test_a_build_terminated_anywhere_leaves_nothing(shell: Shell, line: bytes) -> None:
    shell.write("Dockerfile", "FROM alpine\nRUN sleep 600\n")
    with subprocess.Popen(
        [LAMINA, "build", "--network", "none", "."],
        stderr=subprocess.PIPE,
        cwd=shell.folder,
        env=shell.environment,
    ) as build:
        assert build.stderr is not None
        while not re.match(line, read := build.stderr.readline()):
            assert read
        build.terminate()
        rest = build.stderr.read()
        assert build.wait(timeout=TIMEOUT_S) == 128 + signal.SIGTERM
    assert b"ERROR" not in rest
    assert b"Traceback" not in rest


def test_builder_prune_says_what_it_freed(shell: Shell) -> None:
    text = "FROM alpine\nRUN echo 123456 > /a\n"
    assert shell("build", "-q", "-t", "x", "--network", "none", "-", stdin=text).returncode == 0
    assert shell("builder", "prune", "-f").stdout == "Total reclaimed space: 0B\n"
    assert shell("rmi", "x").returncode == 0
    asked = shell("builder", "prune", stdin="n\n")
    assert asked.stdout == (
        "WARNING! This will remove all dangling build cache. "
        "Are you sure you want to continue? [y/N] "
    )
    done = shell("builder", "prune", "-f")
    assert re.fullmatch(
        r"Deleted build cache objects:\n[0-9a-z]{25}\n\nTotal reclaimed space: 7B\n", done.stdout
    )
