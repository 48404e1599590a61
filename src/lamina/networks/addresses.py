"""Which subnet the bridge takes, and which address and ports a container gets. Pure.

Subnets are tried in Docker's order: 172.17.0.0/16 … 172.31.0.0/16, then 192.168.0.0/20 onwards.
Subnets and addresses are (network, prefix length) and plain integers: `ipaddress` costs an import.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from lamina.errors import Conflict, Unsupported
from lamina.networks.ports import PortMapping

_ANY = ("", "0.0.0.0", "::")
_EPHEMERAL = (32768, 60999)


@dataclass(frozen=True, slots=True)
class Subnet:
    """An IPv4 network; its first address is the gateway."""

    network: int
    prefix: int

    @property
    def size(self) -> int:
        """How many addresses it spans."""
        return 1 << (32 - self.prefix)

    @property
    def gateway(self) -> str:
        """The bridge's own address."""
        return dotted(self.network + 1)

    @property
    def netmask(self) -> str:
        """`255.255.0.0` of a /16."""
        return dotted((1 << 32) - self.size)

    def overlaps(self, other: Subnet) -> bool:
        """Whether any address lies in both."""
        mask = ~((1 << (32 - min(self.prefix, other.prefix))) - 1)
        return self.network & mask == other.network & mask

    def __str__(self) -> str:
        return f"{dotted(self.network)}/{self.prefix}"

    @classmethod
    def parse(cls, text: str) -> Subnet:
        """From `172.17.0.0/16`."""
        address, _, prefix = text.partition("/")
        return cls(number(address), int(prefix))


def dotted(value: int) -> str:
    """`172.17.0.2` of its number."""
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


def number(text: str) -> int:
    """The number of `172.17.0.2`."""
    value = 0
    for part in text.split("."):
        value = value << 8 | int(part)
    return value


def candidates() -> Iterable[Subnet]:
    """Every subnet the bridge may take, in the order of preference."""
    for second in range(17, 32):
        yield Subnet(number(f"172.{second}.0.0"), 16)
    for third in range(0, 256, 16):
        yield Subnet(number(f"192.168.{third}.0"), 20)


def routed_subnets(proc_net_route: str) -> list[tuple[str, Subnet]]:
    """(interface, subnet) of every route of `/proc/net/route` but the default one."""
    found = []
    for line in proc_net_route.splitlines()[1:]:
        words = line.split()
        if len(words) < 8:
            continue
        network, mask = (_host_order(words[at]) for at in (1, 7))
        if mask:
            found.append((words[0], Subnet(network, mask.bit_count())))
    return found


def choose_subnet(taken: Collection[Subnet]) -> Subnet:
    """The first candidate that overlaps nothing which the host reaches otherwise."""
    for subnet in candidates():
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    raise Unsupported(
        "no free address range for network bridge: the host routes all of 172.17-31 and 192.168",
        remedy="use --network host, or remove a route of this host",
    )


def choose_address(subnet: Subnet, taken: Collection[str]) -> str:
    """The lowest free address of the subnet."""
    used = frozenset(taken)
    for value in range(subnet.network + 2, subnet.network + subnet.size - 1):
        if (text := dotted(value)) not in used:
            return text
    raise Conflict(
        f"no available addresses on network bridge ({subnet})", remedy="remove a container"
    )


def mac_of(address: str) -> str:
    """The hardware address that Docker derives from an IPv4 address."""
    return "02:42:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def choose_ports(
    wanted: Sequence[PortMapping],
    taken: Collection[PortMapping],
    obstacle: Callable[[PortMapping], str],
) -> tuple[PortMapping, ...]:
    """The wanted ports with each host port settled.

    `taken` are those of other containers; `obstacle` asks the host what keeps a port from being
    bound (a process that listens there, say); "" means that it is free.
    """
    settled: list[PortMapping] = []

    def clash(port: PortMapping) -> bool:
        return any(_clash(port, other) for other in (*taken, *settled))

    for want in sorted(wanted, key=lambda p: not p.host_port or p.host_port_end > p.host_port):
        if want.host_port and want.host_port_end <= want.host_port:
            port = replace(want, host_port_end=0)
            if clash(port):
                raise Conflict(f"Bind for {_where(port)} failed: port is already allocated")
            if reason := obstacle(port):
                raise Conflict(f"listen {port.protocol}4 {_where(port)}: bind: {reason}")
            settled.append(port)
            continue
        for host_port in _choices(want):
            port = replace(want, host_port=host_port, host_port_end=0)
            if not clash(port) and not obstacle(port):
                settled.append(port)
                break
        else:
            raise Conflict(f"Bind for {_where(want)} failed: all ports are allocated")
    return tuple(sorted(settled, key=lambda p: (p.container_port, p.protocol, p.host_ip)))


def _choices(want: PortMapping) -> Iterable[int]:
    if want.host_port:
        yield from range(want.host_port, want.host_port_end + 1)
        return
    first, last = _EPHEMERAL
    start = random.randint(first, last)
    yield from range(start, last + 1)
    yield from range(first, start)


def _clash(one: PortMapping, other: PortMapping) -> bool:
    return (
        one.host_port == other.host_port
        and one.protocol == other.protocol
        and (one.host_ip == other.host_ip or one.host_ip in _ANY or other.host_ip in _ANY)
    )


def _where(port: PortMapping) -> str:
    address = port.host_ip or "0.0.0.0"
    end = f"-{port.host_port_end}" if port.host_port_end else ""
    return f"{f'[{address}]' if ':' in address else address}:{port.host_port}{end}"


def _host_order(text: str) -> int:
    return int.from_bytes(bytes.fromhex(text), "little")
