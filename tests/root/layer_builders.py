"""Small tars and layer stores for the tests of layers; the check that a root has no rubbish."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lamina.digests import ChainID, DiffID, Digest
from lamina.drivers.contract import StorageDriver
from lamina.drivers.overlay2 import Overlay2Driver
from lamina.drivers.vfs import VfsDriver
from lamina.layers.store import LayerStore
from lamina.store.operations import Operation
from lamina.store.root import DataRoot

DRIVERS: dict[str, type[StorageDriver]] = {"overlay2": Overlay2Driver, "vfs": VfsDriver}


class Tar:
    """Builds a tar member by member: `Tar().folder("etc").file("etc/motd", b"hi").bytes`."""

    def __init__(self, format: int = tarfile.PAX_FORMAT) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w", format=format)  # noqa: SIM115

    def member(self, name: str, kind: bytes, content: bytes = b"", **facts: object) -> Tar:
        info = tarfile.TarInfo(name)
        info.type = kind
        info.size = len(content)
        for key, value in facts.items():
            setattr(info, key, value)
        self._tar.addfile(info, io.BytesIO(content))
        return self

    def file(self, name: str, content: bytes = b"", mode: int = 0o644, **facts: object) -> Tar:
        return self.member(name, tarfile.REGTYPE, content, mode=mode, **facts)

    def folder(self, name: str, mode: int = 0o755, **facts: object) -> Tar:
        return self.member(name, tarfile.DIRTYPE, mode=mode, **facts)

    def hard_link(self, name: str, target: str) -> Tar:
        return self.member(name, tarfile.LNKTYPE, linkname=target)

    @property
    def bytes(self) -> bytes:
        self._tar.close()
        return self._buffer.getvalue()


def tar(**files: bytes) -> bytes:
    """A tar of these files, each in the root; `_` in a name stands for `/`."""
    built = Tar().folder("./")
    for name, content in files.items():
        built.file(name.replace("_", "/"), content)
    return built.bytes


@contextmanager
def layer_store(path: Path, driver: str, *, boot_id: str | None = None) -> Iterator[LayerStore]:
    with DataRoot.open(path, boot_id=boot_id) as root:
        yield LayerStore(root, DRIVERS[driver](root.driver_home(driver), {}))


def stored(
    layers: LayerStore, op: Operation, parent: ChainID | None, *tars: bytes
) -> Sequence[ChainID]:
    """Apply these tars on top of each other; their chain ids, base first."""
    chain = []
    for data in tars:
        parent = layers.apply(op, io.BytesIO(data), parent).chain_id
        chain.append(parent)
    return chain


def pin(layers: LayerStore, chain: ChainID, image: str | None = None) -> str:
    """Let an image refer to this layer, so that it stays."""
    image = image or Digest.of(chain.encode())
    with layers.root.database.transaction() as tx:
        tx.execute(
            "INSERT OR IGNORE INTO images(id, chain_id, size_bytes, created_ns, added_ns)"
            " VALUES (?, ?, 0, 0, 0)",
            (image, chain),
        )
    return image


def unpin(layers: LayerStore, image: str) -> None:
    """Remove the image, and the layers that only it needed."""
    with layers.root.operation("unpin") as op:
        op.begin()
        with layers.root.database.transaction() as tx:
            row = tx.one("SELECT chain_id FROM images WHERE id=?", (image,))
            if row is None:
                return  # another process was first
            op.lease(layers.driver.name, ChainID(row["chain_id"]))
            tx.execute("DELETE FROM images WHERE id=?", (image,))
        layers.collect(ChainID(row["chain_id"]), op)


def exported(layers: LayerStore, chain: ChainID) -> bytes:
    out = io.BytesIO()
    layers.export(chain, out)
    return out.getvalue()


def shown(layers: LayerStore, chain: ChainID | None) -> dict[str, bytes]:
    """The files and symbolic links that a chain shows, with their contents and targets."""
    found = {}
    with layers.view(chain) as view:
        for folder, _, files in os.walk(view):
            for name in files:
                path = Path(folder, name)
                content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
                found[str(path.relative_to(view))] = content
    return found


def count(layers: LayerStore, table: str) -> int:
    (row,) = layers.root.database.read(f"SELECT count(*) AS n FROM {table}")
    return int(row["n"])


def check_clean(layers: LayerStore) -> None:
    """Every thing on disk is named by a row, every row has its thing, no operation is under way."""
    root, driver = layers.root, layers.driver
    read = root.database.read
    contents = {row["cache_id"] for row in read("SELECT cache_id FROM contents")}
    snapshots = {row["id"] for row in read("SELECT id FROM snapshots")}
    assert set(driver.list()) == contents | snapshots
    assert list(driver.leftovers()) == []
    assert set(os.listdir(root.layers)) == {f"{cache_id}.journal" for cache_id in contents}
    assert [count(layers, table) for table in ("operations", "staged", "leases")] == [0, 0, 0]
    assert os.listdir(root.tmp) == []
    assert all(layers.records.in_use(layer) for layer in layers.records.tops())
    blobs = {f"sha256:{name}" for name in os.listdir(root.path / "blobs" / "sha256")}
    assert blobs == {row["digest"] for row in read("SELECT digest FROM blobs")}
    for row in read("SELECT chain_id, diff_id FROM layers"):
        assert Digest.of(exported(layers, ChainID(row["chain_id"]))) == DiffID(row["diff_id"])
