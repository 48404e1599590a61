"""What `image inspect` says about an image: Docker's names, in Docker's order."""

from __future__ import annotations

from typing import Any

from lamina.images.image import Image
from lamina.images.times import ZERO, rfc3339

# Docker shows these even where the image does not set them; the others only where it does.
_ALWAYS = ("Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "Volumes")
_ALWAYS_TEXT = ("User", "WorkingDir")


def inspection(image: Image, graph_driver: dict[str, Any]) -> dict[str, Any]:
    """The document for one image; `graph_driver` is its GraphDriver object."""
    config = image.config
    document: dict[str, Any] = {
        "Id": str(image.id),
        "RepoTags": [tag.familiar() for tag in image.tags],
        "RepoDigests": [digest.familiar() for digest in image.digests],
        "Parent": str(image.parent or ""),
        "Comment": config.history[-1].comment if config.history else config.comment,
        "Created": config.created or ZERO,
        "DockerVersion": config.docker_version,
        "Author": config.author,
        "Config": _run_config(image),
        "Architecture": config.architecture,
    }
    if config.variant:
        document["Variant"] = config.variant
    document["Os"] = config.os
    if config.os_version:
        document["OsVersion"] = config.os_version
    return document | {
        "Size": image.size_bytes,
        "GraphDriver": graph_driver,
        "RootFS": {"Type": "layers", "Layers": [str(diff_id) for diff_id in config.diff_ids]},
        "Metadata": {"LastTagTime": rfc3339(image.tagged_ns) if image.tagged_ns else ZERO},
    }


def _run_config(image: Image) -> dict[str, Any]:
    stated = image.config.run.to_json()
    document = dict.fromkeys(_ALWAYS) | dict.fromkeys(_ALWAYS_TEXT, "") | stated
    return {key: document[key] for key in sorted(document)}
