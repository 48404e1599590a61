"""Builders for tests of images: layer tars, configurations, docker and OCI archives by hand."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from lamina import Engine
from tarkit import Member, archive, file, folder


def layer_tar(**files: bytes) -> bytes:
    """A layer of these files in a folder `d`."""
    return archive(folder("d"), *(file(f"d/{name}", data) for name, data in files.items()))


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def config_of(*layers: bytes, **fields: Any) -> bytes:
    """A configuration with these layers; fields replace or add."""
    return encoded(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
            "history": [{"created_by": f"step {index}"} for index in range(len(layers))],
            **fields,
        }
    )


def docker_members(
    config: bytes, layers: Sequence[bytes], tags: Sequence[str] = ("made:1",)
) -> dict[str, bytes]:
    """The members of a docker archive with one image, manifest.json last."""
    members = {f"{index}/layer.tar": layer for index, layer in enumerate(layers)}
    item = {"Config": "config.json", "RepoTags": list(tags), "Layers": list(members)}
    return {"config.json": config, **members, "manifest.json": encoded([item])}


def oci_members(
    config: bytes, layers: Sequence[bytes], *, annotations: Mapping[str, str] | None = None
) -> dict[str, bytes]:
    """The members of an OCI layout with one image; its layers are compressed by gzip."""
    members: dict[str, bytes] = {"oci-layout": encoded({"imageLayoutVersion": "1.0.0"})}
    packed = [gzip.compress(layer, mtime=0) for layer in layers]
    manifest = encoded(
        {
            "schemaVersion": 2,
            "config": blob(members, config, "application/vnd.oci.image.config.v1+json"),
            "layers": [
                blob(members, layer, "application/vnd.oci.image.layer.v1.tar+gzip")
                for layer in packed
            ],
        }
    )
    described = blob(members, manifest, "application/vnd.oci.image.manifest.v1+json")
    if annotations:
        described["annotations"] = dict(annotations)
    members["index.json"] = encoded({"schemaVersion": 2, "manifests": [described]})
    return members


def blob(members: dict[str, bytes], data: bytes, media_type: str) -> dict[str, Any]:
    """Put a blob into a layout; its descriptor."""
    digest = sha256(data)
    members[f"blobs/sha256/{digest[7:]}"] = data
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def packed(members: Mapping[str, bytes], *more: Member) -> bytes:
    """The members as an archive."""
    return archive(*(file(name, data) for name, data in members.items()), *more)


def is_empty(engine: Engine) -> bool:
    """Whether the root holds no image, no layer, no blob, and nothing half made."""
    tables = ("images", "tags", "layers", "contents", "leases", "staged", "operations", "blobs")
    rows = [engine.root.database.one(f"SELECT 1 FROM {table} LIMIT 1") for table in tables]
    folders = [engine.root.tmp, engine.root.path / "blobs" / "sha256", engine.root.layers]
    return not any(rows) and not any(any(folder.iterdir()) for folder in folders)
