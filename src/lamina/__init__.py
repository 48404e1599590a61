"""Lamina: a container engine in Python. `lamina.Engine` is the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.engine import Engine as Engine

__version__ = "0.1.0"
__all__ = ["Engine", "__version__"]


def __getattr__(name: str) -> object:
    if name == "Engine":
        from lamina.engine import Engine

        return Engine
    raise AttributeError(f"module 'lamina' has no attribute {name!r}")
