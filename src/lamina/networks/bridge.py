"""The bridge itself: what netavark is told of it, and what this host is asked about it."""

from __future__ import annotations

import socket
import struct
from fcntl import ioctl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamina.networks.addresses import Subnet
    from lamina.networks.endpoint import Endpoint
    from lamina.networks.ports import PortMapping

BRIDGE_INTERFACE = "lamina0"


def document(endpoint: Endpoint, name: str) -> dict[str, Any]:
    """What netavark is told of an endpoint, at its set-up and at its tear-down."""
    return {
        "container_id": endpoint.container,
        "container_name": name or endpoint.container[:12],
        "port_mappings": [
            {
                "container_port": port.container_port,
                "host_ip": "" if port.host_ip == "0.0.0.0" else port.host_ip,
                "host_port": port.host_port,
                "protocol": port.protocol,
                "range": 1,
            }
            for port in endpoint.ports
        ],
        "networks": {
            endpoint.network: {
                "static_ips": [endpoint.address],
                "interface_name": endpoint.interface,
                "static_mac": endpoint.mac,
            }
        },
        "network_info": {
            endpoint.network: {
                "name": endpoint.network,
                "id": endpoint.network_id,
                "driver": "bridge",
                "network_interface": BRIDGE_INTERFACE,
                "subnets": [{"subnet": endpoint.subnet, "gateway": endpoint.gateway}],
                "ipv6_enabled": False,
                "internal": False,
                "dns_enabled": False,
                "ipam_options": {"driver": "host-local"},
                "options": {},
            }
        },
    }


def obstacle(port: PortMapping) -> str:
    """What keeps this host from listening there: the firewall's rule would hide who does now."""
    kind = socket.SOCK_DGRAM if port.protocol == "udp" else socket.SOCK_STREAM
    try:
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind((port.host_ip, port.host_port))
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def revive_bridge(subnet: Subnet) -> None:
    """Gives a bridge that someone took down, or stripped of its address, both back."""
    get_flags, set_flags, get_address, set_address, set_mask = (
        0x8913,  # SIOCGIFFLAGS
        0x8914,  # SIOCSIFFLAGS
        0x8915,  # SIOCGIFADDR
        0x8916,  # SIOCSIFADDR
        0x891C,  # SIOCSIFNETMASK
    )
    name = BRIDGE_INTERFACE.encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:

        def address(text: str) -> bytes:
            return struct.pack("16sHH4s16x", name, socket.AF_INET, 0, socket.inet_aton(text))

        try:
            ioctl(handle, get_address, struct.pack("16s24x", name))
        except OSError:
            ioctl(handle, set_address, address(subnet.gateway))
            ioctl(handle, set_mask, address(subnet.netmask))
        answer = ioctl(handle, get_flags, struct.pack("16s24x", name))
        flags: int = struct.unpack("16sH22x", answer)[1]
        if not flags & 1:  # IFF_UP
            ioctl(handle, set_flags, struct.pack("16sH22x", name, flags | 1))
