"""The command `lamina` as a person or a script uses it: run to its end, begun, or at a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import select
import struct
import subprocess
import sys
import tarfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

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


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for the condition."""
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


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
