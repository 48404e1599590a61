"""Networks through the command: what containers see of them, and what is published."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from commandkit import LAMINA, TIMEOUT_S, Lamina, until


def test_the_default_network_is_a_bridge_with_an_address(lamina: Lamina) -> None:
    lamina.ok("run", "-d", "--name", "one", "-h", "box", "busybox", "sleep", "1000")
    (found,) = json.loads(lamina.ok("inspect", "one"))
    address = found["NetworkSettings"]["IPAddress"]
    assert f"{address}/" in lamina.ok("exec", "one", "ip", "-4", "addr", "show", "eth0")
    assert f"{address}\tbox\n" in lamina.ok("exec", "one", "cat", "/etc/hosts")
    assert "nameserver " in lamina.ok("exec", "one", "cat", "/etc/resolv.conf")
    bridge = found["NetworkSettings"]["Networks"]["bridge"]
    assert bridge["IPAddress"] == address
    (network,) = json.loads(lamina.ok("network", "inspect", "bridge"))
    assert network["Containers"][found["Id"]]["Name"] == "one"
    assert network["IPAM"]["Config"][0]["Gateway"] == bridge["Gateway"]


def test_a_published_port_answers_and_is_shown(lamina: Lamina) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = "mkdir /www && echo hello > /www/index.html && httpd -f -p 80 -h /www"
    lamina.ok("run", "-d", "--name", "one", "-p", f"{port}:80", "busybox", "sh", "-c", script)

    def answer() -> bytes:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/index.html")
            return connection.getresponse().read()
        except OSError:
            return b""

    until(lambda: answer() == b"hello\n", "the server answers")
    assert lamina.ok("ps", "--format", "{{.Ports}}") == f"0.0.0.0:{port}->80/tcp\n"
    done = lamina("run", "--rm", "-p", f"{port}:80", "busybox", "true")
    assert done.returncode == 125
    assert "port is already allocated" in done.stderr
    lamina.ok("rm", "-f", "one")
    assert answer() == b""


def test_no_network_is_loopback_alone(lamina: Lamina) -> None:
    script = "cat /proc/net/dev | tail -n +3"
    out = lamina.ok("run", "--rm", "--network", "none", "busybox", "sh", "-c", script)
    assert [line.split(":")[0].strip() for line in out.splitlines()] == ["lo"]


def test_the_hosts_network_is_the_hosts(lamina: Lamina) -> None:
    out = lamina.ok("run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net")
    assert out.strip() == os.readlink("/proc/self/ns/net")


def test_an_address_is_freed_when_its_container_ends(lamina: Lamina) -> None:
    script = "ip -4 -o addr show eth0 | awk '{print $4}'"
    seen = {lamina.ok("run", "--rm", "busybox", "sh", "-c", script) for _ in range(3)}
    assert len(seen) == 1


def test_ports_published_on_the_hosts_network_are_warned_of(lamina: Lamina) -> None:
    done = lamina("run", "--rm", "--network", "host", "-p", "80:80", "busybox", "true")
    assert done.returncode == 0
    warning = "Published ports are discarded when using host network mode"
    assert done.stderr == f"WARNING: {warning}\n"


def test_dns_and_hosts_as_asked(lamina: Lamina) -> None:
    out = lamina.ok(
        "run", "--rm", "--dns", "192.0.2.1", "--dns-search", "a.test", "--add-host", "db:192.0.2.9",
        "busybox", "cat", "/etc/resolv.conf", "/etc/hosts",
    )  # fmt: skip
    assert out.startswith("nameserver 192.0.2.1\nsearch a.test\n")
    assert "\n192.0.2.9\tdb\n" in out


def test_network_ls_lists_three(lamina: Lamina) -> None:
    lines = [line.split() for line in lamina.ok("network", "ls").splitlines()]
    assert lines[0] == ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]
    assert [line[1:] for line in lines[1:]] == [
        ["bridge", "bridge", "local"],
        ["host", "host", "local"],
        ["none", "null", "local"],
    ]


@pytest.mark.parametrize(
    ("hide", "words"),
    [
        (
            "mount -t tmpfs none /usr/lib/podman",
            (
                "Error: network bridge needs netavark, which is not installed: install the package "
                "netavark, or use --network host or --network none\n"
            ),
        ),
        (
            (
                "mount -t overlay -o lowerdir=/usr/sbin,upperdir=$1/up,workdir=$1/work none "
                "/usr/sbin && rm /usr/sbin/iptables /usr/sbin/ip6tables"
            ),
            (
                "Error: no usable firewall for network bridge: netavark setup: No such file or "
                "directory (os error 2): install iptables with its kernel modules, or use "
                "--network host or none\n"
            ),
        ),
    ],
    ids=["netavark", "iptables"],
)
def test_what_the_bridge_needs_is_named_where_it_is_missing(
    lamina: Lamina, hide: str, words: str
) -> None:
    scratch = Path(tempfile.mkdtemp(dir=lamina.root.parent))
    for name in ("up", "work"):
        (scratch / name).mkdir()
    script = f'{hide} || exit 99; shift; exec "$0" "$@"'
    try:
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, LAMINA, scratch, "run", "busybox", "true"],
            capture_output=True,
            env=lamina.environment,
            timeout=TIMEOUT_S,
            check=False,
        )
    finally:
        shutil.rmtree(scratch)
    assert (done.returncode, done.stderr.decode(), done.stdout) == (125, words, b"")
    assert lamina.ok("ps", "-a", "--format", "{{.Status}}") == "Created\n"


def test_a_client_that_is_killed_leaves_the_container_to_itself(lamina: Lamina) -> None:
    script = "echo ready; while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 4"
    args = ("run", "--name", "one", "--network", "none", "busybox", "sh", "-c", script)
    process = lamina.begin(*args, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert lamina.ok("ps", "--format", "{{.Names}}") == "one\n"
    lamina.ok("exec", "one", "touch", "/tmp/go")
    assert lamina.ok("wait", "one") == "4\n"


def test_output_that_nobody_reads_ends_the_command_quietly(lamina: Lamina) -> None:
    script = 'exec "$0" run --rm --network none busybox sh -c "yes | head -c 1000000" | head -n 1'
    done = subprocess.run(
        ["sh", "-c", script, LAMINA], capture_output=True, env=lamina.environment, timeout=TIMEOUT_S
    )
    assert (done.stdout, done.stderr) == (b"y\n", b"")
    until(lambda: lamina.ok("ps", "-aq") == "", "the container has ended and is removed")


def test_a_terminal_without_input_is_allowed(lamina: Lamina) -> None:
    assert lamina.ok("run", "--rm", "-t", "--network", "none", "busybox", "echo", "hi") == "hi\r\n"


def test_running_out_of_memory_is_told_and_leaves_no_file_with_the_caller(
    lamina: Lamina, tmp_path: Path
) -> None:
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        done = lamina(
            "run", "--name", "one", "-m", "32m", "--network", "none", "busybox",
            "sh", "-c", "head -c 90000000 /dev/zero | tail",
        )  # fmt: skip
    finally:
        os.chdir(here)
    assert done.returncode != 0
    assert lamina.ok("inspect", "-f", "{{.State.OOMKilled}}", "one") == "true\n"
    assert os.listdir(tmp_path) == []
