"""A dockerd of the tests' own, with which to compare."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

DOCKER = "/usr/bin/docker"  # a client that speaks to BuildKit without a plug-in
START_S = 60


class Dockerd:
    """A daemon of our own, in its own folders, without networks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.host = f"unix://{folder}/d.sock"
        self._log = open(folder / "log", "wb")  # noqa: SIM115
        self._process = subprocess.Popen(
            [
                *("dockerd", "--data-root", folder / "data", "--exec-root", folder / "exec"),
                *("-p", folder / "pid", "-H", self.host, "--iptables=false", "--bridge=none"),
                *("--ip6tables=false", "--storage-driver", "overlay2"),
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def wait(self) -> None:
        """Until it answers."""
        until = time.monotonic() + START_S
        while self("version").returncode:
            assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
            assert time.monotonic() < until, "dockerd does not answer"
            time.sleep(0.1)

    def __call__(self, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [DOCKER, "--host", self.host, *args],
            input=stdin,
            capture_output=True,
            env={"PATH": os.environ["PATH"], "DOCKER_BUILDKIT": "1", "HOME": str(self._folder)},
            timeout=120,
            check=False,
        )

    def ok(self, *args: str, stdin: bytes = b"") -> bytes:
        done = self(*args, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)
        self._log.close()
