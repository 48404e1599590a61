"""The OCI runtime: found, checked, and called by argument lists.

`runc` and `crun` speak one command line. Which one runs is the first that works here: the one
asked for, else runc, else crun. Calls use posix_spawn, since importing `subprocess` costs more
than some of these calls take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

OutputSink = Callable[[int, bytes], None]
"""Called with 1 (standard output) or 2 (standard error) and a piece of output."""


class Runtime:
    """One OCI runtime program and the folder in which it keeps its state."""

    def __init__(self, program: Path, state: Path) -> None:
        self.program = program
        self.state = state

    @classmethod
    def find(cls, requested: str | None, state: Path) -> Runtime:
        """The runtime asked for (a name or a path), or the first of runc and crun that works here.

        Raises Unsupported, naming the package to install, where there is none.
        """
        raise NotImplementedError

    def run(
        self,
        spec: Mapping[str, Any],
        bundle: Path,
        container_id: str,
        *,
        output: OutputSink,
        stdin_fd: int | None = None,
    ) -> int:
        """Run this configuration to its end in the foreground, without a monitor; its exit code.

        The bundle folder is made, and is gone afterwards; output is handed over as it comes, on
        the calling thread. A build's RUN goes this way. An exception out of `output` (an
        interrupt) kills the container and passes on. The program not being found in the rootfs
        raises RuntimeFailure with exit code 127, not executable 126.
        """
        raise NotImplementedError
