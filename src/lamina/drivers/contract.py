"""What a storage driver is: the words, the life of a layer and of a snapshot, the promises.

A driver keeps filesystem states below one folder, its *home*, each under an *id* that its caller
chose. A state is one of two things:

* a *layer*: committed, read-only for ever. Its id is a *cache id*. What it holds may or may not
  depend on the layers below it (`Capabilities.layers_depend_on_parent`): where it does not, one
  layer may stand in many chains at different depths, and the caller stores it once.
* an *active snapshot*: a writable layer on top of a chain. Its chain is fixed when it is prepared.

A *chain* is always given whole, as cache ids, base first. A driver keeps no names, no reference
counts and no database; nothing here knows what an image or a container is.

**A layer arrives.** The layer store unpacks a tar on top of the chain `[base]`:

    with driver.begin_layer("c2", ["base"]) as writer:   # nothing called c2 exists yet
        extracted = writer.apply(TarReader(stream))      # one pass; written where nobody looks
        writer.commit()                                  # one rename: now c2 exists, whole
    # leaving without commit (an error, a bad digest) aborts: nothing of c2 is left

If the process is killed in between, `exists("c2")` is false, `leftovers()` names it, and
`remove("c2")` clears it. Each of these is also true at every other point of a driver's work.

**A container lives.** Its writable layer is prepared on an image's chain, mounted, used, removed:

    driver.prepare("w1", ["base", "c2"])    # writes a few small files; copies nothing if it can
    root = driver.mount("w1")               # -> Path; the kernel, not this process, holds the mount
    ...                                     # programs run in it; another process may mount it too
    driver.usage("w1", ["base", "c2"])      # bytes and inodes of what the container wrote
    driver.unmount("w1")
    driver.remove("w1")                     # refused with Conflict while mounted

**A build step becomes a layer.** What RUN wrote is not archived and unpacked: it is the layer.

    driver.prepare("s1", ["base"]); driver.mount("s1"); ...; driver.unmount("s1")
    driver.diff("s1", ["base"], out)        # the layer's tar, deterministic
    driver.commit("s1", "c3")               # s1 is no more; c3 is a layer; no file was copied
    with driver.view(["base", "c3"]) as root: ...   # read-only, gone with the block or the process

**A layer goes.** `remove("c3")` moves the folder aside in one rename, after which c3 does not
exist, and then deletes it. `set_aside` is the first half alone, `sweep` the second for everything
set aside, by whomever: so a command can answer first and unlink behind.

Promises, held by tests/conformance for every driver:

* a layer never changes; an active snapshot changes only through its mount;
* an operation that fails or is killed leaves nothing that `exists` admits; repeating `remove`
  succeeds and clears it;
* `remove` of an absent id succeeds; of a mounted snapshot, or of a layer on which an active
  snapshot stands, raises Conflict and changes nothing. (Committed chains are the caller's rows:
  which layers stand on which, only the caller knows.)
* an id is never given two meanings: making a taken id raises Conflict;
* every method may be called by many processes at once, on the same id or not;
* no absolute path is stored: a home that was moved with its data root opens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Self

from lamina.errors import InvalidInput

if TYPE_CHECKING:
    from types import TracebackType

    from lamina.linux.mounts import Mount
    from lamina.tar.diff import Change
    from lamina.tar.extract import Extracted
    from lamina.tar.reader import TarReader

DEFAULT_HOLDER = "engine"

_ID_CHARACTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.-")
_RESERVED_SUFFIXES = ("-staged", "-removing")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """In what drivers may differ. Callers and the suite ask here, never for a driver's name."""

    layers_depend_on_parent: bool
    """A layer's folder holds what lies below it too: it serves one chain only."""
    copies_on_prepare: bool
    """Preparing a snapshot costs time and space in proportion to the chain."""
    quota: bool
    """`prepare` can limit the bytes of a snapshot."""
    renames_lower_directories: bool
    """rename(2) of a folder of a lower layer works; else it is EXDEV with nothing changed."""
    hard_links_survive_copy_up: bool
    """Writing by one name of a lower file with several names is seen by all its names."""
    metadata_touch_is_change: bool
    """Setting a lower file's mtime or mode to the value it has is told as a change."""
    max_chain: int
    """The most layers below an active snapshot; `prepare` refuses more before writing."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a driver can work in a home, and if not why, in words that tell the remedy."""

    ok: bool
    reason: str
    facts: Mapping[str, str] = field(default_factory=dict)
    """What was found, for `lamina info`, by Docker's words (`Backing Filesystem`, …)."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a writable layer holds: bytes of its regular files, hard links once; and its inodes."""

    size_bytes: int
    inodes: int


class LayerWriter(ABC):
    """A layer that is being written and that nobody sees until `commit`."""

    @abstractmethod
    def apply(self, reader: TarReader) -> Extracted:
        """Unpack one layer tar, whiteouts and all. Called once."""

    @abstractmethod
    def commit(self) -> None:
        """Make the layer exist, whole, in one step."""

    @abstractmethod
    def abort(self) -> None:
        """Leave nothing. Harmless after `commit` or a second time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abort()


class StorageDriver(ABC):
    """One way of keeping layers and snapshots below `home`. See the module's stories."""

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    @classmethod
    @abstractmethod
    def probe(cls, home: Path) -> Probe:
        """Whether this driver can work in `home` (which need not exist yet). May be costly."""

    @abstractmethod
    def __init__(self, home: Path, options: Mapping[str, str]) -> None:
        """Open a home, making it if it is missing; unknown options raise InvalidInput. Cheap."""

    # Layers

    @abstractmethod
    def begin_layer(self, cache_id: str, parents: Sequence[str]) -> LayerWriter:
        """Start a layer on a chain. Conflict if the id is taken, NotFound if a parent is not."""

    @abstractmethod
    def commit(self, snapshot_id: str, cache_id: str) -> None:
        """Turn an unmounted active snapshot into a layer, copying nothing; the snapshot is gone."""

    @abstractmethod
    def layer_root(self, cache_id: str) -> Path:
        """A folder in which each regular file of the layer's tar lies at its path.

        For reading a layer's own content back (journal, checks), not for looking at a filesystem:
        it may hold marks of deletion, and more or less than the layer shows when mounted.
        """

    # Active snapshots

    @abstractmethod
    def prepare(
        self, snapshot_id: str, parents: Sequence[str], *, size_limit_bytes: int | None = None
    ) -> None:
        """Make an active snapshot on a chain. Unsupported for a limit that cannot be kept."""

    @abstractmethod
    def mounts(self, snapshot_id: str, *, read_only: bool = False) -> Sequence[Mount]:
        """How the snapshot is mounted, as data, in order; nothing is mounted."""

    @abstractmethod
    def mount(self, snapshot_id: str, *, holder: str = DEFAULT_HOLDER) -> Path:
        """Mount an active snapshot (if it is not) and note that `holder` needs it mounted.

        Every call returns the same path. Holders make it countable and still safe to repeat: a
        process that was killed and tries again is the same holder, not a second one. After a
        reboot the kernel has no mount, so there are no holders whatever was noted.
        """

    @abstractmethod
    def unmount(self, snapshot_id: str, *, holder: str = DEFAULT_HOLDER) -> None:
        """`holder` no longer needs the mount; the last one unmounts it. Absent: success."""

    @abstractmethod
    def view(self, parents: Sequence[str]) -> AbstractContextManager[Path]:
        """The chain's filesystem, read-only, at a path that is good within the block.

        The path may lead through a descriptor (/proc/<pid>/fd/<n>): open it and what lies below
        it, for any process; but do not resolve it as text, its target has no other name.
        """

    @abstractmethod
    def changes(self, snapshot_id: str, parents: Sequence[str]) -> Iterator[Change]:
        """What differs from the chain below, sorted by path, parents before children."""

    @abstractmethod
    def diff(self, snapshot_id: str, parents: Sequence[str], out: BinaryIO) -> None:
        """The same as a layer tar: deterministic, equal trees give equal bytes."""

    @abstractmethod
    def usage(self, snapshot_id: str, parents: Sequence[str]) -> Usage:
        """What was written on top of the chain, as `docker ps --size` counts it."""

    # Both

    @abstractmethod
    def exists(self, id: str) -> bool:
        """Whether a layer or an active snapshot of this id is there, whole."""

    @abstractmethod
    def list(self) -> Sequence[str]:
        """The ids of all layers and active snapshots, sorted."""

    @abstractmethod
    def leftovers(self) -> Sequence[str]:
        """The ids of which something half made or half removed lies about: `remove` clears each.

        Work of a living process is among them: only the caller knows whose is dead.
        """

    @abstractmethod
    def mend_layer(self, cache_id: str) -> None:
        """Write again what a power cut may have taken of the driver's own notes about a layer.

        For the first opening of a root after a restart, layers before snapshots: a caller's rows
        are flushed with each transaction, a driver's small files are not. What is whole is left.
        """

    @abstractmethod
    def mend_snapshot(self, snapshot_id: str, parents: Sequence[str]) -> None:
        """The same for an active snapshot, which the caller knows to stand on this chain."""

    @abstractmethod
    def set_aside(self, id: str) -> None:
        """The refusals and the rename of `remove`; the deleting is left to `sweep`."""

    @abstractmethod
    def sweep(self) -> None:
        """Delete everything that was set aside."""

    @abstractmethod
    def remove(self, id: str) -> None:
        """Delete a layer or snapshot and whatever an interrupted operation left of the id."""

    @abstractmethod
    def metadata(self, id: str, parents: Sequence[str]) -> dict[str, str]:
        """`GraphDriver.Data` of `inspect`: the folders of a layer or snapshot, Docker's names."""

    @abstractmethod
    def status(self) -> Sequence[tuple[str, str]]:
        """What `lamina info` tells of this driver, in order."""


def is_id(name: str) -> bool:
    """Whether a name can be a folder's and can't be mistaken for one of a driver's own."""
    return (
        1 <= len(name) <= 128
        and _ID_CHARACTERS.issuperset(name)
        and name[0] not in ".-"
        and not name.endswith(_RESERVED_SUFFIXES)
    )


def checked_id(id: str) -> str:
    """The id, if it can be one."""
    if not is_id(id):
        raise InvalidInput(
            f"invalid layer id {id[:140]!r}",
            remedy="want 1 to 128 letters, digits, '_', '.' or '-', beginning with none of '.-'",
        )
    return id
