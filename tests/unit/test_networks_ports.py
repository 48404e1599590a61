"""What `-p` and `--expose` mean, and how published ports are shown."""

from __future__ import annotations

import pytest

from lamina.errors import InvalidInput
from lamina.networks.ports import PortMapping, display_ports, parse_exposed, parse_port


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [PortMapping(80)]),
        ("8080:80", [PortMapping(80, host_port=8080)]),
        ("8080:80/udp", [PortMapping(80, "udp", host_port=8080)]),
        ("80/TCP", [PortMapping(80)]),
        ("127.0.0.1:8080:80", [PortMapping(80, "tcp", "127.0.0.1", 8080)]),
        ("127.0.0.1::80", [PortMapping(80, "tcp", "127.0.0.1")]),
        ("[::1]:8080:80", [PortMapping(80, "tcp", "::1", 8080)]),
        ("0:80", [PortMapping(80)]),
        (
            "8000-8001:80-81",
            [PortMapping(80, host_port=8000), PortMapping(81, host_port=8001)],
        ),
        ("80-81", [PortMapping(80), PortMapping(81)]),
        ("8000-8010:80", [PortMapping(80, host_port=8000, host_port_end=8010)]),
    ],
)
def test_accepts_what_docker_accepts(text: str, expected: list[PortMapping]) -> None:
    assert parse_port(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no port specified: <empty>"),
        ("8080:", "no port specified: 8080:<empty>"),
        ("abc", "invalid containerPort: abc"),
        ("80:abc", "invalid containerPort: abc"),
        ("abc:80", "invalid hostPort: abc"),
        ("70000:80", "invalid hostPort: 70000"),
        ("8080:70000", "invalid containerPort: 70000"),
        ("8080:0", "invalid containerPort: 0"),
        ("80/foo", "invalid proto: foo"),
        ("81-80", "invalid containerPort: 81-80"),
        ("1.2.3:80:80", "invalid IP address: 1.2.3"),
        ("host:80:80", "invalid IP address: host"),
        ("[::1:80:80", "invalid IP address: [::1:80:80"),
        (
            "80-90:100-101",
            "invalid ranges specified for container and host Ports: 100-101 and 80-90",
        ),
        ("²:80", "invalid hostPort: ²"),
    ],
)
def test_refuses_a_bad_port_by_name(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_port(text)
    assert str(caught.value) == problem


def test_a_binding_survives_dockers_form() -> None:
    for text in ("80", "8080:80", "127.0.0.1:8000-8010:80/udp"):
        (port,) = parse_port(text)
        assert PortMapping.of_binding(port.key, port.host_ip, port.host_ports) == port


def test_an_exposed_range_names_each_port() -> None:
    assert parse_exposed("80-82/udp") == ["80/udp", "81/udp", "82/udp"]
    with pytest.raises(InvalidInput, match="invalid containerPort: x"):
        parse_exposed("x")


def test_ports_are_shown_as_docker_shows_them() -> None:
    published = [
        PortMapping(81, host_port=8081),
        PortMapping(80, host_port=8080),
        PortMapping(53, "udp", "127.0.0.1", 5353),
        PortMapping(443, host_ip="::1", host_port=443),
    ]
    shown = display_ports(published, ["80/tcp", "9000/tcp", "9001/tcp", "9002/udp"])
    assert shown == (
        "127.0.0.1:5353->53/udp, 0.0.0.0:8080-8081->80-81/tcp, [::1]:443->443/tcp, "
        "9000-9001/tcp, 9002/udp"
    )


def test_no_ports_are_shown_as_nothing() -> None:
    assert display_ports([]) == ""
