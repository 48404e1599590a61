"""An overlay as data, and the ways of having the kernel mount it.

The layers are folders relative to the driver's home. What a mount may hold depends on how the
kernel is told of them:

=============== ============== ================== ===============================================
way             Linux          most lower layers  each layer goes as
=============== ============== ================== ===============================================
descriptors     6.13           500                an open folder: no path, so no length matters
one at a time   6.8            500                `lowerdir+=` with a path below an open home
one string      any            127                `lowerdir=a:b:…` relative to the home; all
                                                  options together must fit into a page
=============== ============== ================== ===============================================

500 is OVL_MAX_STACK (fs/overlayfs/params.h). 127 short links of 29 bytes fit into a page of 4096
with what else it must hold. That string's paths are resolved in a thread that has its own working
folder (unshare(CLONE_FS)), so that neither this process's nor a child's is needed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass

from lamina.errors import Corrupt, LaminaError, PermissionDenied, Unsupported
from lamina.linux import syscalls
from lamina.linux.mounts import Mount

MAX_LOWERS = 500
MAX_LOWERS_ONE_STRING = 127

# As Docker sets them: so that an upper folder alone tells what changed (no folder that was renamed
# by redirect, no file whose data is elsewhere), and can be a lower layer anywhere else.
OPTIONS = ("index=off", "redirect_dir=off", "metacopy=off")

_PATH_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True)
class Overlay:
    """What to stack: lowers newest first, all paths relative to `home`; no upper: read-only."""

    home: str
    lowers: tuple[str, ...]
    upper: str | None = None
    work: str | None = None

    def as_mount(self, target: str) -> Mount:
        """The same for whoever mounts it otherwise; absolute, in the kernel's option names."""
        options = [f"lowerdir+={self.home}/{lower}" for lower in self.lowers]
        if self.upper is None:
            options.append("ro")
        else:
            options += [f"upperdir={self.home}/{self.upper}", f"workdir={self.home}/{self.work}"]
        return Mount("overlay", "overlay", target, (*options, *OPTIONS))

    def attach(self, target: str) -> None:
        """Mount it at this path."""
        try:
            fd = self._detached()
        except _OldKernelError:
            self._one_string(target)
            return
        try:
            syscalls.move_mount(fd, target)
        finally:
            os.close(fd)

    def open(self, scratch: Callable[[], str]) -> int:
        """A descriptor of its root, mounted nowhere: gone when the descriptor is closed.

        An old kernel needs a place to mount it for a moment: `scratch()` makes such a folder.
        """
        try:
            return self._detached()
        except _OldKernelError:
            target = scratch()
        self._one_string(target)
        try:
            return os.open(target, _PATH_FOLDER)
        finally:
            syscalls.umount2(target, syscalls.MNT_DETACH)

    def _detached(self) -> int:
        try:
            fs_fd = syscalls.fsopen("overlay")
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EPERM):  # EPERM: seccomp filters older still
                raise _OldKernelError from error
            raise self._refused(error) from error
        home = os.open(self.home, _PATH_FOLDER)
        by_path = True
        try:
            by_path = _takes_no_descriptors(fs_fd, home, self.lowers[0])
            self._configure(fs_fd, home, _set_path if by_path else _set_folder)
            syscalls.fsconfig(fs_fd, syscalls.FSCONFIG_CMD_CREATE, None, None)
            read_only = 0 if self.upper else syscalls.MOUNT_ATTR_RDONLY
            return syscalls.fsmount(fs_fd, read_only)
        except OSError as error:
            # Before 6.5 an overlay takes any option here, and refuses them all together.
            if by_path and error.errno == errno.EINVAL:
                raise _OldKernelError from error
            raise self._refused(error, _words(fs_fd)) from error
        finally:
            os.close(home)
            os.close(fs_fd)

    def _configure(self, fs_fd: int, home: int, name: Callable[[int, str, int, str], None]) -> None:
        """All but the first lower layer, which is named already."""
        for lower in self.lowers[1:]:
            name(fs_fd, "lowerdir+", home, lower)
        for key, value in (("upperdir", self.upper), ("workdir", self.work)):
            if value is not None:
                name(fs_fd, key, home, value)
        for option in ("source=overlay", *OPTIONS):
            key, _, setting = option.partition("=")
            syscalls.fsconfig(fs_fd, syscalls.FSCONFIG_SET_STRING, key, setting)

    def _one_string(self, target: str) -> None:
        """mount(2): what every kernel has. Paths without ':' or ',' only: ours have none."""
        if len(self.lowers) > MAX_LOWERS_ONE_STRING:
            raise Unsupported(
                f"cannot mount {len(self.lowers)} layers: this kernel mounts at most "
                f"{MAX_LOWERS_ONE_STRING}",
                remedy="use Linux 6.8 or later, or an image of fewer layers",
            )
        options = ["lowerdir=" + ":".join(self.lowers), *OPTIONS]
        if self.upper is not None:
            options += [f"upperdir={self.upper}", f"workdir={self.work}"]
        flags = 0 if self.upper else syscalls.MS_RDONLY
        data = ",".join(options)
        absolute = os.path.abspath(target)
        try:
            _in_folder(
                self.home, lambda: syscalls.mount("overlay", absolute, "overlay", flags, data)
            )
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError, words: str = "") -> LaminaError:
        reason = words or error.strerror
        message = f"cannot mount an overlay of {len(self.lowers)} layers: {reason}"
        if error.errno in (errno.EPERM, errno.EACCES):
            return PermissionDenied(message, remedy="run as root, outside a confined container")
        if error.errno == errno.ENOENT and error.filename:
            return Corrupt(f"{message}: {error.filename}", remedy="load or pull the image again")
        return Unsupported(
            message, remedy="see `dmesg`, or use another filesystem or --storage-driver vfs"
        )


class _OldKernelError(Exception):
    """It may be the way of asking that was refused, and not what was asked."""


def _takes_no_descriptors(fs_fd: int, home: int, lower: str) -> bool:
    """Name the first layer by a descriptor, or if this kernel takes none, by a path: then True."""
    try:
        _set_folder(fs_fd, "lowerdir+", home, lower)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _set_path(fs_fd, "lowerdir+", home, lower)
        return True
    return False


def _set_folder(fs_fd: int, key: str, home: int, path: str) -> None:
    fd = os.open(path, _PATH_FOLDER, dir_fd=home)
    try:
        syscalls.fsconfig(fs_fd, syscalls.FSCONFIG_SET_FD, key, None, fd)
    finally:
        os.close(fd)


def _set_path(fs_fd: int, key: str, home: int, path: str) -> None:
    """A path that means this folder from anywhere, and is short however long the home's is."""
    syscalls.fsconfig(fs_fd, syscalls.FSCONFIG_SET_STRING, key, f"/proc/self/fd/{home}/{path}")


def _in_folder(folder: str, call: Callable[[], None]) -> None:
    """Make this call in a thread whose working folder is this one."""
    from threading import Thread

    raised: list[OSError] = []

    def run() -> None:
        try:
            syscalls.unshare(syscalls.CLONE_FS)
            os.chdir(folder)
            call()
        except OSError as error:
            raised.append(error)

    thread = Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def _words(fs_fd: int) -> str:
    """What the kernel says about a refusal, in its own words."""
    lines = []
    try:
        while line := os.read(fs_fd, 8192):
            lines.append(line.decode(errors="replace").strip()[2:])
    except OSError:  # ENODATA: it has said everything
        pass
    return "; ".join(lines)
