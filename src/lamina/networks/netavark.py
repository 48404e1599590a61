"""netavark, the program that makes bridges, addresses and the firewall's rules (1.4 and later).

It takes one JSON document on standard input for `setup NAMESPACE` and the same one again for
`teardown NAMESPACE`; a failure is `{"error": …}` on its standard output. It takes no lock of its
own, so callers hold one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lamina.errors import LaminaError, RuntimeFailure, Unsupported

_FOLDERS = ("/usr/lib/podman", "/usr/libexec/podman", "/usr/local/lib/podman")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TIMEOUT_S = 60


def find_netavark(folders: Sequence[str] = (*_FOLDERS, *_PATH.split(":"))) -> Path:
    """The program's path; podman's private folders come first, since it needs not be on PATH."""
    for folder in folders:
        path = Path(folder, "netavark")
        if os.access(path, os.X_OK):
            return path
    raise Unsupported(
        "network bridge needs netavark, which is not installed",
        remedy="install the package netavark, or use --network host or --network none",
    )


class Netavark:
    """The program at `path`; `state` is the folder it may keep its own files in."""

    def __init__(self, path: Path, state: Path) -> None:
        self._path = path
        self._state = state

    def begin_setup(self, namespace: Path, document: Mapping[str, Any]) -> Call:
        """Begins to join the namespace to the document's networks."""
        return self._begin("setup", namespace, document)

    def setup(self, namespace: Path, document: Mapping[str, Any]) -> None:
        """Joins the namespace to the document's networks."""
        self.begin_setup(namespace, document).wait()

    def teardown(self, namespace: Path, document: Mapping[str, Any]) -> None:
        """Undoes `setup`."""
        self._begin("teardown", namespace, document).wait()

    def _begin(self, verb: str, namespace: Path, document: Mapping[str, Any]) -> Call:
        # Files in memory, not pipes: nobody needs to read or write while it works.
        channels = [os.memfd_create(f"netavark-{name}") for name in ("in", "out", "err")]
        try:
            os.pwrite(channels[0], json.dumps(document).encode(), 0)
            arguments = [self._path, "--config", self._state, verb, namespace]
            pid = os.posix_spawn(
                self._path,
                [str(argument) for argument in arguments],
                {"PATH": _PATH},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, channel, number)
                    for number, channel in enumerate(channels)
                ],
                # A ctrl-C that means the container must not leave half a network behind.
                setpgroup=0,
                setsigmask=(),
            )
        except OSError as error:
            for channel in channels:
                os.close(channel)
            raise RuntimeFailure(f"netavark {verb}: {error}") from error
        return Call(verb, pid, channels)


class Call:
    """The program at work. `wait` must be called, once."""

    def __init__(self, verb: str, pid: int, channels: Sequence[int]) -> None:
        self._verb = verb
        self._pid = pid
        self._channels = channels

    def wait(self) -> None:
        """Wait for its end; raises what it failed with."""
        import select
        import signal

        process = os.pidfd_open(self._pid)
        try:
            ended = bool(select.select([process], [], [], _TIMEOUT_S)[0])
            if not ended:
                os.kill(self._pid, signal.SIGKILL)
            _, status = os.waitpid(self._pid, 0)
            if not ended:
                raise RuntimeFailure(f"netavark {self._verb}: no answer within {_TIMEOUT_S} s")
            if status:
                out, err = (os.pread(channel, 1 << 16, 0) for channel in self._channels[1:])
                raise explain(self._verb, out, err)
        finally:
            os.close(process)
            for channel in self._channels:
                os.close(channel)


# The second is all that is said of a missing iptables, the third of one that fails at `--version`.
_FIREWALL_WORDS = ("tables", "No such file or directory (os error 2)", "invalid version number")


def explain(verb: str, stdout: bytes, stderr: bytes) -> LaminaError:
    """The error that netavark's words mean, with the remedy where one is known."""
    try:
        words = str(json.loads(stdout)["error"])
    except (ValueError, KeyError, TypeError):
        words = (stderr or stdout).decode(errors="replace")
    words = " ".join(words.split()) or "failed without a word"
    if any(part in words for part in _FIREWALL_WORDS):
        return Unsupported(
            f"no usable firewall for network bridge: netavark {verb}: {words}",
            remedy="install iptables with its kernel modules, or use --network host or none",
        )
    if "Operation not permitted" in words or "Permission denied" in words:
        return Unsupported(
            f"network bridge is not permitted here: netavark {verb}: {words}",
            remedy="run as root with CAP_NET_ADMIN, or use --network host or none",
        )
    if "Read-only file system" in words:
        return Unsupported(
            f"network bridge cannot set the kernel's network options: netavark {verb}: {words}",
            remedy="make /proc/sys writable, or use --network host or none",
        )
    return RuntimeFailure(f"netavark {verb}: {words}")


def rules_left(container: str) -> bool:
    """Whether the firewall still sends a published port to this container.

    A tear-down that fails may have done this part, which is the one that must not be left undone.
    """
    import subprocess

    try:
        saved = subprocess.run(
            ["iptables-save", "-t", "nat"], capture_output=True, check=False, env={"PATH": _PATH}
        )
    except OSError:
        return False
    return f"id: {container}".encode() in saved.stdout
