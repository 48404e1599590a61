"""Saving images: one tar that is an OCI image layout and, for Docker's readers, more than that.

```
oci-layout, index.json          the OCI layout's table of contents
manifest.json, repositories     Docker's (format `docker-archive` only)
blobs/sha256/<hex>              configurations and manifests, then the layers' exact tars
```

The tables come first, so a reader of a stream knows what follows. Times are 0 and the order is
fixed: the same images under the same names give the same bytes. A layer is written once however
many images share it, and its digest is checked while it is written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, BinaryIO

from lamina.digests import ChainID, Digest, chain_ids
from lamina.errors import InvalidInput
from lamina.images.archives.oci import (
    CONFIG_TYPE,
    CONTAINERD_NAME,
    INDEX_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    REFERENCE_NAME,
)
from lamina.images.image import Image
from lamina.images.reference import Reference

if TYPE_CHECKING:
    from lamina.images.store import ImageStore

_BLOCK = 512


class Format(Enum):
    """What kind of reader the archive is for."""

    DOCKER = "docker-archive"
    OCI = "oci"

    @classmethod
    def parse(cls, text: str) -> Format:
        """The format of this name; `oci-archive` is another word for `oci`."""
        try:
            return cls("oci" if text == "oci-archive" else text)
        except ValueError:
            raise InvalidInput(
                f"unknown archive format {text[:100]!r}", remedy="use docker-archive or oci"
            ) from None


@dataclass(frozen=True, slots=True)
class _Blob:
    media_type: str
    digest: Digest
    size_bytes: int

    def descriptor(self, **more: object) -> dict[str, Any]:
        return {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size_bytes,
            **more,
        }

    @property
    def member(self) -> str:
        return f"blobs/sha256/{self.digest.hex}"


@dataclass(frozen=True, slots=True)
class _Saved:
    """One image as it will be written."""

    image: Image
    names: tuple[Reference, ...]
    manifest: bytes
    config: _Blob
    layers: tuple[_Blob, ...]
    chains: tuple[ChainID, ...]


def save(
    images: ImageStore,
    names: Sequence[str],
    out: BinaryIO,
    *,
    format: Format = Format.DOCKER,
) -> None:
    """Write the named images; a repository without a tag means all of its tags, as in Docker.

    Errors that can be known beforehand (no such image) come before the first byte.
    """
    with images.root.operation("save") as operation:
        chosen = _chosen(images, names)
        for image, _ in chosen.values():
            if image.chain is not None:
                images.layers.lease(operation, image.chain)
        saved = [_prepared(images, image, called) for image, called in chosen.values()]
        archive = _Writer(out)
        _write_documents(archive, saved, format)
        written: set[Digest] = set()
        for each in saved:
            for blob, chain in zip(each.layers, each.chains, strict=True):
                if blob.digest not in written:
                    written.add(blob.digest)
                    archive.begin(blob.member, blob.size_bytes)
                    images.layers.export(chain, out)
                    archive.end()
        archive.finish()


def _chosen(
    images: ImageStore, names: Sequence[str]
) -> dict[Digest, tuple[Image, tuple[Reference, ...]]]:
    """The images that are meant, each once, with the names under which they were asked for."""
    chosen: dict[Digest, tuple[Image, tuple[Reference, ...]]] = {}

    def choose(image: Image, *called: Reference) -> None:
        before = chosen.get(image.id, (image, ()))[1]
        chosen[image.id] = image, tuple(dict.fromkeys(before + called))

    for text in names:
        repository = _repository_or_none(text)
        of_repository = [] if repository is None else images.tagged(repository)
        for reference, image in of_repository:
            choose(image, reference)
        if not of_repository:
            image, name = images.resolve_named(text)
            choose(image, *((name,) if name is not None and name.tag is not None else ()))
    return chosen


def _repository_or_none(text: str) -> str | None:
    """The repository that is meant, if the text is one without a tag or digest."""
    try:
        reference = Reference.parse(text, default_tag=None)
    except InvalidInput:
        return None
    return reference.name if reference.tag is None and reference.digest is None else None


def _prepared(images: ImageStore, image: Image, names: tuple[Reference, ...]) -> _Saved:
    chains = tuple(chain_ids(image.config.diff_ids))
    layers = tuple(
        _Blob(LAYER_TYPE, diff_id, images.layers.tar_size_bytes(chain))
        for diff_id, chain in zip(image.config.diff_ids, chains, strict=True)
    )
    config = _Blob(CONFIG_TYPE, image.id, len(image.config.raw))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
    }
    return _Saved(image, names, _json(manifest), config, layers, chains)


def _write_documents(archive: _Writer, saved: Sequence[_Saved], format: Format) -> None:
    archive.add("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
    archive.add("index.json", _json(_index(saved)))
    if format is Format.DOCKER:
        archive.add("manifest.json", _json([_docker_manifest(each) for each in saved]))
        archive.add("repositories", _json(_repositories(saved)))
    written: set[Digest] = set()
    for each in saved:
        for data in (each.image.config.raw, each.manifest):
            digest = Digest.of(data)
            if digest not in written:
                written.add(digest)
                archive.add(f"blobs/sha256/{digest.hex}", data)


def _index(saved: Sequence[_Saved]) -> dict[str, Any]:
    descriptors: list[dict[str, Any]] = []
    for each in saved:
        blob = _Blob(MANIFEST_TYPE, Digest.of(each.manifest), len(each.manifest))
        config = each.image.config
        platform = {"architecture": config.architecture, "os": config.os}
        if config.variant:
            platform["variant"] = config.variant
        for name in each.names:
            annotations = {CONTAINERD_NAME: str(name), REFERENCE_NAME: name.tag}
            descriptors.append(blob.descriptor(annotations=annotations, platform=platform))
        if not each.names:
            descriptors.append(blob.descriptor(platform=platform))
    return {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": descriptors}


def _docker_manifest(saved: _Saved) -> dict[str, Any]:
    return {
        "Config": saved.config.member,
        "RepoTags": [name.familiar() for name in saved.names] or None,
        "Layers": [layer.member for layer in saved.layers],
    }


def _repositories(saved: Sequence[_Saved]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for each in saved:
        for name in each.names:
            if name.tag is not None and each.layers:
                tags = found.setdefault(name.familiar_name, {})
                tags[name.tag] = each.layers[-1].digest.hex
    return found


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class _Writer:
    """The outer tar: regular files, nobody's, at time 0."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._padding = 0

    def add(self, name: str, data: bytes) -> None:
        """A member whose bytes are at hand."""
        self.begin(name, len(data))
        self._out.write(data)
        self.end()

    def begin(self, name: str, size_bytes: int) -> None:
        """The header of a member whose bytes the caller writes next."""
        from tarfile import PAX_FORMAT, TarInfo

        info = TarInfo(name)
        info.size = size_bytes
        info.mode = 0o644
        self._out.write(info.tobuf(PAX_FORMAT))
        self._padding = -size_bytes % _BLOCK

    def end(self) -> None:
        """The member's bytes are written."""
        self._out.write(bytes(self._padding))

    def finish(self) -> None:
        """The end mark."""
        self._out.write(bytes(2 * _BLOCK))
