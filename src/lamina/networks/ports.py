"""Ports as `-p` and `--expose` write them, and as `ps` prints them. Pure.

-p 80            container port 80 on a free port of the host
-p 8080:80       host port 8080;  -p 127.0.0.1:8080:80, -p [::1]:8080:80  on one address only
-p 8000-8002:80-82/udp            ranges of equal length;  -p 8000-8010:80  the first free one
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lamina.errors import InvalidInput

_PROTOCOLS = ("tcp", "udp", "sctp")


@dataclass(frozen=True, slots=True, order=True)
class PortMapping:
    """One container port published on the host.

    `host_port` 0 stands for any free one; a `host_port_end` above it for any free one up to it.
    An empty `host_ip` means every address of the host.
    """

    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""
    host_port: int = 0
    host_port_end: int = 0

    @property
    def key(self) -> str:
        """`80/tcp`, as inspect names it."""
        return f"{self.container_port}/{self.protocol}"

    @classmethod
    def of_binding(cls, key: str, host_ip: str, host_port: str) -> PortMapping:
        """From an entry of Docker's PortBindings: "80/tcp", an address, "8080" or "8000-8010"."""
        number, _, protocol = key.partition("/")
        first, _, last = host_port.partition("-")
        return cls(int(number), protocol or "tcp", host_ip, int(first or 0), int(last or 0))

    @property
    def host_ports(self) -> str:
        """The host's half as Docker's PortBindings write it: "", "8080" or "8000-8010"."""
        if not self.host_port:
            return ""
        ranged = self.host_port_end > self.host_port
        return f"{self.host_port}-{self.host_port_end}" if ranged else str(self.host_port)


def parse_port(text: str) -> list[PortMapping]:
    """Every port that one `-p` value publishes."""
    spec, slash, protocol = text.rpartition("/")
    if not slash:
        spec, protocol = text, "tcp"
    host_ip, host, container = _split(spec)
    if host_ip:
        _check_address(host_ip)
    if not container:
        raise InvalidInput(f"no port specified: {text}<empty>")
    protocol = protocol.lower()
    if protocol not in _PROTOCOLS:
        raise InvalidInput(f"invalid proto: {protocol}")
    start, end = _range(container, "containerPort")
    if start == 0:
        raise InvalidInput(f"invalid containerPort: {container}")
    if not host:
        return [PortMapping(port, protocol, host_ip) for port in range(start, end + 1)]
    host_start, host_end = _range(host, "hostPort")
    if end - start != host_end - host_start:
        if end != start:
            raise InvalidInput(
                f"invalid ranges specified for container and host Ports: {container} and {host}"
            )
        return [PortMapping(start, protocol, host_ip, host_start, host_end)]
    shift = host_start - start
    return [PortMapping(port, protocol, host_ip, port + shift) for port in range(start, end + 1)]


def parse_exposed(text: str) -> list[str]:
    """Every `80/tcp` that one `--expose` value or EXPOSE argument names."""
    number, _, protocol = text.partition("/")
    protocol = (protocol or "tcp").lower()
    if protocol not in _PROTOCOLS:
        raise InvalidInput(f"invalid proto: {protocol}")
    start, end = _range(number, "containerPort")
    return [f"{port}/{protocol}" for port in range(start, end + 1)]


def display_ports(published: Iterable[PortMapping], exposed: Iterable[str] = ()) -> str:
    """The PORTS column: `0.0.0.0:8080->80/tcp, 443/tcp`; runs of neighbours are joined."""
    groups: list[list[PortMapping]] = []
    order = sorted(published, key=lambda p: (p.protocol, p.host_ip, p.container_port, p.host_port))
    for port in order:
        last = groups[-1][-1] if groups else None
        if (
            last is not None
            and last.protocol == port.protocol
            and last.host_ip == port.host_ip
            and last.container_port + 1 == port.container_port
            and last.host_port + 1 == port.host_port
        ):
            groups[-1].append(port)
        else:
            groups.append([port])
    lines = []
    for group in groups:
        first, last = group[0], group[-1]
        inside, outside = str(first.container_port), str(first.host_port)
        if last is not first:
            inside += f"-{last.container_port}"
            outside += f"-{last.host_port}"
        address = first.host_ip or "0.0.0.0"
        if ":" in address:
            address = f"[{address}]"
        lines.append((first.container_port, f"{address}:{outside}->{inside}/{first.protocol}"))
    taken = {port.key for port in order}
    lines += [_exposed_line(run) for run in _runs(sorted(set(exposed) - taken, key=_port_order))]
    return ", ".join(text for _, text in sorted(lines))


def _runs(keys: Sequence[str]) -> list[list[tuple[int, str]]]:
    runs: list[list[tuple[int, str]]] = []
    for key in keys:
        number, protocol = key.split("/")
        item = (int(number), protocol)
        if runs and runs[-1][-1] == (item[0] - 1, protocol):
            runs[-1].append(item)
        else:
            runs.append([item])
    return runs


def _exposed_line(run: list[tuple[int, str]]) -> tuple[int, str]:
    first, last = run[0][0], run[-1][0]
    return first, f"{first}/{run[0][1]}" if first == last else f"{first}-{last}/{run[0][1]}"


def _port_order(key: str) -> tuple[str, int]:
    number, protocol = key.split("/")
    return protocol, int(number)


def _split(spec: str) -> tuple[str, str, str]:
    """(address, host ports, container ports); an IPv6 address stands in brackets."""
    if spec.startswith("["):
        address, bracket, rest = spec[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            raise InvalidInput(f"invalid IP address: {spec}")
        host, _, container = rest[1:].rpartition(":")
        return address, host, container
    parts = spec.split(":")
    if len(parts) == 1:
        return "", "", parts[0]
    if len(parts) == 2:
        return "", parts[0], parts[1]
    return ":".join(parts[:-2]), parts[-2], parts[-1]


def _check_address(text: str) -> None:
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
            return
        except OSError:
            continue
    raise InvalidInput(f"invalid IP address: {text}")


def _range(text: str, what: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = (first, last) if dash else (first, first)
    if not all(n.isascii() and n.isdecimal() and int(n) <= 65535 for n in numbers):
        raise InvalidInput(f"invalid {what}: {text}")
    start, end = int(numbers[0]), int(numbers[1])
    if end < start:
        raise InvalidInput(f"invalid {what}: {text}")
    return start, end
