"""Platforms: `os/architecture[/variant]`, in Go's names."""

from __future__ import annotations

import os as system
from dataclasses import dataclass

from lamina.errors import InvalidInput

_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "386",
    "i386": "386",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loongarch64": "loong64",
}
_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386"}
_DEFAULT_VARIANTS = {"arm64": "v8", "arm": "v7"}


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image is made for."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def host(cls) -> Platform:
        """What runs on this machine."""
        machine = system.uname().machine
        return cls("linux", _ARCHITECTURES.get(machine, machine))

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `linux`, `linux/arm64`, `linux/arm/v7`, or an architecture alone."""
        parts = text.lower().split("/")
        if not 1 <= len(parts) <= 3 or not all(
            part and part.replace("_", "").replace("-", "").replace(".", "").isalnum()
            for part in parts
        ):
            raise InvalidInput(
                f"invalid platform {text[:100]!r}", remedy="want os[/architecture[/variant]]"
            )
        if len(parts) == 1:
            if parts[0] == "linux":
                return cls.host()
            parts.insert(0, "linux")
        parts[1] = _ALIASES.get(parts[1], parts[1])
        return cls(*parts)

    def fits(self, wanted: Platform) -> bool:
        """Whether this satisfies what is wanted; a missing variant is the usual one."""
        return (
            self.os == wanted.os
            and self.architecture == wanted.architecture
            and (not wanted.variant or self._variant == wanted._variant)
        )

    @property
    def _variant(self) -> str:
        return self.variant or _DEFAULT_VARIANTS.get(self.architecture, "")

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
