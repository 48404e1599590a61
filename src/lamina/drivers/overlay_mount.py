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

from lamina.errors import LaminaError, PermissionDenied, Unsupported
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
        except OSError as error:
            if not _old_kernel(error):
                raise self._refused(error) from error
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
        except OSError as error:
            if not _old_kernel(error):
                raise self._refused(error) from error
        target = scratch()
        self._one_string(target)
        try:
            return os.open(target, _PATH_FOLDER)
        finally:
            syscalls.umount2(target, syscalls.MNT_DETACH)

    def _detached(self) -> int:
        fs_fd = syscalls.fsopen("overlay")
        try:
            try:
                syscalls.fsconfig(fs_fd, syscalls.FSCONFIG_SET_STRING, "source", "overlay")
                self._configure(fs_fd)
                syscalls.fsconfig(fs_fd, syscalls.FSCONFIG_CMD_CREATE, None, None)
            except OSError as error:
                raise OSError(error.errno, _words(fs_fd) or error.strerror) from None
            read_only = 0 if self.upper else syscalls.MOUNT_ATTR_RDONLY
            return syscalls.fsmount(fs_fd, read_only)
        finally:
            os.close(fs_fd)

    def _configure(self, fs_fd: int) -> None:
        """Name the layers by descriptors, or if this kernel takes none, by relative paths."""
        home = os.open(self.home, _PATH_FOLDER)
        try:
            by_path = False
            for lower in self.lowers:
                if not by_path:
                    try:
                        _set_folder(fs_fd, "lowerdir+", home, lower)
                        continue
                    except OSError as error:
                        if lower is not self.lowers[0] or error.errno != errno.EINVAL:
                            raise
                        by_path = True
                _set_path(fs_fd, "lowerdir+", home, lower)
            for key, value in (("upperdir", self.upper), ("workdir", self.work)):
                if value is not None and by_path:
                    _set_path(fs_fd, key, home, value)
                elif value is not None:
                    _set_folder(fs_fd, key, home, value)
        finally:
            os.close(home)
        for option in OPTIONS:
            key, _, value = option.partition("=")
            syscalls.fsconfig(fs_fd, syscalls.FSCONFIG_SET_STRING, key, value)

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

    def _refused(self, error: OSError) -> LaminaError:
        message = f"cannot mount an overlay of {len(self.lowers)} layers: {error.strerror}"
        if error.errno in (errno.EPERM, errno.EACCES):
            return PermissionDenied(message, remedy="run as root, outside a confined container")
        return Unsupported(
            message, remedy="see `dmesg`, or use another filesystem or --storage-driver vfs"
        )


def _old_kernel(error: OSError) -> bool:
    """Whether it is the way of asking that was refused, and not what was asked."""
    if error.errno in (errno.ENOSYS, errno.EPERM):  # EPERM: seccomp filters that are older still
        return True
    words = str(error.strerror)
    return error.errno == errno.EINVAL and (
        words == os.strerror(errno.EINVAL) or "Unknown parameter" in words or "Legacy" in words
    )


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
