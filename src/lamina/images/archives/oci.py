"""A plan from an OCI image layout: index.json leads to manifests, those to blobs.

Source: OCI image-spec, image-layout.md, image-index.md, manifest.md, annotations.md. Every blob is
checked against the digest and size of the descriptor that named it. Where an index offers several
platforms for one image, the wanted one is taken; what is no image (attestations) is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lamina.digests import Digest
from lamina.errors import InvalidInput
from lamina.images.archives.documents import (
    image_config,
    image_name,
    json_list,
    json_object,
    json_text,
)
from lamina.images.archives.plan import LayerSource, Plan, PlannedImage, invalid
from lamina.images.archives.source import Archive, CheckedStream, read_member
from lamina.images.config import LAYER_LIMIT, SIZE_LIMIT_BYTES, parse_json
from lamina.images.platform import Platform
from lamina.images.reference import Reference

LAYOUT = "oci-layout"
INDEX = "index.json"

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
REFERENCE_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"

_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
_INDEXES = (INDEX_TYPE, _DOCKER_LIST)
_MANIFESTS = (MANIFEST_TYPE, _DOCKER_MANIFEST)
_CONFIGS = (CONFIG_TYPE, _DOCKER_CONFIG)
_DEPTH_LIMIT = 4
_DESCRIPTOR_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to a blob, with what is promised of it."""

    media_type: str
    digest: Digest
    size_bytes: int
    platform: Platform | None
    annotations: dict[str, object]

    @property
    def member(self) -> str:
        """Where a layout keeps the blob."""
        return f"blobs/sha256/{self.digest.hex}"

    @property
    def is_attestation(self) -> bool:
        """Whether it says something about an image rather than being one."""
        unknown = self.platform is not None and self.platform.os == "unknown"
        return unknown or "vnd.docker.reference.type" in self.annotations


def plan_oci(archive: Archive, platform: Platform) -> Plan:
    """The images of a layout, those for `platform` where there is a choice."""
    if archive.has(LAYOUT):
        layout = json_object(
            parse_json(read_member(archive, LAYOUT), "archive: oci-layout"), LAYOUT
        )
        version = layout.get("imageLayoutVersion")
        if not isinstance(version, str) or not version.startswith("1."):
            raise invalid(f"{LAYOUT} is of version {version!r}, not 1.x")
    index = json_object(parse_json(read_member(archive, INDEX), "archive: index.json"), INDEX)
    offered = _descriptors(index, INDEX)
    # A top-level list may hold unrelated images: only one image's several platforms are a choice.
    chosen = [each for each in offered if each.platform is None or each.platform.fits(platform)]
    planned: list[PlannedImage] = []
    for descriptor in chosen or offered[:1]:
        planned += _images(archive, descriptor, _names(descriptor), platform, depth=0)
    if not planned:
        raise invalid(f"{INDEX} names no image for {platform}")
    return planned


def _images(
    archive: Archive,
    descriptor: Descriptor,
    names: tuple[Reference, ...],
    platform: Platform,
    *,
    depth: int,
) -> Iterator[PlannedImage]:
    document = json_object(
        parse_json(_blob(archive, descriptor), f"archive: blob {descriptor.digest.short}"),
        f"blob {descriptor.digest.short}",
    )
    kind = document.get("mediaType") or descriptor.media_type
    if kind in _INDEXES or "manifests" in document:
        if depth >= _DEPTH_LIMIT:
            raise invalid(f"indexes are nested more than {_DEPTH_LIMIT} deep")
        offered = _descriptors(document, f"index {descriptor.digest.short}")
        for each in offered:
            if each.platform is None or each.platform.fits(platform):
                yield from _images(archive, each, names, platform, depth=depth + 1)
                return
        offers = ", ".join(sorted(str(each.platform) for each in offered if each.platform))
        raise InvalidInput(
            f"no image for platform {platform} in the archive",
            remedy=f"it offers {offers or 'none'}; choose with --platform",
        )
    if kind not in _MANIFESTS:
        raise invalid(f"blob {descriptor.digest.short} is of type {str(kind)[:100]!r}, no manifest")
    yield _image(archive, document, names)


def _image(
    archive: Archive, manifest: dict[str, object], names: tuple[Reference, ...]
) -> PlannedImage:
    config = _descriptor(manifest.get("config"), "a manifest's config")
    if config.media_type not in _CONFIGS:
        raise invalid(f"it holds {config.media_type[:100]!r}, no container image")
    layers = json_list(manifest.get("layers"), "a manifest's layers")
    if len(layers) > LAYER_LIMIT:
        raise invalid(f"a manifest has {len(layers)} layers, more than {LAYER_LIMIT}")
    described = [_descriptor(layer, "a manifest's layer") for layer in layers]
    return PlannedImage(
        config=image_config(_blob(archive, config)),
        layers=tuple(LayerSource(each.member, each.digest, each.size_bytes) for each in described),
        names=names,
    )


def _names(descriptor: Descriptor) -> tuple[Reference, ...]:
    """What the layout calls the image. A bare word is the layout's own label, not a repository."""
    full = descriptor.annotations.get(CONTAINERD_NAME)
    if isinstance(full, str) and full:
        return (image_name(full),)
    label = descriptor.annotations.get(REFERENCE_NAME)
    if isinstance(label, str) and ("/" in label or ":" in label):
        return (image_name(label),)
    return ()


def _descriptors(index: dict[str, object], what: str) -> list[Descriptor]:
    values = json_list(index.get("manifests"), f"manifests of {what}")
    if len(values) > _DESCRIPTOR_LIMIT:
        raise invalid(f"{what} has {len(values)} entries, more than {_DESCRIPTOR_LIMIT}")
    found = [_descriptor(value, what) for value in values]
    return [each for each in found if not each.is_attestation]


def _descriptor(value: object, what: str) -> Descriptor:
    fields = json_object(value, f"descriptor in {what}")
    size = fields.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise invalid(f"a descriptor in {what} has no size")
    text = json_text(fields.get("digest"), f"digest in {what}")
    try:
        digest = Digest(text)
    except InvalidInput as error:
        raise invalid(error.message) from None
    platform = fields.get("platform")
    annotations = fields.get("annotations")
    return Descriptor(
        media_type=str(fields.get("mediaType") or ""),
        digest=digest,
        size_bytes=size,
        platform=_platform(json_object(platform, f"platform in {what}")) if platform else None,
        annotations=json_object(annotations, f"annotations in {what}") if annotations else {},
    )


def _platform(fields: dict[str, object]) -> Platform:
    return Platform(
        os=str(fields.get("os") or ""),
        architecture=str(fields.get("architecture") or ""),
        variant=str(fields.get("variant") or ""),
    )


def _blob(archive: Archive, descriptor: Descriptor) -> bytes:
    """A small blob, checked."""
    if descriptor.size_bytes > SIZE_LIMIT_BYTES:
        raise invalid(f"blob {descriptor.digest.short} has {descriptor.size_bytes} bytes")
    section = archive.open(descriptor.member)
    try:
        stream = CheckedStream(section, descriptor.digest, descriptor.size_bytes)
        data = bytearray()
        while chunk := stream.read():
            data += chunk
        stream.finish()
        return bytes(data)
    finally:
        section.close()
