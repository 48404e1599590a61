"""JSON documents of archives, read field by field: what is missing or of another type is told."""

from __future__ import annotations

from collections.abc import Sequence

from lamina.digests import Digest
from lamina.errors import InvalidInput
from lamina.images.archives.plan import invalid
from lamina.images.archives.source import Archive, read_member
from lamina.images.config import ImageConfig, parse_json
from lamina.images.reference import Reference


def json_member(archive: Archive, name: str) -> object:
    """The value of a JSON member."""
    return parse_json(read_member(archive, name), f"archive: {name!r}")


def json_object(value: object, what: str) -> dict[str, object]:
    """The value as an object."""
    if not isinstance(value, dict):
        raise invalid(f"{what} is no JSON object")
    return value


def json_list(value: object, what: str) -> Sequence[object]:
    """The value as a list; null counts as empty, as in Go."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise invalid(f"{what} is no JSON list")
    return value


def json_text(value: object, what: str) -> str:
    """The value as a string."""
    if not isinstance(value, str) or not value:
        raise invalid(f"{what} is missing or no string")
    return value


def image_config(raw: bytes) -> ImageConfig:
    """An image configuration of an archive."""
    try:
        return ImageConfig.parse(raw)
    except InvalidInput as error:
        raise invalid(error.message) from None


def image_name(text: str) -> Reference:
    """A name that an archive gives to an image; it must have a tag."""
    try:
        reference = Reference.parse(text)
    except InvalidInput as error:
        raise invalid(f"image name {text[:200]!r}: {error.message}") from None
    if reference.tag is None:
        raise invalid(f"image name {text[:200]!r} has no tag")
    return reference


def blob_digest(name: str) -> Digest | None:
    """The digest that a member's name promises: `<hex>.json`, `blobs/sha256/<hex>`."""
    last = name.rpartition("/")[2].removesuffix(".json").removesuffix(".tar")
    try:
        return Digest(f"sha256:{last}")
    except InvalidInput:
        return None
