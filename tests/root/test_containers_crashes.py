"""Callers killed at any moment, and many callers on one container: nothing is lost or left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from containerkit import CLI, Kit, mounts_below, wait_for

from lamina.containers.config import HostConfig
from lamina.containers.monitor import monitor_pid
from lamina.engine import Engine
from lamina.errors import Conflict, LaminaError, NotFound

FOREVER = ("sleep", "1000")


@pytest.fixture
def kit(engine_root: Path) -> Iterator[Kit]:
    with Engine(engine_root / "root", storage_driver="overlay2") as engine:
        yield Kit(engine)
        for container in engine.containers.list(all=True):
            container.remove(force=True)
        shutil.rmtree(engine.root.run)


def run_in_background(kit: Kit, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*CLI, "--root", str(kit.engine.root.path), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def processes_of(path: Path) -> list[str]:
    """The monitors that hold something of this data root."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path("/proc", pid, "cmdline").read_bytes()
        except OSError:
            continue
        if b"conmon" in command and os.fsencode(path) in command:
            found.append(pid)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_a_caller_killed_at_any_moment_leaves_a_root_that_works(kit: Kit, seed: int) -> None:
    chance = random.Random(seed)
    root = kit.engine.root
    process = run_in_background(
        kit, "run", "--rm", "--network", "host", "busybox", "sh", "-c", "echo x; sleep 0.05"
    )
    try:
        process.wait(timeout=chance.uniform(0.02, 0.4))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with Engine(root.path, storage_driver="overlay2") as later:
        for container in later.containers.list(all=True):
            container.remove(force=True)
        wait_for(lambda: not processes_of(root.path))
        assert os.listdir(root.containers) == []
        assert mounts_below(root.path) == []
        assert root.database.read("SELECT * FROM snapshots") == []
        assert root.database.read("SELECT * FROM operations") == []
        own = Kit.__new__(Kit)
        own.engine = later
        assert own.run("true", host=HostConfig(network_mode="host", auto_remove=True)).code == 0
    for name in ("containers", "runtime"):
        folder = root.run / name
        wait_for(lambda folder=folder: not folder.is_dir() or not os.listdir(folder))


def test_a_start_killed_halfway_is_undone_at_the_next_look(kit: Kit) -> None:
    container = kit.create(*FOREVER)
    parts = kit.engine.containers.parts
    script = f"""
import os, signal
from lamina.containers.runtime import Runtime
from lamina.engine import Engine
Runtime.start = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
Engine({str(kit.engine.root.path)!r}).containers.get({container.id!r}).start()
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert parts.records.get(container.id).status == "running"
    state = container.state
    assert (state.status, state.error) == ("exited", "the start was interrupted")
    wait_for(lambda: not processes_of(kit.engine.root.path))
    assert mounts_below(kit.engine.root.path) == []
    container.start()
    assert container.state.running


def test_a_killed_exec_caller_leaves_the_container_alone(kit: Kit) -> None:
    container = kit.started(*FOREVER)
    process = run_in_background(kit, "exec", container.id, "sh", "-c", "echo > /up; sleep 1000")
    wait_for(lambda: kit.exec(container, "cat", "/up").code == 0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert container.state.running
    assert kit.exec(container, "true").code == 0


def test_a_killed_monitor_and_init_with_rm_leave_nothing(kit: Kit) -> None:
    host = HostConfig(network_mode="host", auto_remove=True)
    container = kit.started(*FOREVER, host=host)
    pid = container.state.pid
    os.kill(monitor_pid(kit.engine.root.run / "containers" / container.id), signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"))
    assert kit.engine.containers.list() == []  # the look itself notices the end
    assert os.listdir(kit.engine.root.containers) == []


def test_starting_and_removing_from_all_sides_ends_well(kit: Kit) -> None:
    container = kit.create("sh", "-c", "exit 0")
    strange: list[BaseException] = []

    def side(action: str) -> None:
        try:
            with Engine(kit.engine.root.path, storage_driver="overlay2") as engine:
                own = engine.containers.get(container.id)
                for _ in range(4):
                    if action == "start":
                        own.start()
                    elif action == "wait":
                        own.wait()
                    elif action == "stop":
                        own.stop(0)
                    else:
                        own.inspect()
        except (Conflict, NotFound):
            pass
        except BaseException as error:
            strange.append(error)

    sides = ["start", "start", "wait", "stop", "inspect"]
    threads = [threading.Thread(target=side, args=(action,)) for action in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert strange == []
    container.stop(0)
    container.remove()
    assert mounts_below(kit.engine.root.path) == []


def test_removal_by_force_from_many_sides_removes_once(kit: Kit) -> None:
    container = kit.started(*FOREVER)
    errors: list[LaminaError] = []

    def remove() -> None:
        try:
            with Engine(kit.engine.root.path, storage_driver="overlay2") as engine:
                engine.containers.get(container.id).remove(force=True)
        except LaminaError as error:
            errors.append(error)

    threads = [threading.Thread(target=remove) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(isinstance(error, NotFound) for error in errors)
    assert kit.engine.containers.list(all=True) == []
    assert os.listdir(kit.engine.root.containers) == []
