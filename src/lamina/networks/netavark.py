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

    def setup(self, namespace: Path, document: Mapping[str, Any]) -> dict[str, Any]:
        """Joins the namespace to the document's networks; tells what each interface became."""
        status: dict[str, Any] = self._run("setup", namespace, document)
        return status

    def teardown(self, namespace: Path, document: Mapping[str, Any]) -> None:
        """Undoes `setup`."""
        self._run("teardown", namespace, document)

    def _run(self, verb: str, namespace: Path, document: Mapping[str, Any]) -> Any:
        import subprocess

        try:
            done = subprocess.run(
                [self._path, "--config", self._state, verb, namespace],
                input=json.dumps(document).encode(),
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
                env={"PATH": _PATH},
            )
        except OSError as error:
            raise RuntimeFailure(f"netavark {verb}: {error}") from error
        except subprocess.TimeoutExpired:
            raise RuntimeFailure(f"netavark {verb}: no answer within {_TIMEOUT_S} s") from None
        if done.returncode:
            raise explain(verb, done.stdout, done.stderr)
        try:
            return json.loads(done.stdout) if done.stdout.strip() else {}
        except ValueError as error:
            raise RuntimeFailure(f"netavark {verb}: unreadable answer: {error}") from error


def explain(verb: str, stdout: bytes, stderr: bytes) -> LaminaError:
    """The error that netavark's words mean, with the remedy where one is known."""
    try:
        words = str(json.loads(stdout)["error"])
    except (ValueError, KeyError, TypeError):
        words = (stderr or stdout).decode(errors="replace")
    words = " ".join(words.split()) or "failed without a word"
    if "iptables" in words or "ip6tables" in words or "nftables" in words or " nft" in words:
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
