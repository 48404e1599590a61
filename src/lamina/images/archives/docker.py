"""A plan from a `docker save` archive: manifest.json, or the `repositories` file of before 2016.

manifest.json is a list of `{Config, RepoTags, Layers}`, where Config and Layers name members.
Docker before 25 wrote `<v1 id>/layer.tar` members, with symbolic links for layers it had already
written; since then they are the blobs of an OCI layout that lies in the same archive; skopeo and
podman write `<diff id>.tar`. Members are found by name, so manifest.json may come last.
"""

from __future__ import annotations

from lamina.digests import Digest
from lamina.errors import Corrupt
from lamina.images.archives.documents import (
    blob_digest,
    image_config,
    image_name,
    json_list,
    json_member,
    json_object,
    json_text,
)
from lamina.images.archives.plan import LayerSource, LegacyImage, Plan, PlannedImage, invalid
from lamina.images.archives.source import Archive, read_member
from lamina.images.config import LAYER_LIMIT

MANIFEST = "manifest.json"
REPOSITORIES = "repositories"
_IMAGE_LIMIT = 10_000


def plan_docker(archive: Archive) -> Plan:
    """The images that manifest.json names."""
    items = json_list(json_member(archive, MANIFEST), MANIFEST)
    if len(items) > _IMAGE_LIMIT:
        raise invalid(f"{MANIFEST} names {len(items)} images, more than {_IMAGE_LIMIT}")
    return [_planned(archive, json_object(item, MANIFEST)) for item in items]


def _planned(archive: Archive, item: dict[str, object]) -> PlannedImage:
    config_name = json_text(item.get("Config"), f"{MANIFEST}: Config")
    raw = read_member(archive, config_name)
    promised = blob_digest(config_name)
    if promised is not None and Digest.of(raw) != promised:
        raise Corrupt(
            f"invalid archive: the digest of {config_name!r} is {Digest.of(raw)}",
            remedy="the archive is damaged or was tampered with",
        )
    names = json_list(item.get("RepoTags"), f"{MANIFEST}: RepoTags")
    layers = json_list(item.get("Layers"), f"{MANIFEST}: Layers")
    return PlannedImage(
        config=image_config(raw),
        layers=tuple(
            LayerSource(json_text(layer, f"{MANIFEST}: a member of Layers")) for layer in layers
        ),
        names=tuple(
            image_name(json_text(name, f"{MANIFEST}: a member of RepoTags"))
            for name in names
            if name != "<none>:<none>"
        ),
    )


def plan_legacy(archive: Archive) -> Plan:
    """The images that `repositories` names: `{repository: {tag: v1 layer id}}`."""
    repositories = json_object(json_member(archive, REPOSITORIES), REPOSITORIES)
    names: dict[str, list[str]] = {}
    for repository, tags in repositories.items():
        for tag, top in json_object(tags, REPOSITORIES).items():
            names.setdefault(json_text(top, REPOSITORIES), []).append(f"{repository}:{tag}")
    if len(names) > _IMAGE_LIMIT:
        raise invalid(f"{REPOSITORIES} names {len(names)} images, more than {_IMAGE_LIMIT}")
    return [_legacy(archive, top, called) for top, called in names.items()]


def _legacy(archive: Archive, top: str, names: list[str]) -> LegacyImage:
    versions: list[dict[str, object]] = []
    layers: list[LayerSource] = []
    current: str | None = top
    while current is not None:
        if len(layers) >= LAYER_LIMIT:
            raise invalid(f"layer {top[:64]!r} has more than {LAYER_LIMIT} ancestors")
        version = json_object(json_member(archive, f"{current}/json"), f"{current}/json")
        versions.append(version)
        layers.append(LayerSource(f"{current}/layer.tar"))
        parent = version.get("parent")
        current = json_text(parent, f"{current}/json: parent") if parent else None
    return LegacyImage(
        versions=tuple(reversed(versions)),
        layers=tuple(reversed(layers)),
        names=tuple(image_name(name) for name in names),
    )
