"""What a volume is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume's record; `path` is its content's folder."""

    name: str
    path: Path
    created_ns: int
    driver: str = "local"
    labels: Mapping[str, str] = field(default_factory=dict)
    anonymous: bool = False
