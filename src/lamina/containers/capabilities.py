"""Linux capabilities by name: the set a container starts with, and how flags change it."""

from __future__ import annotations

from collections.abc import Iterable

from lamina.errors import InvalidInput

DEFAULT = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)
"""Docker's fourteen."""

# In the kernel's order: the position is the bit in /proc/<pid>/status.
_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP "
    "LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER "
    "SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE "
    "SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP "
    "MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF "
    "CHECKPOINT_RESTORE"
)
KNOWN = tuple(map("CAP_".__add__, _NAMES.split()))


def chosen(
    add: Iterable[str], drop: Iterable[str], limit: Iterable[str] = KNOWN
) -> tuple[str, ...]:
    """The default set with `add` and `drop` (names with or without CAP_, or ALL) applied.

    ALL is limited to `limit`: what this process may hand on. InvalidInput: unknown name.
    """
    added = [_named(name) for name in add]
    dropped = {_named(name) for name in drop}
    if "ALL" in added:
        found = list(limit)
    elif "ALL" in dropped:
        found = []
    else:
        found = list(DEFAULT)
    found.extend(name for name in added if name != "ALL" and name not in found)
    return tuple(name for name in found if name not in dropped or name in added)


def from_mask(mask: int) -> tuple[str, ...]:
    """The capabilities of a mask such as `CapBnd` in /proc/<pid>/status."""
    return tuple(name for bit, name in enumerate(KNOWN) if mask >> bit & 1)


def available() -> tuple[str, ...]:
    """What this process can hand on: some machines withhold some even from root."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("CapBnd:"):
                return from_mask(int(line.split()[1], 16))
    return KNOWN


def _named(text: str) -> str:
    name = text.upper()
    if name == "ALL":
        return name
    if not name.startswith("CAP_"):
        name = f"CAP_{name}"
    if name not in KNOWN:
        raise InvalidInput(f'invalid capability: "{text}"')
    return name
