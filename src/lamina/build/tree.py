"""A folder tree that files are copied from: a build context, or the filesystem of a stage or image.

Paths are relative to the tree's root (`""` is the root itself). Symbolic links mean what they mean
with the tree as the whole filesystem: none leads out of it. What is opened is opened beneath the
root by the kernel, links refused, so that a tree that changes meanwhile can fail but not mislead.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from lamina.build.dockerignore import IgnoreRules, compile_pattern
from lamina.errors import InvalidInput, PermissionDenied
from lamina.linux.syscalls import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_MOST_LINKS = 255
_PATTERN_MARKS = frozenset("*?[\\")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Member:
    """Something in a tree. `below` is its path from where the walk began."""

    path: str
    below: str
    status: os.stat_result
    link: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.status.st_mode)


class Tree:
    """A tree that is open for reading; a context manager."""

    def __init__(self, root: Path, rules: IgnoreRules | None = None) -> None:
        self._rules = rules or IgnoreRules(())
        self._root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._root_fd)

    def find(self, path: str) -> Member | None:
        """What is at this path, links followed; None where nothing is or it is ignored."""
        resolved = resolve(self._root_fd, path)
        member = self._member(resolved, resolved)
        if member is None or (resolved and not self._visible(member)):
            return None
        return member

    def at(self, path: str) -> Member | None:
        """What is at this path itself, a link being a link; None where nothing is."""
        member = self._member(path, path)
        return member if member is not None and self._visible(member) else None

    def glob(self, pattern: str) -> list[str]:
        """The paths that a pattern of a COPY matches, sorted; `*` stays within a component."""
        found = [""]
        for part in [part for part in pattern.split("/") if part and part != "."]:
            if not is_pattern(part):
                found = [f"{path}/{part}" if path else part for path in found]
                continue
            match = compile_pattern(part)
            found = [
                f"{path}/{name}" if path else name
                for path in found
                for name in self._names(path)
                if match.fullmatch(name)
            ]
        return [
            path for path in found if self.find(path) or (is_pattern(pattern) and self.at(path))
        ]

    def walk(self, member: Member) -> Iterator[Member]:
        """The member and everything in it that is not ignored, folders before their content."""
        yield Member(member.path, "", member.status, member.link)
        if member.is_folder:
            yield from self._content(member.path, "")

    def open(self, path: str) -> int:
        """A descriptor for reading a regular file; `path` as a walk or `find` gave it."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            return openat2(
                self._root_fd, path, flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
            )
        except PermissionError:
            raise PermissionDenied(f"cannot read /{path}") from None
        except OSError as error:
            raise InvalidInput(f"cannot read /{path}: {error.strerror}") from None

    def attributes(self, path: str) -> dict[str, bytes]:
        """The extended attributes that a copy keeps: the user's own, and file capabilities."""
        try:
            descriptor = self.open(path)
        except InvalidInput:
            return {}
        try:
            names = [name for name in os.listxattr(descriptor) if _is_kept(name)]
            return {name: os.getxattr(descriptor, name) for name in sorted(names)}
        except OSError:
            return {}
        finally:
            os.close(descriptor)

    def digest(self, path: str, told: Callable[[int], None]) -> str:
        """The sha256 of a regular file's content; `told` hears how many bytes were read."""
        descriptor = self.open(path)
        try:
            hashed = sha256()
            while chunk := os.read(descriptor, _CHUNK_BYTES):
                hashed.update(chunk)
                told(len(chunk))
            return hashed.hexdigest()
        finally:
            os.close(descriptor)

    def _content(self, path: str, below: str) -> Iterator[Member]:
        for name in self._names(path):
            inner = f"{path}/{name}" if path else name
            member = self._member(inner, f"{below}/{name}" if below else name)
            if member is None:
                continue
            if not self._rules.ignores(inner):
                yield member
                if member.is_folder:
                    yield from self._content(inner, member.below)
            elif member.is_folder and self._rules.takes_back:
                # An ignored folder is there only for what a `!` pattern takes back in it.
                for index, wanted in enumerate(self._content(inner, member.below)):
                    if index == 0:
                        yield member
                    yield wanted

    def _visible(self, member: Member) -> bool:
        if not self._rules.ignores(member.path):
            return True
        if not member.is_folder or not self._rules.takes_back:
            return False
        return next(self._content(member.path, ""), None) is not None

    def _names(self, path: str) -> list[str]:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        resolved = resolve(self._root_fd, path)
        try:
            descriptor = openat2(
                self._root_fd,
                resolved or ".",
                flags,
                resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
            )
        except PermissionError:
            raise PermissionDenied(f"cannot read /{path}") from None
        except OSError:
            return []
        try:
            return sorted(os.listdir(descriptor))
        finally:
            os.close(descriptor)

    def _member(self, path: str, below: str) -> Member | None:
        try:
            status = os.stat(path or ".", dir_fd=self._root_fd, follow_symlinks=False)
            link = ""
            if stat.S_ISLNK(status.st_mode):
                link = os.readlink(path, dir_fd=self._root_fd)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise InvalidInput(f"cannot read /{path}: {error.strerror}") from None
        return Member(path, below, status, link)


def is_pattern(path: str) -> bool:
    """Whether a source of a COPY is a pattern, not a name."""
    return not _PATTERN_MARKS.isdisjoint(path)


def resolve(root_fd: int, path: str) -> str:
    """The path with every link followed as if the tree were all there is; parts may be missing."""
    done: list[str] = []
    waiting = list(reversed(path.split("/")))
    links = 0
    while waiting:
        part = waiting.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if done:
                done.pop()
            continue
        here = "/".join([*done, part])
        try:
            link = os.readlink(here, dir_fd=root_fd)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise InvalidInput(f"file name too long: /{here[:80]}…") from None
            done.append(part)
            continue
        except ValueError:
            raise InvalidInput(f"not a path: {path!r}") from None
        links += 1
        if links > _MOST_LINKS:
            raise InvalidInput(f"too many levels of symbolic links: /{path}")
        if link.startswith("/"):
            done = []
        waiting.extend(reversed(link.split("/")))
    return "/".join(done)


def _is_kept(name: str) -> bool:
    return name.startswith("user.") or name == "security.capability"
