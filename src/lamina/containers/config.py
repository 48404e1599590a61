"""What a container was asked to be: Docker's Config and HostConfig, as frozen values.

Both go to Docker's JSON and back without loss; nothing here touches the machine. Merging with an
image's own configuration is `merged`: what the command line left open, the image fills in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

DEFAULT_SHM_BYTES = 64 << 20


@dataclass(frozen=True)
class ContainerConfig:
    """The portable half: what runs in the container (Docker's `Config`).

    `cmd`, `entrypoint` None mean "as the image says"; an empty entrypoint resets the image's.
    """

    image: str = ""
    cmd: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    hostname: str = ""
    domainname: str = ""
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    stop_signal: str = ""
    stop_timeout_s: int | None = None
    network_disabled: bool = False

    def to_json(self) -> dict[str, Any]:
        """Docker's `Config` object."""
        document: dict[str, Any] = {
            "Hostname": self.hostname,
            "Domainname": self.domainname,
            "User": self.user,
            "AttachStdin": self.attach_stdin,
            "AttachStdout": self.attach_stdout,
            "AttachStderr": self.attach_stderr,
        }
        if self.exposed_ports:
            document["ExposedPorts"] = {port: {} for port in self.exposed_ports}
        document |= {
            "Tty": self.tty,
            "OpenStdin": self.open_stdin,
            "StdinOnce": self.stdin_once,
            "Env": list(self.env),
            "Cmd": None if self.cmd is None else list(self.cmd),
            "Image": self.image,
            "Volumes": {path: {} for path in self.volumes} or None,
            "WorkingDir": self.working_dir,
            "Entrypoint": None if self.entrypoint is None else list(self.entrypoint),
            "OnBuild": None,
            "Labels": dict(self.labels),
        }
        if self.stop_signal:
            document["StopSignal"] = self.stop_signal
        if self.stop_timeout_s is not None:
            document["StopTimeout"] = self.stop_timeout_s
        if self.network_disabled:
            document["NetworkDisabled"] = True
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ContainerConfig:
        """The value that `to_json` wrote (or that a client of the Engine API sent)."""
        get = document.get
        cmd, entrypoint = get("Cmd"), get("Entrypoint")
        return cls(
            image=get("Image") or "",
            cmd=None if cmd is None else tuple(cmd),
            entrypoint=None if entrypoint is None else tuple(entrypoint),
            env=tuple(get("Env") or ()),
            working_dir=get("WorkingDir") or "",
            user=get("User") or "",
            hostname=get("Hostname") or "",
            domainname=get("Domainname") or "",
            tty=bool(get("Tty")),
            open_stdin=bool(get("OpenStdin")),
            stdin_once=bool(get("StdinOnce")),
            attach_stdin=bool(get("AttachStdin")),
            attach_stdout=bool(get("AttachStdout")),
            attach_stderr=bool(get("AttachStderr")),
            labels=dict(get("Labels") or {}),
            volumes=tuple(get("Volumes") or ()),
            exposed_ports=tuple(get("ExposedPorts") or ()),
            stop_signal=get("StopSignal") or "",
            stop_timeout_s=get("StopTimeout"),
            network_disabled=bool(get("NetworkDisabled")),
        )

    def merged(self, image: ContainerConfig) -> ContainerConfig:
        """This configuration, with what it leaves open filled in from the image's.

        A given entrypoint drops the image's command; variables of `env` replace the image's of
        the same name; labels, volumes and exposed ports are united.
        """
        cmd = self.cmd
        if cmd is None and self.entrypoint is None:
            cmd = image.cmd
        entrypoint = image.entrypoint if self.entrypoint is None else self.entrypoint
        return replace(
            self,
            cmd=cmd,
            entrypoint=entrypoint or None,
            env=merge_environment(image.env, self.env),
            working_dir=self.working_dir or image.working_dir,
            user=self.user or image.user,
            labels={**image.labels, **self.labels},
            volumes=_united(image.volumes, self.volumes),
            exposed_ports=_united(image.exposed_ports, self.exposed_ports),
            stop_signal=self.stop_signal or image.stop_signal,
            stop_timeout_s=(
                image.stop_timeout_s if self.stop_timeout_s is None else self.stop_timeout_s
            ),
        )

    @property
    def command_line(self) -> tuple[str, ...]:
        """Entrypoint and command joined: what the runtime executes."""
        return (*(self.entrypoint or ()), *(self.cmd or ()))


@dataclass(frozen=True)
class PortBinding:
    """Where on the host a container's port is published; port "" lets the engine choose."""

    host_ip: str = ""
    host_port: str = ""


@dataclass(frozen=True)
class HostConfig:
    """The half that depends on this host (Docker's `HostConfig`).

    `binds` are in `-v` syntax, `port_bindings` maps "80/tcp" to its bindings, `tmpfs` a path to
    its mount options. Sizes are bytes; 0 or None: no limit.
    """

    binds: tuple[str, ...] = ()
    network_mode: str = "default"
    port_bindings: Mapping[str, tuple[PortBinding, ...]] = field(default_factory=dict)
    publish_all_ports: bool = False
    auto_remove: bool = False
    privileged: bool = False
    read_only_rootfs: bool = False
    init: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    group_add: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    storage_opt: Mapping[str, str] = field(default_factory=dict)
    shm_size_bytes: int = DEFAULT_SHM_BYTES
    memory_bytes: int = 0
    cpu_shares: int = 0
    nano_cpus: int = 0
    pids_limit: int | None = None
    oom_score_adj: int = 0
    ulimits: tuple[tuple[str, int, int], ...] = ()
    ipc_mode: str = "private"
    pid_mode: str = ""
    uts_mode: str = ""
    cgroup_parent: str = ""
    restart_policy: str = "no"
    restart_max_retries: int = 0
    log_driver: str = "json-file"
    log_options: Mapping[str, str] = field(default_factory=dict)
    runtime: str = "runc"

    def to_json(self) -> dict[str, Any]:
        """Docker's `HostConfig` object."""
        return {
            "Binds": list(self.binds) or None,
            "ContainerIDFile": "",
            "LogConfig": {"Type": self.log_driver, "Config": dict(self.log_options)},
            "NetworkMode": self.network_mode,
            "PortBindings": {
                port: [{"HostIp": bound.host_ip, "HostPort": bound.host_port} for bound in bindings]
                for port, bindings in self.port_bindings.items()
            },
            "RestartPolicy": {
                "Name": self.restart_policy,
                "MaximumRetryCount": self.restart_max_retries,
            },
            "AutoRemove": self.auto_remove,
            "VolumeDriver": "",
            "VolumesFrom": None,
            "CapAdd": list(self.cap_add) or None,
            "CapDrop": list(self.cap_drop) or None,
            "CgroupnsMode": "host",
            "Dns": list(self.dns),
            "DnsOptions": list(self.dns_options),
            "DnsSearch": list(self.dns_search),
            "ExtraHosts": list(self.extra_hosts) or None,
            "GroupAdd": list(self.group_add) or None,
            "IpcMode": self.ipc_mode,
            "Cgroup": "",
            "Links": None,
            "OomScoreAdj": self.oom_score_adj,
            "PidMode": self.pid_mode,
            "Privileged": self.privileged,
            "PublishAllPorts": self.publish_all_ports,
            "ReadonlyRootfs": self.read_only_rootfs,
            "SecurityOpt": list(self.security_opt) or None,
            "StorageOpt": dict(self.storage_opt) or None,
            "Tmpfs": dict(self.tmpfs) or None,
            "UTSMode": self.uts_mode,
            "UsernsMode": "",
            "ShmSize": self.shm_size_bytes,
            "Sysctls": dict(self.sysctls) or None,
            "Runtime": self.runtime,
            "Init": self.init or None,
            "Isolation": "",
            "CpuShares": self.cpu_shares,
            "Memory": self.memory_bytes,
            "NanoCpus": self.nano_cpus,
            "CgroupParent": self.cgroup_parent,
            "PidsLimit": self.pids_limit,
            "Ulimits": [
                {"Name": name, "Soft": soft, "Hard": hard} for name, soft, hard in self.ulimits
            ]
            or None,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> HostConfig:
        """The value that `to_json` wrote (or that a client of the Engine API sent)."""
        get = document.get
        log = get("LogConfig") or {}
        restart = get("RestartPolicy") or {}
        return cls(
            binds=tuple(get("Binds") or ()),
            network_mode=get("NetworkMode") or "default",
            port_bindings={
                port: tuple(
                    PortBinding(bound.get("HostIp") or "", bound.get("HostPort") or "")
                    for bound in bindings or ()
                )
                for port, bindings in (get("PortBindings") or {}).items()
            },
            publish_all_ports=bool(get("PublishAllPorts")),
            auto_remove=bool(get("AutoRemove")),
            privileged=bool(get("Privileged")),
            read_only_rootfs=bool(get("ReadonlyRootfs")),
            init=bool(get("Init")),
            cap_add=tuple(get("CapAdd") or ()),
            cap_drop=tuple(get("CapDrop") or ()),
            security_opt=tuple(get("SecurityOpt") or ()),
            group_add=tuple(get("GroupAdd") or ()),
            dns=tuple(get("Dns") or ()),
            dns_options=tuple(get("DnsOptions") or ()),
            dns_search=tuple(get("DnsSearch") or ()),
            extra_hosts=tuple(get("ExtraHosts") or ()),
            tmpfs=dict(get("Tmpfs") or {}),
            sysctls=dict(get("Sysctls") or {}),
            storage_opt=dict(get("StorageOpt") or {}),
            shm_size_bytes=get("ShmSize") or DEFAULT_SHM_BYTES,
            memory_bytes=get("Memory") or 0,
            cpu_shares=get("CpuShares") or 0,
            nano_cpus=get("NanoCpus") or 0,
            pids_limit=get("PidsLimit"),
            oom_score_adj=get("OomScoreAdj") or 0,
            ulimits=tuple(
                (limit["Name"], limit["Soft"], limit["Hard"]) for limit in get("Ulimits") or ()
            ),
            ipc_mode=get("IpcMode") or "private",
            pid_mode=get("PidMode") or "",
            uts_mode=get("UTSMode") or "",
            cgroup_parent=get("CgroupParent") or "",
            restart_policy=restart.get("Name") or "no",
            restart_max_retries=restart.get("MaximumRetryCount") or 0,
            log_driver=log.get("Type") or "json-file",
            log_options=dict(log.get("Config") or {}),
            runtime=get("Runtime") or "runc",
        )


@dataclass(frozen=True)
class ExecConfig:
    """What `exec` runs in a running container."""

    cmd: tuple[str, ...]
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    tty: bool = False
    open_stdin: bool = False
    privileged: bool = False


def merge_environment(base: Sequence[str], changes: Sequence[str]) -> tuple[str, ...]:
    """`base` with the variables of `changes` replaced in place, or appended in their order.

    A change without `=` removes the variable, as `docker run -e NAME` does for an unset one.
    """
    merged: dict[str, str | None] = {entry.partition("=")[0]: entry for entry in base}
    for entry in changes:
        name, equals, _ = entry.partition("=")
        merged[name] = entry if equals else None
    return tuple(entry for entry in merged.values() if entry is not None)


def _united(base: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*base, *more)))
