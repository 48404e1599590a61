"""Containers on networks and with volumes: connected when started, let go at their end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from containerkit import Kit, wait_for

from lamina.containers.config import HostConfig, PortBinding
from lamina.containers.monitor import monitor_pid
from lamina.engine import Engine
from lamina.errors import Conflict

SERVE = "while :; do echo hello | nc -l -p 80; done"
BRIDGE = HostConfig(network_mode="bridge")


@pytest.fixture
def kit(engine_root: Path) -> Iterator[Kit]:
    with Engine(engine_root / "root", storage_driver="overlay2") as engine:
        yield Kit(engine)
        for container in engine.containers.list(all=True):
            container.remove(force=True, volumes=True)
        assert list(engine.networks.endpoints()) == []
        shutil.rmtree(engine.root.run)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def heard_on(port: int) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            return connection.recv(100)
    except OSError:
        return b""


class TestBridge:
    def test_a_published_port_answers_until_the_end(self, kit: Kit) -> None:
        port = free_port()
        host = HostConfig(
            network_mode="bridge", port_bindings={"80/tcp": (PortBinding("", str(port)),)}
        )
        container = kit.started("sh", "-c", SERVE, host=host)
        wait_for(lambda: heard_on(port) == b"hello\n")
        settings = container.inspect()["NetworkSettings"]
        assert settings["Ports"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(port)}]}
        assert settings["IPAddress"] in kit.exec(container, "ip", "a").out.decode()
        container.stop(0)
        assert heard_on(port) == b""
        assert kit.engine.networks.endpoint(container.id) is None
        assert container.inspect()["NetworkSettings"]["IPAddress"] == ""

    def test_it_has_its_name_and_address_in_hosts(self, kit: Kit) -> None:
        found = kit.run("sh", "-c", "cat /etc/hosts; ip a", hostname="box", host=BRIDGE)
        lines = found.out.decode().splitlines()
        own = next(line for line in lines if line.endswith("\tbox"))
        assert own.split("\t")[0] in found.out.decode().partition("eth0")[2]

    def test_one_that_ends_by_itself_is_disconnected(self, kit: Kit) -> None:
        container = kit.started("true", host=BRIDGE)
        wait_for(lambda: container.state.status == "exited")
        wait_for(lambda: kit.engine.networks.endpoint(container.id) is None)

    def test_one_that_cannot_start_is_disconnected(self, kit: Kit) -> None:
        with pytest.raises(Exception, match="executable file not found"):
            kit.started("nosuch", host=BRIDGE)
        assert list(kit.engine.networks.endpoints()) == []

    def test_one_whose_monitor_was_killed_too_is_disconnected_at_the_next_look(
        self, kit: Kit
    ) -> None:
        container = kit.started("sleep", "1000", host=BRIDGE)
        pid = container.state.pid
        os.kill(monitor_pid(kit.engine.root.run / "containers" / container.id), signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: container.state.status == "exited")
        assert kit.engine.networks.endpoint(container.id) is None

    def test_none_has_only_the_loopback(self, kit: Kit) -> None:
        found = kit.run("ls", "/sys/class/net", host=HostConfig(network_mode="none"))
        assert found.out.split() == [b"lo"]

    def test_host_is_the_hosts(self, kit: Kit) -> None:
        found = kit.run("readlink", "/proc/self/ns/net")
        assert found.out.decode().strip() == os.readlink("/proc/self/ns/net")


class TestVolumes:
    def test_a_named_volume_is_filled_shared_and_outlives(self, kit: Kit) -> None:
        host = HostConfig(network_mode="host", binds=("data:/etc",))
        first = kit.started("sleep", "1000", host=host)
        assert kit.exec(first, "sh", "-c", "echo x > /etc/new").code == 0
        assert first.size().size_bytes == 0
        reader = HostConfig(network_mode="host", binds=("data:/mnt:ro",), auto_remove=True)
        script = "cat /mnt/new /mnt/passwd; touch /mnt/y"
        found = kit.run("sh", "-c", script, host=reader)
        assert found.out.startswith(b"x\nroot:")
        assert b"Read-only" in found.err
        (mount,) = first.inspect()["Mounts"]
        assert (mount["Type"], mount["Name"], mount["RW"]) == ("volume", "data", True)
        with pytest.raises(Conflict, match="volume is in use"):
            kit.engine.volumes.remove("data")
        first.remove(force=True)
        kit.engine.volumes.remove("data")

    def test_a_folder_of_the_host_is_seen_both_ways(self, kit: Kit, tmp_path: Path) -> None:
        (tmp_path / "in").write_text("from outside")
        host = HostConfig(network_mode="host", binds=(f"{tmp_path}:/mnt",))
        assert kit.run("sh", "-c", "cat /mnt/in; echo back > /mnt/out", host=host).code == 0
        assert (tmp_path / "out").read_text() == "back\n"

    def test_an_anonymous_volume_goes_with_rm(self, kit: Kit) -> None:
        host = HostConfig(network_mode="host", auto_remove=True)
        assert kit.run("sh", "-c", "echo x > /data/y", volumes=("/data",), host=host).code == 0
        assert list(kit.engine.volumes.list()) == []
