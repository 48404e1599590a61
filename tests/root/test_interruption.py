"""Ctrl-C and termination end a command at once, and leave nothing of what it was at."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

ENDS_WITHIN_S = 10


def first_half_of_a_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(2):
            entry = tarfile.TarInfo(f"file{number}")
            entry.size = 3 << 20
            tar.addfile(entry, io.BytesIO(os.urandom(entry.size)))
    return buffer.getvalue()[: 4 << 20]


def wait_for(folder: Path) -> None:
    """Until something is staged in the folder."""
    deadline = time.monotonic() + 30
    while not (folder.exists() and any(folder.iterdir())):
        assert time.monotonic() < deadline, f"nothing came into {folder}"
        os.sched_yield()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "terminate"]
)
def test_an_import_that_waits_for_its_writer_ends_at_once(
    number: signal.Signals, code: int, engine_root: Path
) -> None:
    program = "from lamina.cli.main import main; main()"
    command = [sys.executable, "-c", program, "--root", str(engine_root), "import", "-", "slow"]
    running = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert running.stdin is not None
        running.stdin.write(first_half_of_a_tar())
        running.stdin.flush()
        wait_for(engine_root / "tmp")
        running.send_signal(number)
        assert running.wait(ENDS_WITHIN_S) == code
    finally:
        running.kill()
        out, err = running.communicate()
    assert (out, err) == (b"", b"")
    assert list((engine_root / "tmp").iterdir()) == []
    assert list((engine_root / "layers").iterdir()) == []
