"""The networks of this machine, and the endpoints of its containers on `bridge`.

Everything here ends with a reboot, as namespaces and firewall rules do, so it lives under the run
folder and not in the data root; the bridge is one, `lamina0`, for all data roots of a machine:

    /run/lamina/networks/
      lock                      flock: held by whoever reads, then sets up or tears down
      bridge.json               the bridge's subnet, chosen when the first container needs it
      endpoints/<container>.json   written before the set-up, removed after the tear-down
      namespaces/<container>    the container's network namespace, held by a bind mount
      netavark/                 netavark's own

An endpoint's file is there whenever anything of it may be: whoever finds one whose container is
gone (its folder in its data root does not exist) takes it down. A crash leaves nothing for good.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.errors import Conflict, InvalidInput, LaminaError, NotFound, Unsupported

if TYPE_CHECKING:
    from lamina.networks.addresses import Subnet
    from lamina.networks.endpoint import Endpoint as Endpoint
    from lamina.networks.endpoint import Network as Network
    from lamina.networks.netavark import Call
    from lamina.networks.ports import PortMapping
    from lamina.store.root import DataRoot

_SYSTEMD_RESOLVERS = Path("/run/systemd/resolve/resolv.conf")


class NetworkStore:
    """The networks, as containers of one data root use them."""

    def __init__(self, root: DataRoot) -> None:
        self._root = root
        self._run = Path(root.run).parent / "networks"
        self._joining: dict[str, tuple[Call, contextlib.ExitStack]] = {}

    def list(self) -> Sequence[Network]:
        """Every network, by name."""
        from lamina.networks.endpoint import NETWORKS

        return [self._described(network) for network in NETWORKS]

    def get(self, reference: str) -> Network:
        """The network of this name, id or unambiguous start of an id."""
        from lamina.networks.endpoint import NETWORKS

        for network in NETWORKS:
            if network.name == reference:
                return self._described(network)
        found = [network for network in NETWORKS if reference and network.id.startswith(reference)]
        if len(found) == 1:
            return self._described(found[0])
        if found:
            raise Conflict(f"network {reference} is ambiguous ({len(found)} matches found on name)")
        raise NotFound(f"network {reference} not found")

    def connect(
        self,
        container: str,
        *,
        name: str = "",
        ports: Sequence[PortMapping] = (),
        address: str = "",
        mac: str = "",
        network: str = "bridge",
        kept_by: Path | None = None,
    ) -> Endpoint:
        """`begin_connect` and `finish_connect` in one."""
        endpoint = self.begin_connect(
            container,
            name=name,
            ports=ports,
            address=address,
            mac=mac,
            network=network,
            kept_by=kept_by,
        )
        self.finish_connect(container)
        return endpoint

    def begin_connect(
        self,
        container: str,
        *,
        name: str = "",
        ports: Sequence[PortMapping] = (),
        address: str = "",
        mac: str = "",
        network: str = "bridge",
        kept_by: Path | None = None,
    ) -> Endpoint:
        """Makes the container's namespace and begins to join it to the bridge.

        The namespace may be entered at once; `finish_connect` waits until it is joined and the
        ports are published. `disconnect` may be called at any time.
        The endpoint lives as long as the folder `kept_by`: the container's own, unless it is of
        something else (a build), which is then gone with that.
        Whatever an earlier life of the container left is taken down first. On failure nothing
        of it is left.
        """
        from lamina.networks.addresses import choose_address, choose_ports, mac_of
        from lamina.networks.bridge import document, obstacle
        from lamina.networks.endpoint import Endpoint
        from lamina.networks.namespaces import create_namespace
        from lamina.networks.netavark import Netavark, find_netavark

        if self.get(network).name != "bridge":
            raise InvalidInput(f"network {network} has no endpoints: only bridge does")
        for port in ports:
            if ":" in port.host_ip:
                raise Unsupported(
                    f"port {port.container_port} cannot be published on {port.host_ip}: network "
                    "bridge has no IPv6",
                    remedy="publish it on an IPv4 address",
                )
        netavark = Netavark(find_netavark(), self._run / "netavark")
        with contextlib.ExitStack() as held:
            held.enter_context(self._locked())
            self._take_down(container)
            self._take_down_orphans()
            others = self._endpoints()
            subnet = self._subnet(others)
            taken = {other.address for other in others}
            if address and address in taken:
                raise Conflict(f"Address already in use: {address}")
            address = address or choose_address(subnet, taken)
            endpoint = Endpoint(
                container=container,
                network="bridge",
                namespace=str(self._run / "namespaces" / container),
                interface="eth0",
                address=address,
                prefix=subnet.prefix,
                gateway=subnet.gateway,
                mac=mac or mac_of(address),
                ports=choose_ports(
                    ports, [port for other in others for port in other.ports], obstacle
                ),
            )
            self._write(endpoint, kept_by)
            try:
                create_namespace(Path(endpoint.namespace))
                call = netavark.begin_setup(Path(endpoint.namespace), document(endpoint, name))
            except BaseException:
                self._take_down(container)
                raise
            # The lock stays held until the call has ended.
            self._joining[container] = (call, held.pop_all())
        return endpoint

    def finish_connect(self, container: str) -> None:
        """Waits until what was begun is done. Nothing begun is fine."""
        begun = self._joining.pop(container, None)
        if begun is None:
            return
        from lamina.networks.bridge import revive_bridge

        call, held = begun
        with held:
            try:
                call.wait()
                subnet = self._recorded_subnet()
                if subnet is not None:
                    revive_bridge(subnet)
            except BaseException:
                self._take_down(container)
                raise

    def disconnect(self, container: str) -> None:
        """Takes the container's endpoint down and frees its address and ports. Absent is fine."""
        with contextlib.suppress(LaminaError):
            self.finish_connect(container)
        if not self._file(container).exists():
            return
        with self._locked():
            self._take_down(container)

    def endpoint(self, container: str) -> Endpoint | None:
        """The container's endpoint, while it has one."""
        try:
            fields = json.loads(self._file(container).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            return None
        from lamina.networks.endpoint import Endpoint
        from lamina.networks.ports import PortMapping

        fields.pop("root", None)
        fields.pop("kept_by", None)
        fields["ports"] = tuple(PortMapping(**port) for port in fields["ports"])
        return Endpoint(**fields)

    def endpoints(self, network: str = "bridge") -> Sequence[Endpoint]:
        """The endpoints of this data root's containers on a network."""
        if network != "bridge":
            return []
        return [
            endpoint
            for endpoint in self._endpoints()
            if (Path(self._root.path) / "containers" / endpoint.container).exists()
        ]

    def resolv_conf(
        self,
        network: str,
        *,
        servers: Sequence[str] = (),
        search: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> bytes:
        """What the container's /etc/resolv.conf says, from the host's resolvers."""
        from lamina.networks.files import only_stub_resolver, resolv_conf

        host = _text(Path("/etc/resolv.conf"))
        if only_stub_resolver(host) and _SYSTEMD_RESOLVERS.exists():
            host = _text(_SYSTEMD_RESOLVERS)
        return resolv_conf(
            host, isolated=network != "host", servers=servers, search=search, options=options
        ).encode()

    def hosts_file(
        self,
        network: str,
        *,
        hostname: str = "",
        endpoint: Endpoint | None = None,
        extra: Sequence[str] = (),
    ) -> bytes:
        """What the container's /etc/hosts says; `extra` are `name:address` of `--add-host`."""
        from lamina.networks.files import hosts_file

        pairs = [self._extra_host(text) for text in extra]
        if network == "host" and (own := _text(Path("/etc/hosts"))):
            return (own + "".join(f"{at}\t{name}\n" for name, at in pairs)).encode()
        names = [hostname, *([hostname.partition(".")[0]] if "." in hostname else [])]
        return hosts_file(
            address=endpoint.address if endpoint else "", names=names, extra=pairs
        ).encode()

    def _extra_host(self, text: str) -> tuple[str, str]:
        name, _, address = text.partition(":")
        if not name or not address:
            raise InvalidInput(f'bad format for add-host: "{text}"')
        if address == "host-gateway":
            address = self.get("bridge").gateway or "127.0.0.1"
        return name, address

    def _described(self, network: Network) -> Network:
        from dataclasses import replace

        if network.driver != "bridge" or (subnet := self._recorded_subnet()) is None:
            return network
        return replace(network, subnet=str(subnet), gateway=subnet.gateway)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        for folder in ("endpoints", "namespaces", "netavark"):
            (self._run / folder).mkdir(parents=True, exist_ok=True)
        lock = os.open(self._run / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _file(self, container: str) -> Path:
        return self._run / "endpoints" / f"{container}.json"

    def _write(self, endpoint: Endpoint, kept_by: Path | None) -> None:
        from dataclasses import asdict

        record = asdict(endpoint) | {"root": str(Path(self._root.path).resolve())}
        if kept_by is not None:
            record["kept_by"] = str(kept_by.resolve())
        _replace(self._file(endpoint.container), json.dumps(record))

    def _endpoints(self) -> Sequence[Endpoint]:
        try:
            names = sorted(os.listdir(self._run / "endpoints"))
        except FileNotFoundError:
            return []
        found = (self.endpoint(name[:-5]) for name in names if name.endswith(".json"))
        return [endpoint for endpoint in found if endpoint is not None]

    def _take_down_orphans(self) -> None:
        """Ends endpoints of containers that were removed, with their data root or behind it."""
        for endpoint in self._endpoints():
            try:
                record = json.loads(self._file(endpoint.container).read_bytes())
            except (OSError, ValueError):
                continue
            kept_by = record.get("kept_by")
            if not Path(kept_by or Path(record["root"], "containers", endpoint.container)).exists():
                self._take_down(endpoint.container)

    def _take_down(self, container: str) -> None:
        from lamina.networks.bridge import document
        from lamina.networks.namespaces import (
            create_namespace,
            namespace_exists,
            remove_namespace,
        )
        from lamina.networks.netavark import Netavark, find_netavark, rules_left

        endpoint = self.endpoint(container)
        holder = self._run / "namespaces" / container
        # Without ports there is nothing on the host but the pair of interfaces, which ends with
        # the namespace; the bridge and its subnet's rules stay, as Docker's do.
        published = endpoint is not None and bool(endpoint.ports)
        if endpoint is not None and published:
            try:
                if not namespace_exists(holder):
                    # The firewall's rules go even where the namespace was lost.
                    remove_namespace(holder)
                    create_namespace(holder)
                Netavark(find_netavark(), self._run / "netavark").teardown(
                    holder, document(endpoint, "")
                )
                published = False
            except (LaminaError, OSError):
                # Something was gone before. As long as rules are left, the record is kept: its
                # ports stay taken, and the next one who connects tries again.
                published = rules_left(container)
        remove_namespace(holder)
        if not published:
            self._file(container).unlink(missing_ok=True)

    def _recorded_subnet(self) -> Subnet | None:
        from lamina.networks.addresses import Subnet

        try:
            record = json.loads((self._run / "bridge.json").read_bytes())
            return Subnet.parse(record["subnet"])
        except (OSError, ValueError, KeyError):
            return None

    def _subnet(self, endpoints: Sequence[Endpoint]) -> Subnet:
        """The bridge's subnet: as recorded, or as the living bridge has it, or a free one."""
        from lamina.networks.addresses import choose_subnet, routed_subnets
        from lamina.networks.bridge import BRIDGE_INTERFACE

        recorded = self._recorded_subnet()
        routes = routed_subnets(_text(Path("/proc/net/route")))
        others = [subnet for interface, subnet in routes if interface != BRIDGE_INTERFACE]
        living = [subnet for interface, subnet in routes if interface == BRIDGE_INTERFACE]
        if recorded is not None:
            clash = any(recorded.overlaps(other) for other in others)
            if endpoints or not clash or recorded in living:
                return recorded
        subnet = living[0] if living else choose_subnet(others)
        record = {"subnet": str(subnet), "gateway": subnet.gateway}
        _replace(self._run / "bridge.json", json.dumps(record))
        return subnet


def _replace(path: Path, text: str) -> None:
    staged = path.with_name(f".{path.name}.new")
    staged.write_text(text)
    os.replace(staged, path)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
