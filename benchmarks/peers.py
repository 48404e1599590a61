"""The engines that Lamina is timed against, each in a folder of its own on the same filesystem.

Nothing here touches an engine that already runs on the machine: dockerd gets its own data root,
socket and containerd; podman its own root and run root. Both are ended with the context.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Peer:
    """An engine as a command prefix: `prefix + ["run", …]` runs there."""

    name: str
    version: str
    prefix: tuple[str, ...]

    def command(self, *arguments: str) -> list[str]:
        return [*self.prefix, *arguments]

    def call(self, *arguments: str, stdin: Path | None = None) -> str:
        """Run a command that must succeed; its output."""
        with ExitStack() as stack:
            source = stack.enter_context(stdin.open("rb")) if stdin else subprocess.DEVNULL
            done = subprocess.run(
                self.command(*arguments), stdin=source, capture_output=True, text=True, check=False
            )
        if done.returncode:
            sys.exit(f"{self.name} {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()


@contextmanager
def scratch_ext4(size_gib: int = 24) -> Iterator[Path]:
    """A fresh ext4 in a loop file, so that the machine's own disk does not decide."""
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"lamina-bench-{os.getpid()}"
    folder.mkdir()
    mountpoint = folder / "mnt"
    mountpoint.mkdir()
    with (folder / "disk.img").open("wb") as file:
        file.truncate(size_gib << 30)
    subprocess.run(["mkfs.ext4", "-q", "-F", folder / "disk.img"], check=True)
    subprocess.run(["mount", "-o", "loop", folder / "disk.img", mountpoint], check=True)
    try:
        yield mountpoint
    finally:
        subprocess.run(["umount", "-R", "-l", mountpoint], check=False)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def lamina(disk: Path, driver: str = "overlay2") -> Iterator[Peer]:
    """Lamina as this interpreter's environment has it."""
    program = Path(sys.executable).parent / "lamina"
    yield Peer(
        "lamina",
        subprocess.run([program, "--version"], capture_output=True, text=True).stdout.strip(),
        (str(program), "--root", str(disk / "lamina"), "--storage-driver", driver),
    )


@contextmanager
def dockerd(disk: Path) -> Iterator[Peer]:
    """A dockerd of its own, with the distribution's client where it is there."""
    home = disk / "docker"
    home.mkdir()
    socket = f"unix://{home}/docker.sock"
    client = next(p for p in ("/usr/bin/docker", shutil.which("docker")) if p and Path(p).exists())
    command = ["dockerd", "--iptables=false", "--bridge=none", "--storage-driver", "overlay2"]
    command += ["--host", socket, "--pidfile", f"{home}/pid"]
    command += ["--data-root", f"{home}/data", "--exec-root", f"{home}/exec"]
    with (home / "log").open("wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log)
    peer = Peer("docker", "", (client, "--host", socket))
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(peer.command("version"), capture_output=True).returncode:
            if daemon.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"dockerd does not start: {(home / 'log').read_text()[-2000:]}")
            time.sleep(0.1)
        version = peer.call("version", "--format", "{{.Server.Version}}")
        yield Peer("docker", version, peer.prefix)
    finally:
        daemon.terminate()
        daemon.wait(30)


@contextmanager
def podman(disk: Path) -> Iterator[Peer]:
    """podman with runc, as crun of the same release refuses mixed cgroup hierarchies."""
    home = disk / "podman"
    home.mkdir()
    prefix = ("podman", "--root", f"{home}/root", "--runroot", f"{home}/run")
    prefix += ("--runtime", "runc", "--cgroup-manager", "cgroupfs", "--storage-driver", "overlay")
    version = Peer("podman", "", prefix).call("version", "--format", "{{.Client.Version}}")
    yield Peer("podman", version, prefix)


PEERS = {"docker": ("dockerd", dockerd), "podman": ("podman", podman)}


@contextmanager
def installed(disk: Path) -> Iterator[list[Peer]]:
    """Lamina first, then every peer whose program is on this machine."""
    with ExitStack() as stack:
        found = [stack.enter_context(lamina(disk))]
        for program, context in PEERS.values():
            if shutil.which(program):
                found.append(stack.enter_context(context(disk)))
        yield found
