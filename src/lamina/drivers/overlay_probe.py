"""Whether overlayfs works on a filesystem: by having the kernel do there what the driver needs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from lamina.drivers.contract import Probe
from lamina.drivers.deletion import delete_tree
from lamina.drivers.overlay_mount import Overlay
from lamina.errors import LaminaError
from lamina.linux import mounts as kernel
from lamina.linux import syscalls

_ANOTHER = "use a data root on ext4, or on xfs made with ftype=1, or --storage-driver vfs"
# Docker's names, where they are not the kernel's.
_NAMES = {"ext2": "extfs", "ext3": "extfs", "ext4": "extfs"}
_DT_UNKNOWN = 0


def probe_overlay(home: Path) -> Probe:
    """Mount an overlay in a scratch folder beside where the home is or would be, and use it."""
    if os.geteuid() != 0:
        return Probe(False, "overlay2 mounts filesystems, which only root may: run as root")
    place = os.path.abspath(home)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    facts = {"Backing Filesystem": backing_filesystem(place)}
    scratch = f"{place}/.overlay-probe-{os.urandom(8).hex()}"
    try:
        os.mkdir(scratch, 0o700)
    except OSError as error:
        return Probe(False, f"cannot write in {place}: {error.strerror}", facts)
    try:
        os.mkdir(f"{scratch}/low")
        d_type = supports_d_type(scratch)
        facts["Supports d_type"] = str(d_type).lower()
        if not d_type:
            kind = facts["Backing Filesystem"]
            return Probe(False, f"{kind} at {place} tells no d_type: {_ANOTHER}", facts)
        reason = _try(scratch)
        facts["Native Overlay Diff"] = str(not reason).lower()
        return Probe(not reason, reason or "overlayfs works here", facts)
    finally:
        kernel.unmount(f"{scratch}/merged", lazy=True)
        delete_tree(scratch)


def _try(scratch: str) -> str:
    """Why it does not work, or nothing."""
    for folder in ("base", "up", "work", "merged"):
        os.mkdir(f"{scratch}/{folder}")
    with open(f"{scratch}/low/file", "w"):
        pass
    os.mkdir(f"{scratch}/base/folder")
    try:
        Overlay(scratch, ("low", "base"), "up", "work").attach(f"{scratch}/merged")
    except LaminaError as error:
        if "overlay" not in _known_filesystems():
            return "this kernel has no overlayfs: load it by `modprobe overlay`"
        return str(error)
    os.unlink(f"{scratch}/merged/file")
    os.rmdir(f"{scratch}/merged/folder")
    os.mkdir(f"{scratch}/merged/folder")
    mark = os.lstat(f"{scratch}/up/file")
    if not stat.S_ISCHR(mark.st_mode) or mark.st_rdev != 0:
        return f"overlayfs cannot mark deletions here: {_ANOTHER}"
    try:
        if os.getxattr(f"{scratch}/up/folder", "trusted.overlay.opaque") != b"y":
            raise OSError
    except OSError:
        return f"overlayfs cannot mark folders here (trusted extended attributes): {_ANOTHER}"
    return ""


def backing_filesystem(path: str) -> str:
    """The type of the filesystem that holds this folder, as Docker names it."""
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    found = "<unknown>"
    above = os.path.realpath(path)
    best = -1
    for mount in kernel.mountinfo():
        below = above == mount.target or above.startswith(mount.target.rstrip("/") + "/")
        # btrfs gives each subvolume a device number that mountinfo does not tell: nearest wins.
        if below and len(mount.target) + 10_000 * (mount.device == number) >= best:
            best = len(mount.target) + 10_000 * (mount.device == number)
            found = mount.type
    return _NAMES.get(found, found)


def supports_d_type(folder: str) -> bool:
    """Whether reading a folder tells the type of its entries: overlayfs finds whiteouts by it."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return all(kind != _DT_UNKNOWN for _, kind in syscalls.getdents64(fd))
    finally:
        os.close(fd)


def _known_filesystems() -> list[str]:
    with open("/proc/filesystems") as file:
        return [line.split()[-1] for line in file]
