"""The bridge for real: namespaces get addresses, ports are published, nothing is left behind."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lamina.errors import Conflict, LaminaError, NotFound, Unsupported
from lamina.networks.endpoint import Endpoint
from lamina.networks.namespaces import create_namespace, remove_namespace
from lamina.networks.netavark import find_netavark
from lamina.networks.ports import PortMapping
from lamina.networks.store import NetworkStore
from lamina.store.root import DataRoot

OWN_NAMESPACE = "/proc/self/ns/net"

SERVER = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"from the container")
    def log_message(self, *_): pass
server = http.server.HTTPServer(("0.0.0.0", 80), Answer)
print("listening", flush=True)
server.serve_forever()
"""


@pytest.fixture
def root(engine_root: Path) -> Iterator[DataRoot]:
    try:
        find_netavark()
    except LaminaError as error:
        pytest.fail(f"these tests need netavark: {error}")
    with DataRoot.open(engine_root / "root") as opened:
        yield opened


@pytest.fixture
def networks(root: DataRoot) -> Iterator[NetworkStore]:
    store = NetworkStore(root)
    yield store
    for name in os.listdir(root.containers):
        store.disconnect(name)


def container(root: DataRoot) -> str:
    """The id of a container whose folder exists."""
    identity = os.urandom(32).hex()
    (root.containers / identity).mkdir()
    return identity


def within(endpoint: Endpoint, *command: str) -> str:
    done = subprocess.run(
        ["nsenter", f"--net={endpoint.namespace}", *command], capture_output=True, check=True
    )
    return done.stdout.decode()


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[None]:
    """A web server on port 80 of the endpoint's namespace."""
    process = subprocess.Popen(
        ["nsenter", f"--net={endpoint.namespace}", sys.executable, "-c", SERVER],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        yield
    finally:
        process.kill()
        process.communicate()


def fetched(host: str, port: int) -> bytes:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read()
    finally:
        connection.close()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def nat_rules() -> str:
    return subprocess.run(["iptables-save", "-t", "nat"], capture_output=True).stdout.decode()


def test_a_container_gets_an_address_a_route_and_loopback(
    root: DataRoot, networks: NetworkStore
) -> None:
    endpoint = networks.connect(container(root))
    shown = within(endpoint, "ip", "-4", "-o", "address")
    assert f"{endpoint.address}/{endpoint.prefix}" in shown
    assert "127.0.0.1/8" in shown
    assert f"default via {endpoint.gateway}" in within(endpoint, "ip", "route")
    assert endpoint.mac in within(endpoint, "ip", "link", "show", "eth0")


def test_a_container_reaches_the_bridge(root: DataRoot, networks: NetworkStore) -> None:
    endpoint = networks.connect(container(root))
    with socket.create_server((endpoint.gateway, 0)) as server:
        port = str(server.getsockname()[1])
        program = f"import socket; socket.create_connection(('{endpoint.gateway}', {port}), 5)"
        within(endpoint, sys.executable, "-c", program)
        connection, peer = server.accept()
        connection.close()
    assert peer[0] == endpoint.address


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A namespace beyond a wire of the host's (198.51.100.1 here, .2 there) that knows no way back
    to containers."""
    holder = tmp_path / "outside"
    create_namespace(holder)

    def ip(*command: str, there: bool = False) -> None:
        prefix = ["nsenter", f"--net={holder}"] if there else []
        subprocess.run([*prefix, "ip", *command], check=True)

    process = subprocess.Popen(["nsenter", f"--net={holder}", "sleep", "1000"])
    try:
        ip("link", "add", "lmt-in", "type", "veth", "peer", "name", "lmt-out")
        wait_for(lambda: os.readlink(f"/proc/{process.pid}/ns/net") != os.readlink(OWN_NAMESPACE))
        ip("link", "set", "lmt-out", "netns", str(process.pid))
        ip("address", "add", "198.51.100.1/24", "dev", "lmt-in")
        ip("link", "set", "lmt-in", "up")
        ip("address", "add", "198.51.100.2/24", "dev", "lmt-out", there=True)
        ip("link", "set", "lmt-out", "up", there=True)
        yield holder
    finally:
        process.kill()
        process.wait()
        subprocess.run(["ip", "link", "delete", "lmt-in"], capture_output=True, check=False)
        remove_namespace(holder)


def test_a_container_reaches_the_outside_by_the_hosts_address(
    root: DataRoot, networks: NetworkStore, outside: Path
) -> None:
    endpoint = networks.connect(container(root))
    program = (
        "import socket; s = socket.create_server(('', 9000)); print('listening', flush=True);"
        "c, peer = s.accept(); c.sendall(peer[0].encode()); c.close()"
    )
    server = subprocess.Popen(
        ["nsenter", f"--net={outside}", sys.executable, "-c", program], stdout=subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"listening\n"
        ask = "import socket; print(socket.create_connection(('198.51.100.2', 9000), 5).recv(99))"
        assert within(endpoint, sys.executable, "-c", ask) == "b'198.51.100.1'\n"
    finally:
        server.kill()
        server.communicate()


def test_a_published_port_answers_from_the_outside(
    root: DataRoot, networks: NetworkStore, outside: Path
) -> None:
    endpoint = networks.connect(container(root), ports=[PortMapping(80)])
    url = f"http://198.51.100.1:{endpoint.ports[0].host_port}/"
    ask = f"import urllib.request; print(urllib.request.urlopen({url!r}, timeout=5).read())"
    with serving(endpoint):
        answer = subprocess.run(
            ["nsenter", f"--net={outside}", sys.executable, "-c", ask], capture_output=True
        )
    assert answer.stdout == b"b'from the container'\n", answer


def test_a_published_port_answers_on_loopback_and_on_the_hosts_address(
    root: DataRoot, networks: NetworkStore
) -> None:
    port = free_port()
    endpoint = networks.connect(container(root), ports=[PortMapping(80, host_port=port)])
    with serving(endpoint):
        assert fetched("127.0.0.1", port) == b"from the container"
        assert fetched(endpoint.gateway, port) == b"from the container"
        assert fetched(endpoint.address, 80) == b"from the container"


def test_a_port_on_loopback_only_is_not_open_elsewhere(
    root: DataRoot, networks: NetworkStore
) -> None:
    port = free_port()
    wanted = [PortMapping(80, host_ip="127.0.0.1", host_port=port)]
    endpoint = networks.connect(container(root), ports=wanted)
    with serving(endpoint):
        assert fetched("127.0.0.1", port) == b"from the container"
        with pytest.raises(OSError):
            fetched(endpoint.gateway, port)


def test_a_port_without_a_number_gets_a_free_one(root: DataRoot, networks: NetworkStore) -> None:
    endpoint = networks.connect(container(root), ports=[PortMapping(80)])
    assert endpoint.ports[0].host_port >= 32768
    with serving(endpoint):
        assert fetched("127.0.0.1", endpoint.ports[0].host_port) == b"from the container"


def test_a_taken_port_is_refused_and_nothing_is_left(
    root: DataRoot, networks: NetworkStore
) -> None:
    port = free_port()
    networks.connect(container(root), ports=[PortMapping(80, host_port=port)])
    second = container(root)
    with pytest.raises(Conflict, match="port is already allocated"):
        networks.connect(second, ports=[PortMapping(80, host_port=port)])
    assert networks.endpoint(second) is None
    with socket.create_server(("0.0.0.0", 0)) as server:
        taken = server.getsockname()[1]
        with pytest.raises(Conflict, match="address already in use"):
            networks.connect(second, ports=[PortMapping(80, host_port=taken)])
    assert networks.endpoint(second) is None


def test_an_address_that_the_host_lacks_is_refused(root: DataRoot, networks: NetworkStore) -> None:
    with pytest.raises(Conflict, match="bind: cannot assign requested address"):
        networks.connect(container(root), ports=[PortMapping(80, "tcp", "192.0.2.254", 8080)])
    with pytest.raises(Unsupported, match="network bridge has no IPv6"):
        networks.connect(container(root), ports=[PortMapping(80, "tcp", "::1", 8080)])


def test_datagrams_are_published_too(root: DataRoot, networks: NetworkStore) -> None:
    port = free_port()
    endpoint = networks.connect(container(root), ports=[PortMapping(53, "udp", "", port)])
    program = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 53));"
        "print('bound', flush=True); data, peer = s.recvfrom(99); s.sendto(data[::-1], peer)"
    )
    process = subprocess.Popen(
        ["nsenter", f"--net={endpoint.namespace}", sys.executable, "-c", program],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"bound\n"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.sendto(b"ping", ("127.0.0.1", port))
            assert client.recv(99) == b"gnip"
    finally:
        process.kill()
        process.communicate()


def test_what_was_begun_may_be_given_up(root: DataRoot, networks: NetworkStore) -> None:
    identity = container(root)
    endpoint = networks.begin_connect(identity, ports=[PortMapping(80)])
    networks.disconnect(identity)
    assert networks.endpoint(identity) is None
    assert not os.path.lexists(endpoint.namespace)
    assert networks.connect(container(root)).address == endpoint.address


def test_two_containers_see_each_other(root: DataRoot, networks: NetworkStore) -> None:
    first, second = networks.connect(container(root)), networks.connect(container(root))
    assert first.address != second.address
    program = (
        "import http.client; c = http.client.HTTPConnection('%s', timeout=5);"
        "c.request('GET', '/'); print(c.getresponse().read().decode())"
    )
    with serving(first):
        answer = within(second, sys.executable, "-c", program % first.address)
    assert answer == "from the container\n"


def test_disconnect_takes_everything_back_and_may_be_repeated(
    root: DataRoot, networks: NetworkStore
) -> None:
    identity = container(root)
    port = free_port()
    endpoint = networks.connect(identity, ports=[PortMapping(80, host_port=port)])
    assert f"--dport {port}" in nat_rules()
    networks.disconnect(identity)
    networks.disconnect(identity)
    assert networks.endpoint(identity) is None
    assert not os.path.lexists(endpoint.namespace)
    assert f"--dport {port}" not in nat_rules()
    assert networks.connect(container(root), address=endpoint.address).address == endpoint.address


def test_connecting_again_replaces_what_an_earlier_life_left(
    root: DataRoot, networks: NetworkStore
) -> None:
    identity = container(root)
    port = free_port()
    networks.connect(identity, ports=[PortMapping(80, host_port=port)])
    endpoint = networks.connect(identity, ports=[PortMapping(80, host_port=port)])
    with serving(endpoint):
        assert fetched("127.0.0.1", port) == b"from the container"


def test_an_endpoint_whose_container_is_gone_is_taken_down(
    root: DataRoot, networks: NetworkStore
) -> None:
    lost = container(root)
    port = free_port()
    endpoint = networks.connect(lost, ports=[PortMapping(80, host_port=port)])
    (root.containers / lost).rmdir()
    networks.connect(container(root))
    assert networks.endpoint(lost) is None
    assert not os.path.lexists(endpoint.namespace)
    assert f"--dport {port}" not in nat_rules()


def test_a_lost_namespace_does_not_keep_the_firewalls_rules(
    root: DataRoot, networks: NetworkStore
) -> None:
    identity = container(root)
    port = free_port()
    endpoint = networks.connect(identity, ports=[PortMapping(80, host_port=port)])
    subprocess.run(["umount", endpoint.namespace], check=True)
    networks.disconnect(identity)
    assert f"--dport {port}" not in nat_rules()
    assert not os.path.lexists(endpoint.namespace)


def test_a_flushed_firewall_does_not_hinder_the_end(root: DataRoot, networks: NetworkStore) -> None:
    identity = container(root)
    networks.connect(identity, ports=[PortMapping(80)])
    for command in ("-F", "-X"):
        subprocess.run(["iptables", "-t", "nat", command], check=True)
    networks.disconnect(identity)
    assert networks.endpoint(identity) is None


def test_ports_whose_rules_are_left_stay_taken_until_they_are_gone(
    root: DataRoot, networks: NetworkStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = container(root)
    port = free_port()
    networks.connect(identity, ports=[PortMapping(80, host_port=port)])
    with monkeypatch.context() as broken:
        broken.setattr("lamina.networks.netavark.find_netavark.__defaults__", ((str(root.path),),))
        networks.disconnect(identity)
    assert networks.endpoint(identity) is not None
    (root.containers / identity).rmdir()
    networks.connect(container(root))
    assert networks.endpoint(identity) is None
    assert f"--dport {port}" not in nat_rules()


def test_a_bridge_that_went_down_comes_back(root: DataRoot, networks: NetworkStore) -> None:
    networks.connect(container(root))
    subprocess.run(["ip", "link", "set", "lamina0", "down"], check=True)
    subprocess.run(["ip", "address", "flush", "dev", "lamina0"], check=True)
    port = free_port()
    endpoint = networks.connect(container(root), ports=[PortMapping(80, host_port=port)])
    with serving(endpoint):
        assert fetched("127.0.0.1", port) == b"from the container"


def test_many_at_once_get_addresses_of_their_own(root: DataRoot, networks: NetworkStore) -> None:
    found: list[Endpoint] = []
    failures: list[BaseException] = []

    def connect() -> None:
        try:
            found.append(networks.connect(container(root), ports=[PortMapping(80)]))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=connect) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len({endpoint.address for endpoint in found}) == 6
    assert len({endpoint.ports[0].host_port for endpoint in found}) == 6


def test_two_data_roots_share_the_bridge(
    root: DataRoot, networks: NetworkStore, engine_root: Path
) -> None:
    with DataRoot.open(engine_root / "other") as other:
        store = NetworkStore(other)
        theirs = store.connect(container(other))
        ours = networks.connect(container(root))
        assert ours.address != theirs.address
        assert [each.container for each in networks.endpoints()] == [ours.container]
        store.disconnect(theirs.container)


def test_networks_are_found_by_name_and_id(networks: NetworkStore) -> None:
    bridge = networks.get("bridge")
    assert networks.get(bridge.id[:12]) == bridge
    assert [(each.name, each.driver) for each in networks.list()] == [
        ("bridge", "bridge"),
        ("host", "host"),
        ("none", "null"),
    ]
    with pytest.raises(NotFound, match="network blue not found"):
        networks.get("blue")
