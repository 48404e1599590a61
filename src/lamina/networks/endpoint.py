"""What a network is, and a container's place on one."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from lamina.networks.ports import PortMapping


@dataclass(frozen=True, slots=True)
class Network:
    """A network that containers can join."""

    name: str
    driver: str
    subnet: str = ""
    gateway: str = ""

    @property
    def id(self) -> str:
        """64 digits, always the same for a name: these networks are the machine's own."""
        return sha256(f"lamina network {self.name}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A container's place on a network."""

    container: str
    network: str
    namespace: str
    interface: str
    address: str
    prefix: int
    gateway: str
    mac: str
    ports: tuple[PortMapping, ...]

    @property
    def id(self) -> str:
        """64 digits that name this endpoint."""
        return sha256(f"{self.network} {self.container}".encode()).hexdigest()

    @property
    def network_id(self) -> str:
        """The id of its network."""
        return Network(self.network, "bridge").id

    @property
    def subnet(self) -> str:
        """The network that its address is of, as `172.17.0.0/16`."""
        from lamina.networks.addresses import Subnet, number

        mask = (1 << 32) - (1 << (32 - self.prefix))
        return str(Subnet(number(self.address) & mask, self.prefix))


NETWORKS = (Network("bridge", "bridge"), Network("host", "host"), Network("none", "null"))
