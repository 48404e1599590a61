"""What a container's start needs of this host, gathered into a `RuntimePlan`.

Here the pure plan of spec.py meets the machine: the user is looked up, volumes are filled, the
network is joined, and the files of /etc that the host decides are written.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.containers.spec import (
    DEFAULT_PATH,
    HOST_NETWORK,
    ProcessUser,
    RuntimePlan,
    SpecMount,
)

if TYPE_CHECKING:
    from lamina.containers.config import ContainerConfig, HostConfig
    from lamina.containers.parts import Parts
    from lamina.containers.records import Record
    from lamina.containers.spec import DeviceNode
    from lamina.networks.store import Endpoint

_INITS = ("docker-init", "tini", "catatonit")
_INIT_PATH = "/sbin/docker-init"
_UNIFIED_CGROUPS = "/sys/fs/cgroup/cgroup.controllers"


def network_of(host_config: HostConfig, config: ContainerConfig) -> str:
    """The network that a container joins: bridge, host or none."""
    if config.network_disabled:
        return "none"
    return "bridge" if host_config.network_mode == "default" else host_config.network_mode


def plan_start(parts: Parts, record: Record, rootfs: Path) -> RuntimePlan:
    """The plan of this container's start; its network is joined and its volumes are filled."""
    from lamina.containers.users import resolve_user

    config, host = record.config, record.host_config
    user = resolve_user(config.user, str(rootfs), groups=host.group_add)
    volumes = _volume_mounts(parts, record, rootfs)
    network = network_of(host, config)
    endpoint = _connect(parts, record) if network == "bridge" else None
    files = _network_files(parts, record, network, endpoint)
    args = config.command_line
    if host.init:
        program = _init_program()
        files = (*files, SpecMount(_INIT_PATH, "bind", program, ("bind", "ro")))
        args = (_INIT_PATH, "--", *args)
    options = set(host.security_opt)
    return RuntimePlan(
        rootfs=str(rootfs),
        args=args,
        env=process_environment(config, user),
        cwd=config.working_dir or "/",
        user=user,
        tty=config.tty,
        hostname=config.hostname,
        domainname=config.domainname,
        network=HOST_NETWORK if network == "host" else endpoint.namespace if endpoint else "",
        mounts=(*files, *volumes, *_tmpfs_mounts(host)),
        read_only=host.read_only_rootfs,
        privileged=host.privileged,
        cap_add=host.cap_add,
        cap_drop=host.cap_drop,
        seccomp=not options & {"seccomp=unconfined", "seccomp:unconfined"},
        no_new_privileges=bool(options & {"no-new-privileges", "no-new-privileges:true"}),
        cgroup_path=f"{host.cgroup_parent.rstrip('/') or '/lamina'}/{record.id}",
        shm_size_bytes=host.shm_size_bytes,
        memory_bytes=host.memory_bytes,
        cpu_shares=host.cpu_shares,
        nano_cpus=host.nano_cpus,
        pids_limit=host.pids_limit,
        oom_score_adj=host.oom_score_adj,
        rlimits=host.ulimits,
        sysctls=host.sysctls,
        pid_host=host.pid_mode == "host",
        ipc_host=host.ipc_mode == "host",
        uts_host=host.uts_mode == "host",
        cgroup_private=os.path.exists(_UNIFIED_CGROUPS),
        devices=_all_devices() if host.privileged else (),
    )


def _all_devices() -> tuple[DeviceNode, ...]:
    from lamina.containers.devices import host_devices

    return host_devices()


def process_environment(config: ContainerConfig, user: ProcessUser) -> tuple[str, ...]:
    """What the process finds in its environment: the configured, and what is always there."""
    from lamina.containers.config import merge_environment

    base = [DEFAULT_PATH, f"HOSTNAME={config.hostname}"]
    if config.tty:
        base.append("TERM=xterm")
    merged = merge_environment(base, config.env)
    if any(entry.startswith("HOME=") for entry in merged):
        return merged
    return (*merged, f"HOME={user.home}")


def _connect(parts: Parts, record: Record) -> Endpoint:
    from lamina.networks.ports import PortMapping

    bindings = record.host_config.port_bindings
    ports = [
        PortMapping.of_binding(port, bound.host_ip, bound.host_port)
        for port, every in bindings.items()
        for bound in every
    ]
    if record.host_config.publish_all_ports:
        ports += [
            PortMapping.of_binding(port, "", "")
            for port in record.config.exposed_ports
            if port not in bindings
        ]
    return parts.networks.begin_connect(record.id, name=record.name, ports=ports)


def _network_files(
    parts: Parts, record: Record, network: str, endpoint: Endpoint | None
) -> tuple[SpecMount, ...]:
    """Write the three files of /etc that the host decides, and bind them in."""
    host, folder = record.host_config, parts.root.container_dir(record.id)
    contents = {
        "hostname": f"{record.config.hostname}\n".encode(),
        "hosts": parts.networks.hosts_file(
            network, hostname=record.config.hostname, endpoint=endpoint, extra=host.extra_hosts
        ),
        "resolv.conf": parts.networks.resolv_conf(
            network, servers=host.dns, search=host.dns_search, options=host.dns_options
        ),
    }
    taken = {str(mount["destination"]) for mount in record.mount_points}
    mounts = []
    for name, content in contents.items():
        path = folder / name
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, 0o644)
        if f"/etc/{name}" not in taken:
            mounts.append(SpecMount(f"/etc/{name}", "bind", str(path), ("rbind", "rprivate")))
    return tuple(mounts)


def _volume_mounts(parts: Parts, record: Record, rootfs: Path) -> tuple[SpecMount, ...]:
    if not record.mount_points:
        return ()
    from lamina.volumes.specification import MountPoint

    mounts = [MountPoint.from_json(document) for document in record.mount_points]
    parts.volumes.populate(mounts, rootfs)
    return tuple(
        SpecMount(
            mount.destination,
            "bind",
            str(parts.volumes.source(mount)),
            ("rbind", mount.propagation or "rprivate", "ro" if mount.read_only else "rw"),
        )
        for mount in mounts
    )


def _tmpfs_mounts(host: HostConfig) -> tuple[SpecMount, ...]:
    always = ("nosuid", "nodev", "noexec")
    return tuple(
        SpecMount(path, "tmpfs", "tmpfs", (*always, *(options.split(",") if options else ())))
        for path, options in host.tmpfs.items()
    )


def _init_program() -> str:
    from lamina.containers.runtime import find_program

    for name in (*_INITS, "/usr/libexec/podman/catatonit"):
        program = find_program(name)
        if program is not None:
            return program
    from lamina.errors import Unsupported

    raise Unsupported(
        "no init program for --init was found (looked for docker-init, tini and catatonit)",
        remedy="install one, for example: apt-get install tini",
    )
