"""Locks that the kernel drops at their owner's death."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from lamina.store.locks import lock, try_lock, try_lock_folder

_HOLDER = """
import sys, pathlib
from lamina.store.locks import lock
held = lock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_held_lock_is_not_given_twice(tmp_path: Path) -> None:
    with lock(tmp_path):
        assert try_lock(tmp_path) is None
    again = try_lock(tmp_path)
    assert again is not None
    again.release()


def test_a_lock_dies_with_its_owner(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _HOLDER, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == "held\n"
        assert try_lock(tmp_path) is None
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    taken = try_lock(tmp_path)
    assert taken is not None
    taken.release()


def test_what_is_gone_cannot_be_locked(tmp_path: Path) -> None:
    assert try_lock(tmp_path / "absent") is None


def test_releasing_twice_is_harmless(tmp_path: Path) -> None:
    held = lock(tmp_path)
    held.release()
    held.release()


def test_a_folder_that_comes_and_goes_is_locked_or_not_but_no_error(tmp_path: Path) -> None:
    folder = tmp_path / "operation"
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            with suppress(FileExistsError):
                folder.mkdir()
            with suppress(FileNotFoundError):
                folder.rmdir()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(5000):
            taken = try_lock_folder(folder)
            if taken is not None:
                taken.release()
    finally:
        ended.set()
        other.join()
