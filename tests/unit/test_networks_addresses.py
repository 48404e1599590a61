"""The choice of subnets, addresses and host ports."""

from __future__ import annotations

import pytest

from lamina.errors import Conflict, Unsupported
from lamina.networks.addresses import (
    Subnet,
    candidates,
    choose_address,
    choose_ports,
    choose_subnet,
    mac_of,
    routed_subnets,
)
from lamina.networks.ports import PortMapping

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""


def free(port: PortMapping) -> str:
    return ""


def taken(port: PortMapping) -> str:
    return "address already in use"


def test_routes_are_read_without_the_default_one() -> None:
    assert [(name, str(subnet)) for name, subnet in routed_subnets(ROUTES)] == [
        ("eth0", "192.0.2.0/24"),
        ("docker0", "172.17.0.0/16"),
    ]


def test_the_subnet_keeps_clear_of_what_the_host_routes() -> None:
    routed = [subnet for _, subnet in routed_subnets(ROUTES)]
    assert str(choose_subnet(routed)) == "172.18.0.0/16"
    assert str(choose_subnet([])) == "172.17.0.0/16"


def test_a_wide_route_moves_the_bridge_to_192_168() -> None:
    assert str(choose_subnet([Subnet.parse("172.16.0.0/12")])) == "192.168.0.0/20"


def test_no_free_subnet_is_told_with_its_remedy() -> None:
    with pytest.raises(Unsupported, match="--network host"):
        choose_subnet(list(candidates()))


def test_addresses_are_the_lowest_free_ones() -> None:
    subnet = Subnet.parse("172.17.0.0/16")
    assert subnet.gateway == "172.17.0.1"
    assert choose_address(subnet, []) == "172.17.0.2"
    assert choose_address(subnet, ["172.17.0.2", "172.17.0.4"]) == "172.17.0.3"


def test_a_full_subnet_is_a_conflict() -> None:
    subnet = Subnet.parse("192.168.0.0/30")
    assert choose_address(subnet, []) == "192.168.0.2"
    with pytest.raises(Conflict, match="no available addresses"):
        choose_address(subnet, ["192.168.0.2"])


def test_the_hardware_address_follows_from_the_address() -> None:
    assert mac_of("172.17.0.2") == "02:42:ac:11:00:02"


def test_a_port_of_another_container_is_refused() -> None:
    wanted = [PortMapping(80, host_port=8080)]
    with pytest.raises(Conflict, match=r"Bind for 0\.0\.0\.0:8080 failed: port is already alloc"):
        choose_ports(wanted, [PortMapping(9, host_port=8080)], free)


def test_a_port_on_which_a_process_listens_is_refused() -> None:
    with pytest.raises(Conflict, match="address already in use"):
        choose_ports([PortMapping(80, host_port=8080)], [], taken)


def test_one_port_on_two_addresses_or_protocols_is_no_clash() -> None:
    wanted = [
        PortMapping(80, "tcp", "127.0.0.1", 8080),
        PortMapping(80, "tcp", "127.0.0.2", 8080),
        PortMapping(80, "udp", "127.0.0.1", 8080),
    ]
    assert len(choose_ports(wanted, [], free)) == 3


def test_a_range_gives_its_first_free_port() -> None:
    others = [PortMapping(1, host_port=8000)]
    wanted = [PortMapping(80, host_port=8000, host_port_end=8002)]
    (port,) = choose_ports(wanted, others, free)
    assert port == PortMapping(80, host_port=8001)
    with pytest.raises(Conflict, match="all ports are allocated"):
        choose_ports(wanted, others, taken)


def test_a_random_port_does_not_take_one_that_is_named() -> None:
    wanted = [PortMapping(80), PortMapping(81, host_port=40000)]
    seen = choose_ports(
        wanted, [], lambda port: "" if port.host_port in (40000, 40001) else "taken"
    )
    assert {port.host_port for port in seen} == {40000, 40001}
    assert next(port for port in seen if port.container_port == 81).host_port == 40000
