"""What the database says of images: rows in, `Image` values out.

Methods that write take the transaction they belong to. Images whose layers the storage driver does
not hold are not seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from lamina.digests import ChainID, Digest, ImageID
from lamina.errors import Corrupt, NotFound
from lamina.images.config import SIZE_LIMIT_BYTES, ImageConfig
from lamina.images.image import Image
from lamina.images.reference import Reference

if TYPE_CHECKING:
    import sqlite3

    from lamina.images.removal import Situation
    from lamina.store.database import Transaction
    from lamina.store.root import DataRoot


class ImageRecords:
    """The rows of images, tags and digests, as far as one driver holds the layers."""

    def __init__(self, root: DataRoot, driver: str) -> None:
        self._database = root.database
        self._blobs = root.blobs
        self._driver = driver

    # Reading

    def all(self) -> Iterator[Image]:
        """Every image, newest first."""
        return self._select("1")

    def find(self, image: str) -> Image | None:
        """The image with this id."""
        return next(self._select("id = ?", image), None)

    def with_prefix(self, digits: str) -> list[Image]:
        """The images whose id begins with these digits."""
        return list(self._select("id >= ? AND id < ?", f"sha256:{digits}", f"sha256:{digits}g"))

    def named(self, reference: Reference) -> Image | None:
        """The image of this name. With a tag and a digest the digest decides: a tag can move."""
        if reference.digest is not None:
            table, column, value = "repo_digests", "digest", str(reference.digest)
        else:
            table, column, value = "tags", "tag", reference.tag or ""
        row = self._database.one(
            f"SELECT image FROM {table} WHERE repository = ? AND {column} = ?",
            (reference.name, value),
        )
        return None if row is None else self.find(row["image"])

    def driver_of(self, reference: Reference | None, digits: str) -> str | None:
        """Another driver that holds an image of this name, or whose id begins with these digits."""
        digest = None if reference is None else reference.digest
        row = self._database.one(
            "SELECT layers.driver FROM images JOIN layers ON layers.chain_id = images.chain_id"
            " WHERE images.id IN ("
            "  SELECT image FROM tags WHERE repository = ?1 AND tag = ?2 AND ?3 IS NULL"
            "  UNION SELECT image FROM repo_digests WHERE repository = ?1 AND digest = ?3"
            "  UNION SELECT id FROM images WHERE ?4 <> '' AND id >= 'sha256:' || ?4"
            "   AND id < 'sha256:' || ?4 || 'g') LIMIT 1",
            (
                None if reference is None else reference.name,
                None if reference is None else reference.tag,
                digest,
                digits,
            ),
        )
        return None if row is None else str(row["driver"])

    def tagged(self, repository: str) -> list[tuple[Reference, Image]]:
        """Every tag of a repository (by its full name) with its image, by tag."""
        rows = self._database.read(
            "SELECT tag, image FROM tags WHERE repository = ? ORDER BY tag", (repository,)
        )
        found = ((_stored(repository, tag=row["tag"]), self.find(row["image"])) for row in rows)
        return [(reference, image) for reference, image in found if image is not None]

    def parents(self) -> frozenset[str]:
        """The ids of images from which others were made."""
        rows = self._database.read(
            "SELECT DISTINCT parent_image FROM images WHERE parent_image IS NOT NULL"
        )
        return frozenset(row["parent_image"] for row in rows)

    def situation(self, image: Image) -> Situation:
        """What the removal of an image must consider."""
        from lamina.images.removal import Situation, Use

        uses = self._database.read(
            "SELECT id, status FROM containers WHERE image = ? ORDER BY created_ns", (image.id,)
        )
        child = self._database.one(
            "SELECT 1 FROM images WHERE parent_image = ? LIMIT 1", (image.id,)
        )
        return Situation(
            image=image.id,
            names=image.names,
            uses=[Use(row["id"], row["status"]) for row in uses],
            has_children=child is not None,
        )

    # Writing

    def add(
        self,
        tx: Transaction,
        config: ImageConfig,
        *,
        size_bytes: int,
        added_ns: int,
        parent: ImageID | None,
    ) -> None:
        """Enter an image; one that is there stays as it is."""
        tx.execute(
            "INSERT INTO images(id, chain_id, size_bytes, created_ns, added_ns, parent_image)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO NOTHING",
            (config.id, config.chain, size_bytes, config.created_ns, added_ns, parent),
        )

    def drop(self, tx: Transaction, image: ImageID) -> None:
        """Delete an image's row, and with it its names."""
        tx.execute("DELETE FROM images WHERE id = ?", (image,))

    def put_name(
        self, tx: Transaction, image: ImageID, reference: Reference, *, now_ns: int
    ) -> None:
        """Let a tag, or a digest, mean this image."""
        if reference.digest is not None:
            tx.execute(
                "INSERT INTO repo_digests(repository, digest, image) VALUES (?, ?, ?)"
                " ON CONFLICT(repository, digest) DO UPDATE SET image = excluded.image",
                (reference.name, reference.digest, image),
            )
        else:
            tx.execute(
                "INSERT INTO tags(repository, tag, image, tagged_ns) VALUES (?, ?, ?, ?)"
                " ON CONFLICT(repository, tag)"
                " DO UPDATE SET image = excluded.image, tagged_ns = excluded.tagged_ns",
                (reference.name, reference.tag, image, now_ns),
            )

    def drop_name(self, tx: Transaction, reference: Reference) -> None:
        """Delete a tag, or a digest."""
        if reference.digest is not None:
            tx.execute(
                "DELETE FROM repo_digests WHERE repository = ? AND digest = ?",
                (reference.name, reference.digest),
            )
        else:
            tx.execute(
                "DELETE FROM tags WHERE repository = ? AND tag = ?",
                (reference.name, reference.tag),
            )

    # Rows to values

    def _select(self, condition: str, *args: str) -> Iterator[Image]:
        rows = self._database.read(
            "SELECT * FROM images WHERE (chain_id IS NULL OR EXISTS ("
            " SELECT 1 FROM layers WHERE layers.driver = ? AND layers.chain_id = images.chain_id))"
            f" AND {condition} ORDER BY created_ns DESC, id",
            (self._driver, *args),
        )
        return map(self._image, rows)

    def _image(self, row: sqlite3.Row) -> Image:
        image = ImageID(row["id"])
        tags = self._database.read(
            "SELECT repository, tag, tagged_ns FROM tags WHERE image = ? ORDER BY repository, tag",
            (image,),
        )
        digests = self._database.read(
            "SELECT repository, digest FROM repo_digests WHERE image = ?"
            " ORDER BY repository, digest",
            (image,),
        )
        parent = row["parent_image"]
        return Image(
            id=image,
            chain=None if row["chain_id"] is None else ChainID(row["chain_id"]),
            size_bytes=row["size_bytes"],
            created_ns=row["created_ns"],
            added_ns=row["added_ns"],
            parent=None if parent is None else ImageID(parent),
            tags=tuple(_stored(each["repository"], tag=each["tag"]) for each in tags),
            digests=tuple(
                _stored(each["repository"], digest=Digest(each["digest"])) for each in digests
            ),
            tagged_ns=max((each["tagged_ns"] for each in tags), default=0),
            read_config=partial(self._read_config, image),
        )

    def _read_config(self, image: ImageID) -> bytes:
        try:
            return self._blobs.read(image, SIZE_LIMIT_BYTES)
        except NotFound as error:
            raise Corrupt(
                f"the configuration of image {image.short} is missing",
                remedy="load or build the image again",
            ) from error


def _stored(repository: str, *, tag: str | None = None, digest: Digest | None = None) -> Reference:
    domain, _, path = repository.partition("/")
    return Reference(domain, path, tag, digest)
