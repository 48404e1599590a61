"""`lamina info` and `lamina version` tell what is there, in Docker's layout."""

from __future__ import annotations

import io
import json
import platform
import tarfile
from pathlib import Path

import pytest

import lamina
from lamina.cli import main
from lamina.cli.context import App
from lamina.containers.config import ContainerConfig, HostConfig


def printed(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main.run(args, App({})) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


@pytest.fixture
def root(engine_root: Path) -> str:
    """A data root with one image and one container that never ran."""
    root = str(engine_root / "root")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
    buffer.seek(0)
    with lamina.Engine(root, storage_driver="overlay2") as engine:
        engine.import_image(buffer, "base")
        config = ContainerConfig(image="base", cmd=("true",))
        engine.containers.create(config, HostConfig(), name="one")
    return root


def test_info_counts_and_describes(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "--root", root, "info").splitlines()
    assert lines[:12] == [
        "Containers: 1",
        " Running: 0",
        " Paused: 0",
        " Stopped: 1",
        "Images: 1",
        f"Server Version: {lamina.__version__}",
        "Storage Driver: overlay2",
        " Backing Filesystem: extfs",
        " Supports d_type: true",
        " Using metacopy: false",
        " Native Overlay Diff: true",
        " userxattr: false",
    ]
    assert " Chosen because: this data root already uses it" in lines
    assert "Default Runtime: runc" in lines
    assert f"Kernel Version: {platform.release()}" in lines
    assert f"Lamina Root Dir: {root}" in lines


def test_info_takes_a_template(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    template = "{{.Driver}} {{.ContainersStopped}} {{range .DriverStatus}}{{index . 0}};{{end}}"
    out = printed(capsys, "--root", root, "info", "--format", template)
    assert out.startswith("overlay2 1 Backing Filesystem;Supports d_type;")
    facts = json.loads(printed(capsys, "--root", root, "info", "--format", "json"))
    assert (facts["Containers"], facts["LaminaRootDir"]) == (1, root)


def test_info_says_which_driver_was_asked_for(
    engine_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(engine_root / "other")
    out = printed(capsys, "--root", root, "--storage-driver", "vfs", "info")
    assert "\nStorage Driver: vfs\n" in out
    assert "Chosen because: it was asked for" in out


def test_version_names_the_programs(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "version")
    assert out.startswith(f"Client:\n Version:           {lamina.__version__}\n Python version:")
    for name in ("Engine", "runc", "conmon", "netavark"):
        assert f"\n {name}:\n  Version:          " in out
    assert "not found" not in out


def test_version_takes_a_template(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "version", "--format", "{{.Client.Version}} {{.Server.Os}}")
    assert out == f"{lamina.__version__} linux\n"
    assert json.loads(printed(capsys, "version", "-f", "json"))["Client"]["Arch"]
