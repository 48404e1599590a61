"""Commands killed at any moment leave a root in which nothing is torn and nothing leaks."""

from __future__ import annotations

import contextlib
import random
import subprocess
from pathlib import Path

import pytest
from commandkit import Lamina, busybox_tar
from layer_builders import check_clean, count

import lamina

ROUNDS = 24
DOCKERFILE = """
FROM base
COPY file /file
RUN cat /file > /copied && rm /file
RUN echo {number} > /number
"""


@pytest.fixture(params=["overlay2", "vfs"])
def command(request: pytest.FixtureRequest, engine_root: Path) -> Lamina:
    command = Lamina(engine_root / "root")
    command.environment["LAMINA_DRIVER"] = str(request.param)
    command.ok("import", "-", "base", stdin=busybox_tar())
    return command


def _killed(command: Lamina, after_s: float, *args: str) -> None:
    """Run a command, and kill it unless it ends before."""
    running = command.begin(*args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        running.wait(after_s)
    running.kill()
    running.wait()


def test_killed_commands_leave_a_whole_root(command: Lamina, tmp_path: Path) -> None:
    chance = random.Random(3)
    archive = tmp_path / "archive.tar"
    context = tmp_path / "context"
    context.mkdir()
    for number in range(ROUNDS):
        (context / "file").write_bytes(chance.randbytes(200_000))
        (context / "Dockerfile").write_text(DOCKERFILE.format(number=number % 3))
        what = chance.choice(
            [
                ("build", "-q", "--network", "none", "-t", f"made:{number % 4}", str(context)),
                ("rmi", "-f", f"made:{chance.randrange(4)}"),
                ("load", "-q", "-i", str(archive)),
                ("image", "prune", "-f", "-a"),
            ]
        )
        if not archive.exists():
            command.ok("build", "-q", "--network", "none", "-t", "saved", str(context))
            command.ok("save", "-o", str(archive), "saved")
            command.ok("rmi", "saved")
        _killed(command, chance.uniform(0.05, 0.9), *what)
        with lamina.Engine(command.root) as engine:
            check_clean(engine.layers)
            assert count(engine.layers, "snapshots") == 0
        if command("image", "inspect", "base").returncode != 0:
            command.ok("import", "-", "base", stdin=busybox_tar())
    assert str(command.root) not in Path("/proc/self/mountinfo").read_text()
