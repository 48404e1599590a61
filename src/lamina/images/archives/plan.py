"""What an archive holds, as data: nothing of it has been stored yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lamina.digests import DiffID, Digest
from lamina.errors import InvalidInput
from lamina.images.config import ImageConfig
from lamina.images.reference import Reference


@dataclass(frozen=True, slots=True)
class LayerSource:
    """A layer as the archive keeps it: the member, and what is promised of its stored bytes."""

    member: str
    digest: Digest | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """An image whose configuration is in the archive: its id and diff ids are known beforehand."""

    config: ImageConfig
    layers: tuple[LayerSource, ...]
    names: tuple[Reference, ...]

    def __post_init__(self) -> None:
        if len(self.layers) != len(self.config.diff_ids):
            raise invalid(
                f"image {self.config.id.short} has {len(self.layers)} layers in its manifest and "
                f"{len(self.config.diff_ids)} in its configuration"
            )

    @property
    def diff_ids(self) -> Sequence[DiffID | None]:
        """What each layer must turn out to be."""
        return self.config.diff_ids

    def encode_config(self, diff_ids: Sequence[DiffID]) -> bytes:
        """The configuration to store: verbatim what the archive has."""
        return self.config.raw


Plan = Sequence["PlannedImage | LegacyImage"]


@dataclass(frozen=True, slots=True)
class LegacyImage:
    """An image of before content addressing: its configuration is made once its layers are known.

    `versions` are the v1 JSON objects of its layers, base first.
    """

    versions: tuple[dict[str, object], ...]
    layers: tuple[LayerSource, ...]
    names: tuple[Reference, ...]

    @property
    def diff_ids(self) -> Sequence[DiffID | None]:
        """Nothing is promised of the layers."""
        return (None,) * len(self.layers)

    def encode_config(self, diff_ids: Sequence[DiffID]) -> bytes:
        """The configuration that Docker's migration makes of v1 objects."""
        import json

        history: list[dict[str, object]] = []
        for version in self.versions:
            made_by = version.get("container_config")
            command = made_by.get("Cmd") if isinstance(made_by, dict) else None
            step = {
                "created": version.get("created"),
                "author": version.get("author"),
                "created_by": " ".join(map(str, command)) if isinstance(command, list) else None,
                "comment": version.get("comment"),
            }
            history.append({key: value for key, value in step.items() if value})
        dropped = {"id", "parent", "Size", "parent_id", "layer_id", "throwaway"}
        document = {key: value for key, value in self.versions[-1].items() if key not in dropped}
        document["rootfs"] = {"type": "layers", "diff_ids": list(diff_ids)}
        document["history"] = history
        text = json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
        return text.encode()


def invalid(reason: str) -> InvalidInput:
    """The error for an archive that is not what it should be."""
    return InvalidInput(f"invalid archive: {reason}")
