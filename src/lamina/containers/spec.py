"""The OCI runtime configuration of a process in a root filesystem: a pure plan and its JSON.

`RuntimePlan` says what a container or a build step needs; `runtime_spec` turns it into the
document that the runtime reads (OCI runtime-spec 1.0.2, config.md, config-linux.md). Nothing here
touches the machine, so every container that Lamina would start can be printed and compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST_NETWORK = "host"


@dataclass(frozen=True)
class ProcessUser:
    """Numbers that the kernel takes, and the home folder that goes with them."""

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    home: str = "/root"


@dataclass(frozen=True)
class SpecMount:
    """One entry of the runtime's `mounts`."""

    destination: str
    type: str
    source: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class RuntimePlan:
    """Everything that decides the runtime configuration of one container or build step.

    `network` is "host", the path of a network namespace to join, or "" for a new, empty one.
    `mounts` come after the default ones, in order.
    """

    rootfs: str
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: ProcessUser = ProcessUser()
    tty: bool = False
    hostname: str = ""
    domainname: str = ""
    network: str = ""
    mounts: tuple[SpecMount, ...] = ()
    read_only: bool = False
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    seccomp: bool = True
    no_new_privileges: bool = False
    cgroup_path: str = ""
    shm_size_bytes: int = 64 << 20
    memory_bytes: int = 0
    cpu_shares: int = 0
    nano_cpus: int = 0
    pids_limit: int | None = None
    oom_score_adj: int = 0
    rlimits: tuple[tuple[str, int, int], ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    pid_host: bool = False
    ipc_host: bool = False
    uts_host: bool = False


def runtime_spec(plan: RuntimePlan) -> dict[str, Any]:
    """The content of the bundle's `config.json`."""
    raise NotImplementedError
