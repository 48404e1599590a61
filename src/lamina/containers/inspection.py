"""What `inspect` tells of a container: Docker's document, in Docker's order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.containers.host_config_document import host_config_document
from lamina.containers.planning import network_of

if TYPE_CHECKING:
    from lamina.containers.parts import Parts
    from lamina.containers.records import Record
    from lamina.containers.state import ContainerState
    from lamina.networks.store import Endpoint

_NEVER = "0001-01-01T00:00:00Z"


def inspection(parts: Parts, record: Record, state: ContainerState) -> dict[str, Any]:
    """The whole document of one container."""
    folder = parts.root.container_dir(record.id)
    config = record.config
    path, *args = config.command_line
    return {
        "Id": record.id,
        "Created": _moment(record.created_ns),
        "Path": path,
        "Args": args,
        "State": state_document(state),
        "Image": str(record.image_id),
        "ResolvConfPath": str(folder / "resolv.conf"),
        "HostnamePath": str(folder / "hostname"),
        "HostsPath": str(folder / "hosts"),
        "LogPath": "" if record.host_config.log_driver == "none" else str(parts.log(record.id)),
        "Name": f"/{record.name}",
        "RestartCount": 0,
        "Driver": record.driver,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": _exec_ids(parts, record, state),
        "HostConfig": host_config_document(record.host_config),
        "GraphDriver": {
            "Data": dict(parts.layers.metadata(record.id)) or None,
            "Name": record.driver,
        },
        "Mounts": mounts_document(parts, record),
        "Config": config.to_json(),
        "NetworkSettings": _network_settings(parts, record, state),
    }


def state_document(state: ContainerState) -> dict[str, Any]:
    """Docker's `State` object."""
    return {
        "Status": state.status,
        "Running": state.running,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": state.oom_killed,
        "Dead": False,
        "Pid": state.pid if state.running else 0,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": _moment(state.started_ns),
        "FinishedAt": _moment(state.finished_ns),
    }


def mounts_document(parts: Parts, record: Record) -> list[dict[str, Any]]:
    """Docker's `Mounts` list."""
    from lamina.volumes.specification import MountPoint

    found = []
    for document in record.mount_points:
        mount = MountPoint.from_json(document)
        entry: dict[str, Any] = {"Type": mount.type}
        if mount.name:
            entry["Name"] = mount.name
        entry["Source"] = mount.source or str(parts.root.volume_dir(mount.name) / "_data")
        entry["Destination"] = mount.destination
        if mount.name:
            entry["Driver"] = "local"
        entry |= {
            "Mode": mount.mode or ("" if mount.source else "z"),
            "RW": not mount.read_only,
            "Propagation": mount.propagation,
        }
        found.append(entry)
    return found


def _network_settings(parts: Parts, record: Record, state: ContainerState) -> dict[str, Any]:
    network = network_of(record.host_config, record.config)
    endpoint = parts.networks.endpoint(record.id) if state.running else None
    if network != "bridge":
        endpoint = None
    ports: dict[str, Any] = {}
    if endpoint is not None:
        ports = dict.fromkeys(record.config.exposed_ports)
        for port in endpoint.ports:
            if not ports.get(port.key):
                ports[port.key] = []
            ports[port.key].append(
                {"HostIp": port.host_ip or "0.0.0.0", "HostPort": str(port.host_port)}
            )
    place = _endpoint_document(parts, network, endpoint)
    return {
        "Bridge": "",
        "SandboxID": "",
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": ports,
        "SandboxKey": endpoint.namespace if endpoint else "",
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": place["EndpointID"],
        "Gateway": place["Gateway"],
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": place["IPAddress"],
        "IPPrefixLen": place["IPPrefixLen"],
        "IPv6Gateway": "",
        "MacAddress": place["MacAddress"],
        "Networks": {network: place},
    }


def _endpoint_document(parts: Parts, network: str, endpoint: Endpoint | None) -> dict[str, Any]:
    return {
        "IPAMConfig": None,
        "Links": None,
        "Aliases": None,
        "NetworkID": parts.networks.get(network).id,
        "EndpointID": endpoint.id if endpoint else "",
        "Gateway": endpoint.gateway if endpoint else "",
        "IPAddress": endpoint.address if endpoint else "",
        "IPPrefixLen": endpoint.prefix if endpoint else 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "MacAddress": endpoint.mac if endpoint else "",
        "DriverOpts": None,
    }


def _exec_ids(parts: Parts, record: Record, state: ContainerState) -> list[str] | None:
    import os

    if not state.running:
        return None
    try:
        return sorted(os.listdir(parts.run_folder(record.id) / "exec")) or None
    except FileNotFoundError:
        return None


def _moment(time_ns: int | None) -> str:
    from lamina.images.times import rfc3339

    return _NEVER if time_ns is None else rfc3339(time_ns)
