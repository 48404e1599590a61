"""Completion names what is in the data root."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import lamina
from lamina.cli.complete import candidates
from lamina.cli.context import App
from lamina.containers.config import ContainerConfig, HostConfig


def test_images_containers_and_volumes_are_offered_by_name(engine_root: Path) -> None:
    root = str(engine_root / "root")
    with lamina.Engine(root) as engine:
        engine.import_image(empty_tar(), "acme/base:1.0")
        engine.containers.create(
            ContainerConfig(image="acme/base:1.0", cmd=("x",)), HostConfig(), name="one"
        )
        engine.volumes.create("data")

    def offered(*words: str) -> list[str]:
        app = App({"LAMINA_ROOT": root})
        try:
            return [text for text, _ in candidates(app, words)]
        finally:
            app.close()

    assert offered("rmi", "ac") == ["acme/base:1.0"]
    assert offered("run", "--rm", "") == ["acme/base:1.0"]
    assert offered("start", "") == ["one"]
    assert offered("exec", "") == []
    assert offered("inspect", "") == ["acme/base:1.0", "one"]
    assert offered("volume", "rm", "") == ["data"]
    assert offered("run", "--network", "") == ["bridge", "host", "none"]


def empty_tar() -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
    buffer.seek(0)
    return buffer
