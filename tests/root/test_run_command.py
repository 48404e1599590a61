"""Containers through the real command `lamina`: run, ps, exec, logs, inspect, rm and the others."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

LAMINA = Path(sys.executable).parent / "lamina"
TIMEOUT_S = 60


class Lamina:
    """The command on one data root."""

    def __init__(self, root: Path) -> None:
        self.environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LAMINA_ROOT": str(root),
            "TERM": "xterm",
        }
        self.root = root

    def __call__(self, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        done = subprocess.run(
            [LAMINA, *args],
            input=stdin,
            capture_output=True,
            env=self.environment,
            timeout=TIMEOUT_S,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def ok(self, *args: str, stdin: bytes = b"") -> str:
        """What it prints when it succeeds without a word of complaint."""
        done = self(*args, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def begin(self, *args: str, **settings: int) -> subprocess.Popen[bytes]:
        """Start it and go on."""
        return subprocess.Popen([LAMINA, *args], env=self.environment, **settings)  # type: ignore[call-overload,no-any-return]


def busybox_tar() -> bytes:
    """A root filesystem of busybox alone, with two users and a folder for a volume."""
    out = io.BytesIO()
    busybox = Path("/bin/busybox").read_bytes()
    with tarfile.open(fileobj=out, mode="w") as tar:

        def folder(name: str, mode: int = 0o755) -> None:
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, mode
            tar.addfile(member)

        def file(name: str, data: bytes, mode: int = 0o644) -> None:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode
            tar.addfile(member, io.BytesIO(data))

        for name in ("bin", "etc", "root", "data", "proc", "sys", "dev"):
            folder(name)
        folder("tmp", 0o1777)
        file("bin/busybox", busybox, 0o755)
        applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, check=True)
        for applet in applets.stdout.decode().split():
            if applet != "busybox":
                member = tarfile.TarInfo(f"bin/{applet}")
                member.type, member.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(member)
        file("etc/passwd", b"root:x:0:0::/root:/bin/sh\nuser:x:1000:1001::/tmp:/bin/sh\n")
        file("etc/group", b"root:x:0:\nuser:x:1001:\n")
        file("data/seed", b"from the image\n")
        file("bin/not-a-program", b"neither script nor program\n", 0o755)
    return out.getvalue()


@pytest.fixture(scope="module")
def shared(scratch_filesystem: Path) -> Iterator[Lamina]:
    """One data root with the image `busybox` for all tests of this module."""
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=scratch_filesystem))
    lamina = Lamina(folder / "root")
    (folder / "rootfs.tar").write_bytes(busybox_tar())
    change = 'CMD ["sh"]'
    lamina.ok("import", "--change", change, str(folder / "rootfs.tar"), "busybox")
    try:
        yield lamina
    finally:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        for line in reversed(mounts):
            if line.split()[4].startswith(f"{folder}/"):
                subprocess.run(["umount", "-l", line.split()[4]], check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def lamina(shared: Lamina) -> Iterator[Lamina]:
    """The command; after the test, containers and volumes of its root are gone."""
    yield shared
    if ids := shared("ps", "-aq").stdout.split():
        assert shared("rm", "-f", "-v", *ids).returncode == 0
    shared("volume", "prune", "-a", "-f")
    assert os.listdir(shared.root / "containers") == []


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for the condition."""
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


# -- run ----------------------------------------------------------------------------------------


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
        (("-p", "x:80", "busybox"), "Invalid hostPort: x"),
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


# -- terminals ----------------------------------------------------------------------------------


class Terminal:
    """A person at a terminal of a given size."""

    def __init__(self, lamina: Lamina, *args: str, rows: int = 33, columns: int = 77) -> None:
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.process = subprocess.Popen(
            [LAMINA, *args],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=lamina.environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.seen = ""

    def resize(self, rows: int, columns: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, words: str) -> None:
        """Read until the words are seen; what was before them is forgotten."""
        end = time.monotonic() + TIMEOUT_S
        while words not in self.seen:
            assert time.monotonic() < end, f"no {words!r} in {self.seen!r}"
            assert self._read(), f"ended without {words!r}: {self.seen!r}"
        self.seen = self.seen.partition(words)[2]

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        return self.process.wait(TIMEOUT_S)

    def _read(self) -> bool:
        ready, _, _ = select.select([self.master], [], [], TIMEOUT_S)
        assert ready, f"nothing more than {self.seen!r}"
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self.master)


@pytest.fixture
def terminal(lamina: Lamina) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_terminal(*args: str, **size: int) -> Terminal:
        opened.append(Terminal(lamina, *args, **size))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()


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
    person.type("trap 'echo int''errupted' INT; echo go''es; sleep 100\n")
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


# -- exec ---------------------------------------------------------------------------------------


@pytest.fixture
def sleeper(lamina: Lamina) -> str:
    """A running container called `one`."""
    return lamina.ok(
        "run", "-d", "--name", "one", "--network", "none", "-e", "A=image", "busybox",
        "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done",
    ).strip()  # fmt: skip


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


# -- ps -----------------------------------------------------------------------------------------


def test_ps_shows_dockers_columns(lamina: Lamina) -> None:
    header = "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n"
    assert lamina.ok("ps") == header
    identity = lamina.ok("create", "--name", "one", "busybox", "sh", "-c", "echo a very long one")
    assert lamina.ok("ps") == header
    lines = lamina.ok("ps", "-a").splitlines()
    assert lines[0].split("  ")[0] == "CONTAINER ID"
    row = re.split(r" {2,}", lines[1])
    assert row[:3] == [identity[:12], "busybox", '"sh -c \'echo a very …"']
    assert row[3] in ("Less than a second ago", "1 second ago", "2 seconds ago")
    assert row[4:] == ["Created", "one"]


def test_ps_tells_the_states(lamina: Lamina, sleeper: str) -> None:
    lamina("run", "--name", "two", "--network", "none", "busybox", "sh", "-c", "exit 3")
    lamina.ok("create", "--name", "three", "busybox")
    rows = dict(
        line.split(" ", 1)
        for line in lamina.ok("ps", "-a", "--format", "{{.Names}} {{.Status}}").splitlines()
    )
    assert re.fullmatch(r"Up (Less than a|\d+) seconds?", rows["one"])
    assert re.fullmatch(r"Exited \(3\) (Less than a|\d+) seconds? ago", rows["two"])
    assert rows["three"] == "Created"


def test_ps_filters_and_limits(lamina: Lamina, sleeper: str) -> None:
    lamina.ok("create", "--name", "two", "-l", "tier=db", "-v", "vol:/x", "busybox")
    lamina("run", "--name", "three", "--network", "none", "busybox", "sh", "-c", "exit 3")

    def names(*args: str) -> list[str]:
        return lamina.ok("ps", "--format", "{{.Names}}", *args).split()

    assert names() == ["one"]
    assert names("-a") == ["three", "two", "one"]
    assert names("-n", "2") == ["three", "two"]
    assert names("-l") == ["three"]
    assert names("-f", "status=exited") == ["three"]
    assert names("-f", "exited=3") == ["three"]
    assert names("-a", "-f", "name=t") == ["three", "two"]
    assert names("-a", "-f", "label=tier=db") == ["two"]
    assert names("-a", "-f", "volume=vol") == ["two"]
    assert names("-f", f"id={sleeper[:20]}") == ["one"]
    assert names("-a", "-f", "since=one") == ["three", "two"]
    assert names("-a", "-f", "before=three") == ["two", "one"]
    assert names("-a", "-f", "ancestor=busybox") == ["three", "two", "one"]
    assert names("-a", "-f", "network=none") == ["three", "one"]
    done = lamina("ps", "-f", "colour=red")
    assert done.returncode == 1
    assert "colour" in done.stderr


def test_ps_size_is_that_of_the_writable_layer(lamina: Lamina, sleeper: str) -> None:
    args = ("ps", "--size", "--format", "table {{.ID}}\t{{.Image}}\t{{.Names}}\t{{.Size}}")
    lines = lamina.ok(*args).splitlines()
    assert re.split(r" {2,}", lines[0]) == ["CONTAINER ID", "IMAGE", "NAMES", "SIZE"]
    assert re.fullmatch(r"0B \(virtual [0-9.]+MB\)", re.split(r" {2,}", lines[1])[3])
    lamina.ok("exec", "one", "sh", "-c", "printf hello > /out.txt")
    assert re.split(r" {2,}", lamina.ok(*args).splitlines()[1])[3].startswith("5B (virtual ")
    assert "SIZE" in lamina.ok("ps", "-s").splitlines()[0]


def test_ps_as_json(lamina: Lamina, sleeper: str) -> None:
    row = json.loads(lamina.ok("ps", "--format", "json", "--no-trunc"))
    assert (row["ID"], row["Names"], row["Image"], row["State"]) == (
        sleeper,
        "one",
        "busybox",
        "running",
    )


def test_a_bad_template_is_told(lamina: Lamina) -> None:
    done = lamina("ps", "--format", "{{.Nope}}")
    lamina.ok("create", "busybox")
    done = lamina("ps", "-a", "--format", "{{.Nope}}")
    assert done.returncode == 1
    assert "can't evaluate field Nope" in done.stderr


# -- logs, wait, inspect -------------------------------------------------------------------------


def test_logs_keep_the_streams_apart(lamina: Lamina) -> None:
    script = "echo one; echo two >&2; echo three; printf four"
    lamina("run", "--name", "one", "--network", "none", "busybox", "sh", "-c", script)
    done = lamina("logs", "one")
    assert (done.stdout, done.stderr) == ("one\nthree\nfour", "two\n")
    assert lamina("logs", "--tail", "1", "one").stdout == "four"
    assert lamina("logs", "--tail", "0", "one").stdout == ""
    stamped = lamina("logs", "-t", "one").stdout.splitlines()[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z one", stamped)
    assert lamina("logs", "--since", "1h", "one").stdout == "one\nthree\nfour"
    assert lamina("logs", "--until", "1h", "one").stdout == ""


def test_logs_follow_until_the_end(lamina: Lamina) -> None:
    script = "echo first; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo last"
    lamina.ok("run", "-d", "--name", "one", "--network", "none", "busybox", "sh", "-c", script)
    process = lamina.begin("logs", "-f", "one", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"first\n"
    lamina.ok("exec", "one", "touch", "/tmp/go")
    assert process.stdout.read() == b"last\n"
    assert process.wait(TIMEOUT_S) == 0
    process.stdout.close()


def test_wait_prints_the_codes(lamina: Lamina) -> None:
    for name, code in (("one", 0), ("two", 3)):
        script = f"sleep 0.3; exit {code}"
        lamina.ok("run", "-d", "--name", name, "--network", "none", "busybox", "sh", "-c", script)
    assert lamina.ok("wait", "one", "two") == "0\n3\n"
    done = lamina("wait", "one", "nobody")
    assert (done.returncode, done.stdout) == (1, "0\n")
    assert done.stderr == "Error: No such container: nobody\n"


def test_inspect_is_an_array_indented_by_four(lamina: Lamina, sleeper: str) -> None:
    out = lamina.ok("inspect", "one", "busybox")
    assert out.startswith('[\n    {\n        "Id": "')
    container, image = json.loads(out)
    assert container["Id"] == sleeper
    assert container["Name"] == "/one"
    assert container["State"]["Running"] is True
    assert container["Image"] == image["Id"]
    assert container["GraphDriver"]["Name"]
    assert container["Config"]["Image"] == "busybox"
    assert container["HostConfig"]["NetworkMode"] == "none"


def test_inspect_by_template_type_and_size(lamina: Lamina, sleeper: str) -> None:
    assert lamina.ok("inspect", "-f", "{{json .State.ExitCode}}", "one") == "0\n"
    (found,) = json.loads(lamina.ok("inspect", "-s", "--type", "container", "one"))
    assert found["SizeRw"] == 0
    assert found["SizeRootFs"] > 0
    assert json.loads(lamina.ok("container", "inspect", "one"))[0]["Id"] == sleeper


def test_inspect_tells_what_is_missing_after_what_is_there(lamina: Lamina, sleeper: str) -> None:
    done = lamina("inspect", "-f", "{{.Name}}", "nobody", "one")
    assert done.returncode == 1
    assert done.stdout == "/one\n"
    assert done.stderr == "Error: No such object: nobody\n"
    done = lamina("inspect", "--type", "container", "nobody")
    assert (done.returncode, done.stdout) == (1, "[]\n")
    assert done.stderr == "Error: No such container: nobody\n"
    done = lamina("inspect", "--type", "planet", "one")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


# -- start, stop, kill, rm -------------------------------------------------------------------------


def test_create_then_start_attached(lamina: Lamina) -> None:
    lamina.ok("create", "-i", "--name", "one", "--network", "none", "busybox", "cat")
    assert lamina.ok("start", "-ai", "one", stdin=b"hello") == "hello"
    assert lamina.ok("logs", "one") == "hello"


def test_a_container_starts_again_with_what_it_wrote(lamina: Lamina) -> None:
    script = "echo x >> /count; wc -l < /count"
    lamina.ok("create", "--name", "one", "--network", "none", "busybox", "sh", "-c", script)
    assert lamina.ok("start", "-a", "one") == "1\n"
    assert lamina.ok("start", "-a", "one") == "2\n"
    assert lamina.ok("start", "one") == "one\n"


def test_stop_is_kind_and_prints_the_name(lamina: Lamina, sleeper: str) -> None:
    assert lamina.ok("stop", "one") == "one\n"
    assert lamina.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "one") == (
        "exited 0\n"
    )
    assert lamina.ok("stop", sleeper[:12]) == f"{sleeper[:12]}\n"


def test_stop_kills_what_does_not_listen(lamina: Lamina) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    lamina.ok("run", "-d", "--name", "one", "--network", "none", "busybox", "sh", "-c", script)
    until(lambda: lamina("logs", "one").stdout == "ready\n", "the trap is set")
    lamina.ok("stop", "-t", "0", "one")
    assert lamina.ok("wait", "one") == "137\n"


def test_kill_sends_the_signal(lamina: Lamina, sleeper: str) -> None:
    assert lamina.ok("kill", "-s", "TERM", "one") == "one\n"
    assert lamina.ok("wait", "one") == "0\n"
    done = lamina("kill", "one")
    assert done.returncode == 1
    assert "is not running" in done.stderr
    done = lamina("kill", "-s", "SIGNONE", "one")
    assert done.returncode == 1


def test_a_running_container_is_removed_by_force_only(lamina: Lamina, sleeper: str) -> None:
    done = lamina("rm", "one")
    assert done.returncode == 1
    assert "stop the container before removing or force remove" in done.stderr
    assert lamina.ok("rm", "-f", "one") == "one\n"
    assert lamina.ok("ps", "-aq") == ""


def test_each_name_is_reported(lamina: Lamina) -> None:
    lamina.ok("create", "--name", "one", "busybox")
    lamina.ok("create", "--name", "three", "busybox")
    done = lamina("rm", "one", "two", "three")
    assert (done.returncode, done.stdout) == (1, "one\nthree\n")
    assert done.stderr == "Error: No such container: two\n"


def test_an_id_prefix_names_one_container_or_none(lamina: Lamina) -> None:
    ids = [lamina.ok("create", "busybox").strip() for _ in range(20)]
    first = ids[0][:12]
    assert lamina.ok("inspect", "-f", "{{.Id}}", first) == f"{ids[0]}\n"
    letters = [each[0] for each in ids]
    shared = next(letter for letter in letters if letters.count(letter) > 1)
    done = lamina("rm", shared)
    assert done.returncode == 1
    assert shared in done.stderr


# -- volumes ------------------------------------------------------------------------------------


def test_a_named_volume_is_shared_and_outlives_its_containers(lamina: Lamina) -> None:
    write = "echo kept > /shared/file"
    args = ("--rm", "--network", "none", "-v", "vol:/shared", "busybox")
    lamina.ok("run", *args, "sh", "-c", write)
    assert lamina.ok("run", *args, "cat", "/shared/file") == "kept\n"
    assert lamina.ok("volume", "ls", "-q") == "vol\n"
    assert (lamina.root / "volumes/vol/_data/file").read_text() == "kept\n"


def test_an_empty_volume_takes_the_images_content(lamina: Lamina) -> None:
    args = ("run", "--rm", "--network", "none", "-v", "vol:/data", "busybox", "cat", "/data/seed")
    assert lamina.ok(*args) == "from the image\n"
    assert (lamina.root / "volumes/vol/_data/seed").read_text() == "from the image\n"


def test_a_read_only_volume_cannot_be_written(lamina: Lamina, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host\n")
    for source in (str(tmp_path), "vol"):
        done = lamina(
            "run", "--rm", "--network", "none", "-v", f"{source}:/srv:ro", "busybox",
            "sh", "-c", "cat /srv/file; touch /srv/x",
        )  # fmt: skip
        assert "Read-only file system" in done.stderr
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_of_the_host_is_shared_and_made_where_missing(
    lamina: Lamina, tmp_path: Path
) -> None:
    lamina.ok(
        "run", "--rm", "--network", "none", "-v", f"{tmp_path}/a/b:/srv", "busybox",
        "touch", "/srv/made",
    )  # fmt: skip
    assert (tmp_path / "a/b/made").exists()


def test_a_volume_in_use_is_kept_and_named(lamina: Lamina) -> None:
    identity = lamina.ok("create", "-v", "vol:/srv", "busybox").strip()
    done = lamina("volume", "rm", "vol")
    assert done.returncode == 1
    assert done.stderr == f"Error: remove vol: volume is in use - [{identity}]\n"
    (mount,) = json.loads(lamina.ok("inspect", "-f", "{{json .Mounts}}", identity))
    assert (mount["Type"], mount["Name"], mount["Destination"]) == ("volume", "vol", "/srv")
    lamina.ok("rm", identity)
    assert lamina.ok("volume", "rm", "vol") == "vol\n"


def test_rm_v_takes_anonymous_volumes_along(lamina: Lamina) -> None:
    lamina.ok("create", "--name", "one", "-v", "/cache", "-v", "vol:/srv", "busybox")
    lamina.ok("create", "--name", "two", "-v", "/cache", "busybox")
    lamina.ok("rm", "-v", "one")
    assert len(lamina.ok("volume", "ls", "-q").split()) == 2
    lamina.ok("rm", "two")
    assert len(lamina.ok("volume", "ls", "-q").split()) == 2
    out = lamina.ok("volume", "prune", "-f")
    assert out.startswith("Deleted Volumes:\n")
    assert out.endswith("\n\nTotal reclaimed space: 0B\n")
    assert lamina.ok("volume", "ls", "-q") == "vol\n"


def test_volume_commands(lamina: Lamina) -> None:
    assert lamina.ok("volume", "create", "--label", "a=b", "vol") == "vol\n"
    assert re.fullmatch(r"[0-9a-f]{64}\n", lamina.ok("volume", "create"))
    assert lamina.ok("volume", "ls", "-f", "name=vol") == ("DRIVER    VOLUME NAME\nlocal     vol\n")
    (found,) = json.loads(lamina.ok("volume", "inspect", "vol"))
    assert found["Mountpoint"] == str(lamina.root / "volumes/vol/_data")
    assert found["Labels"] == {"a": "b"}
    done = lamina("volume", "inspect", "none")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "[]\n",
        "Error: No such volume: none\n",
    )
    done = lamina("volume", "create", "a/b")
    assert done.returncode == 1
    assert "includes invalid characters" in done.stderr
    done = lamina("volume", "rm", "none")
    assert (done.returncode, done.stderr) == (1, "Error: No such volume: none\n")


def test_what_the_image_declares_is_done(lamina: Lamina) -> None:
    tar = lamina.root.parent / "rootfs.tar"
    changes = ("--change", "VOLUME /data", "--change", "EXPOSE 80", "--change", 'CMD ["sh"]')
    lamina.ok("import", *changes, str(tar), "declaring")
    lamina.ok("run", "-dit", "--name", "one", "-P", "declaring")
    assert lamina.ok("exec", "one", "cat", "/data/seed") == "from the image\n"
    (name,) = lamina.ok("volume", "ls", "-q").split()
    assert len(name) == 64
    shown = lamina.ok("ps", "--format", "{{.Ports}}|{{.LocalVolumes}}|{{.Mounts}}")
    assert re.fullmatch(rf"0\.0\.0\.0:\d+->80/tcp\|1\|{name[:14]}…\n", shown)
    assert lamina.ok("ps", "-q", "-f", f"volume={name}") != ""
    lamina.ok("rm", "-f", "-v", "one")
    assert lamina.ok("volume", "ls", "-q") == ""
    lamina.ok("rmi", "declaring")


def test_many_runs_at_once_leave_nothing(lamina: Lamina) -> None:
    script = "ip -4 -o addr show eth0 | awk '{print $4}'"
    running = [
        lamina.begin(
            "run", "--rm", "-v", "vol:/data", "-p", "80", "busybox", "sh", "-c", script,
            stdout=subprocess.PIPE,
        )
        for _ in range(6)
    ]  # fmt: skip
    answers = [process.communicate(timeout=TIMEOUT_S)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 6
    assert all(re.fullmatch(rb"[0-9.]+/\d+\n", answer) for answer in answers)
    assert lamina.ok("ps", "-aq") == ""


# -- networks -----------------------------------------------------------------------------------


def test_the_default_network_is_a_bridge_with_an_address(lamina: Lamina) -> None:
    lamina.ok("run", "-d", "--name", "one", "-h", "box", "busybox", "sleep", "1000")
    (found,) = json.loads(lamina.ok("inspect", "one"))
    address = found["NetworkSettings"]["IPAddress"]
    assert f"{address}/" in lamina.ok("exec", "one", "ip", "-4", "addr", "show", "eth0")
    assert f"{address}\tbox\n" in lamina.ok("exec", "one", "cat", "/etc/hosts")
    assert "nameserver " in lamina.ok("exec", "one", "cat", "/etc/resolv.conf")
    bridge = found["NetworkSettings"]["Networks"]["bridge"]
    assert bridge["IPAddress"] == address
    (network,) = json.loads(lamina.ok("network", "inspect", "bridge"))
    assert network["Containers"][found["Id"]]["Name"] == "one"
    assert network["IPAM"]["Config"][0]["Gateway"] == bridge["Gateway"]


def test_a_published_port_answers_and_is_shown(lamina: Lamina) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = "mkdir /www && echo hello > /www/index.html && httpd -f -p 80 -h /www"
    lamina.ok("run", "-d", "--name", "one", "-p", f"{port}:80", "busybox", "sh", "-c", script)

    def answer() -> bytes:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/index.html")
            return connection.getresponse().read()
        except OSError:
            return b""

    until(lambda: answer() == b"hello\n", "the server answers")
    assert lamina.ok("ps", "--format", "{{.Ports}}") == f"0.0.0.0:{port}->80/tcp\n"
    done = lamina("run", "--rm", "-p", f"{port}:80", "busybox", "true")
    assert done.returncode == 125
    assert "port is already allocated" in done.stderr
    lamina.ok("rm", "-f", "one")
    assert answer() == b""


def test_no_network_is_loopback_alone(lamina: Lamina) -> None:
    script = "cat /proc/net/dev | tail -n +3"
    out = lamina.ok("run", "--rm", "--network", "none", "busybox", "sh", "-c", script)
    assert [line.split(":")[0].strip() for line in out.splitlines()] == ["lo"]


def test_the_hosts_network_is_the_hosts(lamina: Lamina) -> None:
    out = lamina.ok("run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net")
    assert out.strip() == os.readlink("/proc/self/ns/net")


def test_an_address_is_freed_when_its_container_ends(lamina: Lamina) -> None:
    script = "ip -4 -o addr show eth0 | awk '{print $4}'"
    seen = {lamina.ok("run", "--rm", "busybox", "sh", "-c", script) for _ in range(3)}
    assert len(seen) == 1


def test_dns_and_hosts_as_asked(lamina: Lamina) -> None:
    out = lamina.ok(
        "run", "--rm", "--dns", "192.0.2.1", "--dns-search", "a.test", "--add-host", "db:192.0.2.9",
        "busybox", "cat", "/etc/resolv.conf", "/etc/hosts",
    )  # fmt: skip
    assert out.startswith("nameserver 192.0.2.1\nsearch a.test\n")
    assert "\n192.0.2.9\tdb\n" in out


def test_network_ls_lists_three(lamina: Lamina) -> None:
    lines = [line.split() for line in lamina.ok("network", "ls").splitlines()]
    assert lines[0] == ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]
    assert [line[1:] for line in lines[1:]] == [
        ["bridge", "bridge", "local"],
        ["host", "host", "local"],
        ["none", "null", "local"],
    ]


@pytest.mark.parametrize(
    ("hide", "words"),
    [
        (
            "mount -t tmpfs none /usr/lib/podman",
            (
                "Error: network bridge needs netavark, which is not installed: install the package "
                "netavark, or use --network host or --network none\n"
            ),
        ),
        (
            (
                "mount -t overlay -o lowerdir=/usr/sbin,upperdir=$1/up,workdir=$1/work none "
                "/usr/sbin && rm /usr/sbin/iptables /usr/sbin/ip6tables"
            ),
            (
                "Error: no usable firewall for network bridge: netavark setup: No such file or "
                "directory (os error 2): install iptables with its kernel modules, or use "
                "--network host or none\n"
            ),
        ),
    ],
    ids=["netavark", "iptables"],
)
def test_what_the_bridge_needs_is_named_where_it_is_missing(
    lamina: Lamina, hide: str, words: str
) -> None:
    scratch = Path(tempfile.mkdtemp(dir=lamina.root.parent))
    for name in ("up", "work"):
        (scratch / name).mkdir()
    script = f'{hide} || exit 99; shift; exec "$0" "$@"'
    try:
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, LAMINA, scratch, "run", "busybox", "true"],
            capture_output=True,
            env=lamina.environment,
            timeout=TIMEOUT_S,
            check=False,
        )
    finally:
        shutil.rmtree(scratch)
    assert (done.returncode, done.stderr.decode(), done.stdout) == (125, words, b"")
    assert lamina.ok("ps", "-a", "--format", "{{.Status}}") == "Created\n"


def test_a_client_that_is_killed_leaves_the_container_to_itself(lamina: Lamina) -> None:
    script = "echo ready; while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 4"
    args = ("run", "--name", "one", "--network", "none", "busybox", "sh", "-c", script)
    process = lamina.begin(*args, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert lamina.ok("ps", "--format", "{{.Names}}") == "one\n"
    lamina.ok("exec", "one", "touch", "/tmp/go")
    assert lamina.ok("wait", "one") == "4\n"


def test_output_that_nobody_reads_ends_the_command_quietly(lamina: Lamina) -> None:
    script = 'exec "$0" run --rm --network none busybox sh -c "yes | head -c 1000000" | head -n 1'
    done = subprocess.run(
        ["sh", "-c", script, LAMINA], capture_output=True, env=lamina.environment, timeout=TIMEOUT_S
    )
    assert (done.stdout, done.stderr) == (b"y\n", b"")
    until(lambda: lamina.ok("ps", "-aq") == "", "the container has ended and is removed")


def test_a_terminal_without_input_is_allowed(lamina: Lamina) -> None:
    assert lamina.ok("run", "--rm", "-t", "--network", "none", "busybox", "echo", "hi") == "hi\r\n"


def test_running_out_of_memory_is_told_and_leaves_no_file_with_the_caller(
    lamina: Lamina, tmp_path: Path
) -> None:
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        done = lamina(
            "run", "--name", "one", "-m", "8m", "--network", "none", "busybox",
            "sh", "-c", "head -c 60000000 /dev/zero | tail",
        )  # fmt: skip
    finally:
        os.chdir(here)
    assert done.returncode != 0
    assert lamina.ok("inspect", "-f", "{{.State.OOMKilled}}", "one") == "true\n"
    assert os.listdir(tmp_path) == []


# -- the other commands of containers -----------------------------------------------------------


def test_attach_after_detaching(lamina: Lamina, terminal: Callable[..., Terminal]) -> None:
    lamina.ok("run", "-dit", "--name", "one", "--network", "none", "busybox", "sh")
    person = terminal("attach", "one", rows=21, columns=51)
    person.type("\n")
    person.expect("# ")
    person.type("while [ \"$(stty size)\" != '21 51' ]; do sleep 0.02; done; echo si''zed\n")
    person.expect("sized")
    person.type("exit 6\n")
    assert person.end() == 6
    done = lamina("attach", "one")
    assert done.returncode == 1
    assert "cannot attach to a stopped container" in done.stderr


def test_diff_tells_what_was_changed(lamina: Lamina) -> None:
    script = "echo x > /new; rm /data/seed; chmod 700 /root"
    lamina.ok("run", "--name", "one", "--network", "none", "busybox", "sh", "-c", script)
    assert lamina.ok("diff", "one") == "C /data\nD /data/seed\nA /new\nC /root\n"


def test_rename_and_port(lamina: Lamina) -> None:
    lamina.ok("run", "-d", "--name", "one", "-p", "127.0.0.1::80", "busybox", "sleep", "1000")
    lamina.ok("rename", "one", "two")
    (line,) = lamina.ok("port", "two").splitlines()
    assert re.fullmatch(r"80/tcp -> 127\.0\.0\.1:\d+", line)
    assert lamina.ok("port", "two", "80") == line.partition(" -> ")[2] + "\n"
    done = lamina("port", "two", "81")
    assert done.returncode == 1
    assert done.stderr == "Error: No public port '81/tcp' published for two\n"
