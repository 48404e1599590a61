"""Laws of what `-p` and `-v` say, and of the choice of addresses and ports."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import Conflict, InvalidInput
from lamina.networks.addresses import Subnet, choose_address, choose_ports, dotted, number
from lamina.networks.files import resolv_conf
from lamina.networks.ports import PortMapping, display_ports, parse_port
from lamina.volumes.specification import MountPoint, parse_volume

ports = st.builds(
    PortMapping,
    st.integers(1, 65535),
    st.sampled_from(["tcp", "udp"]),
    st.sampled_from(["", "0.0.0.0", "127.0.0.1", "127.0.0.2"]),
    st.integers(0, 65535),
)


@given(st.text(alphabet="0123456789:-/[].tcpudab", max_size=20))
def test_any_text_is_ports_or_a_refusal(text: str) -> None:
    try:
        found = parse_port(text)
    except InvalidInput:
        return
    assert found
    for port in found:
        assert 0 < port.container_port <= 65535
        assert PortMapping.of_binding(port.key, port.host_ip, port.host_ports) == port


@given(st.text(alphabet="ab/.:,rowzZ_- ", max_size=20))
def test_any_text_is_a_mount_or_a_refusal(text: str) -> None:
    try:
        mount = parse_volume(text)
    except InvalidInput:
        return
    assert mount.destination.startswith("/")
    assert mount.destination != "/"
    assert "/../" not in f"{mount.destination}/"
    assert MountPoint.from_json(mount.to_json()) == mount
    assert bool(mount.source) + bool(mount.name) + mount.anonymous == 1


@given(st.lists(ports, max_size=8))
def test_settled_ports_never_clash(wanted: list[PortMapping]) -> None:
    try:
        settled = choose_ports(wanted, [], lambda port: "")
    except Conflict:
        return
    assert sorted(port.key for port in settled) == sorted(port.key for port in wanted)
    seen: dict[tuple[str, int], list[str]] = {}
    for port in settled:
        assert port.host_port
        seen.setdefault((port.protocol, port.host_port), []).append(port.host_ip)
    for addresses in seen.values():
        assert len(addresses) == len(set(addresses))
        assert len(addresses) == 1 or not {"", "0.0.0.0"} & set(addresses)


@given(st.lists(ports, max_size=8))
def test_every_published_port_is_shown(published: list[PortMapping]) -> None:
    shown = display_ports(published)
    assert (shown == "") == (not published)


@given(st.integers(0, (1 << 32) - 1))
def test_an_address_survives_its_text(value: int) -> None:
    assert number(dotted(value)) == value


@given(st.integers(16, 29), st.sets(st.integers(0, 300)))
def test_a_chosen_address_is_free_and_of_its_subnet(prefix: int, used: set[int]) -> None:
    subnet = Subnet.parse(f"172.17.0.0/{prefix}")
    taken = {dotted(subnet.network + offset) for offset in used}
    try:
        address = choose_address(subnet, taken)
    except Conflict:
        assert len(taken) >= subnet.size - 3
        return
    assert address not in {*taken, subnet.gateway}
    assert subnet.overlaps(Subnet(number(address), 32))
    assert number(address) != subnet.network + subnet.size - 1


@given(st.text(alphabet="nameserver 0123456789.:#\n", max_size=80))
def test_a_container_always_has_a_resolver_that_it_can_reach(host: str) -> None:
    lines = resolv_conf(host, isolated=True).splitlines()
    servers = [line.split()[1] for line in lines if line.startswith("nameserver ")]
    assert servers
    assert not any(server.startswith("127.") for server in servers)
