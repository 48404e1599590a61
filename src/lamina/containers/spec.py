"""The OCI runtime configuration of a process in a root filesystem: a pure plan and its JSON.

`RuntimePlan` says what a container or a build step needs; `runtime_spec` turns it into the
document that the runtime reads (OCI runtime-spec 1.0.2, config.md, config-linux.md). Nothing here
touches the machine, so every container that Lamina would start can be printed and compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lamina.containers.capabilities import KNOWN, chosen
from lamina.containers.seccomp import default_profile

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST_NETWORK = "host"


@dataclass(frozen=True)
class ProcessUser:
    """Numbers that the kernel takes, and the home folder that goes with them."""

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True)
class SpecMount:
    """One entry of the runtime's `mounts`."""

    destination: str
    type: str
    source: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class DeviceNode:
    """A device file of the host that a privileged container has as well."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True)
class RuntimePlan:
    """Everything that decides the runtime configuration of one container or build step.

    `cgroup_private` gives a cgroup namespace, as on hosts with cgroups v2 alone. `devices` are made
    beside the usual ones. `network` is "host", the path of a network namespace to join, or "" for
    a new, empty one. `mounts` come after the default ones, in order.
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
    cgroup_private: bool = False
    devices: tuple[DeviceNode, ...] = ()


MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READ_ONLY_PATHS = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)

_CPU_PERIOD_US = 100_000


def runtime_spec(
    plan: RuntimePlan, *, machine: str = "x86_64", available_capabilities: Sequence[str] = KNOWN
) -> dict[str, Any]:
    """The content of the bundle's `config.json`, for a host of this architecture.

    `available_capabilities` are those that the engine itself may hand on: ALL means these.
    """
    capabilities = (
        tuple(available_capabilities)
        if plan.privileged
        else chosen(plan.cap_add, plan.cap_drop, available_capabilities)
    )
    linux: dict[str, Any] = {
        "namespaces": _namespaces(plan),
        "resources": _resources(plan),
        "maskedPaths": [] if plan.privileged else list(MASKED_PATHS),
        "readonlyPaths": [] if plan.privileged else list(READ_ONLY_PATHS),
    }
    if plan.cgroup_path:
        linux["cgroupsPath"] = plan.cgroup_path
    if plan.sysctls:
        linux["sysctl"] = dict(plan.sysctls)
    if plan.devices:
        linux["devices"] = [
            {
                "path": node.path,
                "type": node.kind,
                "major": node.major,
                "minor": node.minor,
                "fileMode": node.mode,
                "uid": node.uid,
                "gid": node.gid,
            }
            for node in plan.devices
        ]
    if plan.seccomp and not plan.privileged:
        linux["seccomp"] = default_profile(capabilities, machine)
    document: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": process(plan, capabilities),
        "root": {"path": plan.rootfs, "readonly": plan.read_only},
        "mounts": [
            {
                "destination": mount.destination,
                "type": mount.type,
                "source": mount.source,
                "options": list(mount.options),
            }
            for mount in _mounts(plan)
        ],
        "linux": linux,
    }
    if plan.hostname and not plan.uts_host:
        document["hostname"] = plan.hostname
    if plan.annotations:
        document["annotations"] = dict(plan.annotations)
    return document


def process(plan: RuntimePlan, capabilities: Sequence[str]) -> dict[str, Any]:
    """The runtime's `process` object: of a container, or of what `exec` runs in it."""
    # A process of another user starts without effective rights; it may gain them by files.
    held = list(capabilities) if plan.user.uid == 0 else []
    document: dict[str, Any] = {
        "terminal": plan.tty,
        "user": {
            "uid": plan.user.uid,
            "gid": plan.user.gid,
            # With its own group, so that no right is gained by leaving it: CVE-2022-36109.
            "additionalGids": list(dict.fromkeys((plan.user.gid, *plan.user.additional_gids))),
        },
        "args": list(plan.args),
        "env": list(plan.env),
        "cwd": plan.cwd or "/",
        "capabilities": {
            "bounding": list(capabilities),
            "effective": held,
            "permitted": held,
        },
        "noNewPrivileges": plan.no_new_privileges,
        "oomScoreAdj": plan.oom_score_adj,
    }
    if plan.rlimits:
        document["rlimits"] = [
            {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard}
            for name, soft, hard in plan.rlimits
        ]
    return document


def _namespaces(plan: RuntimePlan) -> list[dict[str, str]]:
    namespaces = [{"type": "mount"}]
    if plan.network != HOST_NETWORK:
        network = {"type": "network"}
        if plan.network:
            network["path"] = plan.network
        namespaces.append(network)
    if not plan.uts_host:
        namespaces.append({"type": "uts"})
    if not plan.pid_host:
        namespaces.append({"type": "pid"})
    if not plan.ipc_host:
        namespaces.append({"type": "ipc"})
    if plan.cgroup_private:
        namespaces.append({"type": "cgroup"})
    return namespaces


def _mounts(plan: RuntimePlan) -> list[SpecMount]:
    system = "rw" if plan.privileged else "ro"
    mounts = [
        SpecMount("/proc", "proc", "proc", ("nosuid", "noexec", "nodev")),
        SpecMount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        SpecMount(
            "/dev/pts",
            "devpts",
            "devpts",
            ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        ),
        SpecMount("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", system)),
        SpecMount(
            "/sys/fs/cgroup", "cgroup", "cgroup", (system, "nosuid", "noexec", "nodev", "relatime")
        ),
        SpecMount("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
        SpecMount(
            "/dev/shm",
            "tmpfs",
            "shm",
            ("nosuid", "noexec", "nodev", "mode=1777", f"size={plan.shm_size_bytes}"),
        ),
    ]
    # What the caller mounts over a default one replaces it (a tmpfs on /dev/shm, say).
    replaced = {mount.destination for mount in plan.mounts}
    mounts = [mount for mount in mounts if mount.destination not in replaced]
    return [*mounts, *sorted(plan.mounts, key=lambda mount: mount.destination.count("/"))]


def _resources(plan: RuntimePlan) -> dict[str, Any]:
    resources: dict[str, Any] = {"devices": _device_rules(plan)}
    if plan.memory_bytes:
        # As Docker: as much swap again as memory.
        resources["memory"] = {"limit": plan.memory_bytes, "swap": 2 * plan.memory_bytes}
    cpu: dict[str, int] = {}
    if plan.cpu_shares:
        cpu["shares"] = plan.cpu_shares
    if plan.nano_cpus:
        cpu |= {
            "quota": plan.nano_cpus * _CPU_PERIOD_US // 1_000_000_000,
            "period": _CPU_PERIOD_US,
        }
    if cpu:
        resources["cpu"] = cpu
    if plan.pids_limit:
        resources["pids"] = {"limit": plan.pids_limit}
    return resources


def _device_rules(plan: RuntimePlan) -> list[dict[str, Any]]:
    if plan.privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    # mknod of anything, use of these only: null, zero, full, tty, random, urandom, console,
    # ptmx and the pseudo-terminals. The runtime makes the nodes.
    rules += [{"allow": True, "type": kind, "access": "m"} for kind in "cb"]
    for major, minor in (
        (1, 3),
        (1, 5),
        (1, 7),
        (5, 0),
        (1, 8),
        (1, 9),
        (5, 1),
        (5, 2),
        (136, None),
    ):
        rule: dict[str, Any] = {"allow": True, "type": "c", "access": "rwm", "major": major}
        if minor is not None:
            rule["minor"] = minor
        rules.append(rule)
    return rules
