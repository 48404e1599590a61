"""Opening the stores is on the way of every command: it imports nothing that is slow to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = ["msgspec", "rich", "shutil", "subprocess", "tempfile", "urllib.request", "zstandard"]


@pytest.mark.parametrize(
    "module", ["lamina.store.root", "lamina.layers.store", "lamina.layers.recovery"]
)
def test_a_store_imports_nothing_slow(module: str) -> None:
    program = f"import sys, {module}; print(*[name for name in {SLOW!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
