"""The Dockerfile language: text → nodes with lines → typed instructions. Pure: no file is read."""

from __future__ import annotations

from lamina.build.dockerfile.errors import DockerfileError, Lines, WordError
from lamina.build.dockerfile.instructions import Dockerfile, Instruction, Stage
from lamina.build.dockerfile.parser import parse, parse_instruction

__all__ = [
    "Dockerfile",
    "DockerfileError",
    "Instruction",
    "Lines",
    "Stage",
    "WordError",
    "parse",
    "parse_instruction",
]
