"""A busybox image, and containers of it whose streams a test can hold in its hands."""

from __future__ import annotations

import io
import os
import pty
import select
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamina.containers.config import ContainerConfig, ExecConfig, HostConfig
from lamina.containers.console import Streams
from lamina.containers.container import Container
from lamina.engine import Engine

IMAGE = "busybox"
CLI = [sys.executable, "-c", "from lamina.cli.main import main; main()"]
_APPLETS = (
    "sh cat ls echo true false id env sleep mount ps touch rm mkdir stty kill hostname pwd tty "
    "head dd wc nc wget ip printf chmod seq trap ln readlink stat df"
)
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001:Ann:/home/ann:/bin/sh\n",
    "etc/group": "root:x:0:\nann:x:1001:\nwheel:x:10:ann\n",
}


def busybox_tar(extra: Callable[[tarfile.TarFile], None] | None = None) -> bytes:
    """A root filesystem of busybox and two users."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("bin", "tmp", "root", "home"):
            add_folder(tar, name)
        if extra is None:
            add_folder(tar, "etc")
            for name, text in _FILES.items():
                add_file(tar, name, text)
        else:
            extra(tar)
        tar.add(os.path.realpath("/bin/busybox"), "bin/busybox")
        for applet in _APPLETS.split():
            add_link(tar, f"bin/{applet}", "busybox")
    return out.getvalue()


def add_folder(tar: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    tar.addfile(member)


def add_file(tar: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(text.encode()), 0o644
    tar.addfile(member, io.BytesIO(text.encode()))


def add_link(tar: tarfile.TarFile, name: str, target: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    tar.addfile(member)


@dataclass
class Result:
    """What an attached run gave."""

    code: int | None
    out: bytes
    err: bytes


class Kit:
    """An engine with the image, and short ways to make containers."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        engine.import_image(io.BytesIO(busybox_tar()), IMAGE)

    def create(
        self, *cmd: str, name: str | None = None, host: HostConfig | None = None, **config: Any
    ) -> Container:
        return self.engine.containers.create(
            ContainerConfig(image=config.pop("image", IMAGE), cmd=cmd or None, **config),
            host or HostConfig(network_mode="host"),
            name=name,
        )

    def started(self, *cmd: str, **config: Any) -> Container:
        container = self.create(*cmd, **config)
        container.start()
        return container

    def run(self, *cmd: str, stdin: bytes | None = None, **config: Any) -> Result:
        if stdin is not None:
            config |= {"open_stdin": True, "stdin_once": True}
        container = self.create(*cmd, **config)
        return captured(container.start, stdin=stdin)

    def exec(self, container: Container, *cmd: str, **config: Any) -> Result:
        stdin = config.pop("stdin", None)
        if stdin is not None:
            config["open_stdin"] = True
        command = ExecConfig(cmd, **config)
        return captured(lambda streams: container.exec(command, streams), stdin=stdin)


def captured(run: Callable[[Streams], int | None], stdin: bytes | None = None) -> Result:
    """Call it with files in place of the standard streams."""
    with (
        tempfile.TemporaryFile() as source,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        source.write(stdin or b"")
        source.seek(0)
        given = None if stdin is None else source.fileno()
        code = run(Streams(given, out.fileno(), err.fileno(), signal_proxy=False))
        out.seek(0)
        err.seek(0)
        return Result(code, out.read(), err.read())


def wait_for(condition: Callable[[], object], timeout_s: float = 20) -> None:
    """Wait until it holds; a failure where it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        select.select([], [], [], 0.01)


class Terminal:
    """A program of the command line on a pseudo-terminal of its own."""

    def __init__(self, root: Path, *arguments: str, size: tuple[int, int] = (24, 80)) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["COLUMNS"] = "80"
            os.execv(CLI[0], [*CLI, "--root", str(root), *arguments])
        self.resize(*size)
        self.text = b""
        self.code: int | None = None

    def resize(self, rows: int, columns: int) -> None:
        import termios

        termios.tcsetwinsize(self.fd, (rows, columns))

    def type(self, data: bytes) -> None:
        os.write(self.fd, data)

    def expect(self, wanted: bytes, timeout_s: float = 20) -> None:
        deadline = time.monotonic() + timeout_s
        while wanted not in self.text:
            assert time.monotonic() < deadline, f"no {wanted!r} in {self.text!r}"
            if not self._read():
                break
        assert wanted in self.text, f"no {wanted!r} in {self.text!r}"

    def end(self) -> int:
        """Read to the end; its exit code."""
        while self._read():
            pass
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return self.code

    def _read(self) -> bool:
        if not select.select([self.fd], [], [], 20)[0]:
            raise AssertionError(f"nothing more after {self.text!r}")
        try:
            piece = os.read(self.fd, 1 << 16)
        except OSError:
            return False
        self.text += piece
        return bool(piece)


def mounts_below(root: Path) -> Sequence[str]:
    """The mount points under a folder."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines if line.split()[4].startswith(f"{root}/")]
