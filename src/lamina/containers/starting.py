"""The start of a container: mounted, connected, described, and handed to monitor and runtime.

In this order, each step undone if a later one fails: mount the root filesystem, fill new volumes,
join the network, write the files that are bound in, write the runtime configuration, launch the
monitor (which has the runtime create the process), record `running`, attach, and let it go.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.containers.capabilities import available
from lamina.containers.ending import STARTING, clear_folder, finish, settled, undo_start
from lamina.containers.monitor import Launch, Session, noted_exit, process_start_time, resize
from lamina.containers.records import no_such_container
from lamina.containers.runtime import write_spec
from lamina.containers.spec import (
    DEFAULT_PATH,
    HOST_NETWORK,
    ProcessUser,
    RuntimePlan,
    SpecMount,
    runtime_spec,
)
from lamina.containers.state import RUNNING
from lamina.errors import LaminaError, RuntimeFailure
from lamina.store.failures import translated

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from lamina.containers.config import ContainerConfig, HostConfig
    from lamina.containers.console import Streams
    from lamina.containers.parts import Parts
    from lamina.containers.records import Record
    from lamina.containers.spec import DeviceNode
    from lamina.networks.store import Endpoint

_INITS = ("docker-init", "tini", "catatonit")
_UNIFIED_CGROUPS = "/sys/fs/cgroup/cgroup.controllers"
_INIT_PATH = "/sbin/docker-init"


def start_detached(parts: Parts, container_id: str) -> None:
    """Start it, and leave it to its monitor. One that runs is left as it is."""
    with _starting(parts, container_id) as record:
        if record is not None:
            session, _ = _start(parts, record, None)
            session.close()


def start_attached(
    parts: Parts,
    container_id: str,
    streams: Streams,
    on_start: Callable[[], None] | None = None,
) -> int | None:
    """Start it and stay until its end: the exit code, or None where the caller detached."""
    from lamina.containers.console import SignalProxy, raw_terminal, terminal_size

    folder = parts.made_run_folder(container_id)

    def resized() -> None:
        size = terminal_size(streams)
        if size is not None:
            resize(folder, *size)

    config = parts.records.get(container_id).config
    terminal = config.tty
    streams = streams.for_input(wanted=config.open_stdin)
    with SignalProxy(
        enabled=streams.signal_proxy, on_resize=resized if terminal else None
    ) as signals:
        with _starting(parts, container_id) as record:
            if record is None:
                return attach_running(parts, container_id, streams)
            held = _hold_attached(folder)
            try:
                session, connection = _start(parts, record, streams)
            except BaseException:
                os.close(held)
                raise
        try:
            from lamina.containers.attach import relay
            from lamina.containers.watch import send_signal

            assert connection is not None
            pid, started = session.pid, process_start_time(session.pid)
            signals.deliver_to(lambda number: void(send_signal(pid, started, number)))
            if on_start is not None:
                on_start()
            with connection, raw_terminal(streams.stdin if terminal else None):
                ended = relay(connection, streams, terminal=terminal)
            if not ended:
                return None
            session.sync.wait_closed()
            noted = noted_exit(folder)
            code = finish(parts, container_id)
            return noted or 0 if code is None else code
        finally:
            session.close()
            os.close(held)


def attach_running(parts: Parts, container_id: str, streams: Streams) -> int | None:
    """Attach to a container that runs: its exit code, or None where the caller detached."""
    from lamina.containers.attach import connect, relay
    from lamina.containers.console import SignalProxy, raw_terminal, terminal_size
    from lamina.containers.waiting import wait_ended
    from lamina.containers.watch import send_signal

    record = parts.records.get(container_id)
    folder = parts.run_folder(container_id)
    terminal = record.config.tty
    streams = streams.for_input(wanted=record.config.open_stdin)

    def resized() -> None:
        size = terminal_size(streams)
        if size is not None:
            resize(folder, *size)

    try:
        connection = connect(folder)
    except OSError as error:
        raise RuntimeFailure(
            f"cannot attach to container {record.name}: its monitor does not answer: {error}",
            remedy="restart the container",
        ) from error
    with (
        SignalProxy(
            enabled=streams.signal_proxy, on_resize=resized if terminal else None
        ) as signals,
        connection,
        raw_terminal(streams.stdin if terminal else None),
    ):
        signals.deliver_to(lambda number: void(send_signal(record.pid, record.pid_start, number)))
        if terminal:
            resized()
        ended = relay(connection, streams, terminal=terminal)
    return wait_ended(parts, container_id) if ended else None


def void(_: object) -> None:
    """Take a result that nobody wants."""


@contextmanager
def _starting(parts: Parts, container_id: str) -> Iterator[Record | None]:
    """The lock and the row of a container to start; None where it runs already."""
    folder = parts.run_folder(container_id)
    with parts.lock(container_id):
        record = settled(parts, container_id)
        if record is None:
            raise no_such_container(container_id)
        if record.status == RUNNING:
            yield None
            return
        clear_folder(folder)
        marker = folder / STARTING
        marker.touch()
        try:
            with translated(f"starting container {record.name}"):
                yield record
        finally:
            marker.unlink(missing_ok=True)


def _start(
    parts: Parts, record: Record, streams: Streams | None
) -> tuple[Session, socket.socket | None]:
    folder = parts.run_folder(record.id)
    session = None
    try:
        monitor = parts.monitor  # found, with the runtime, before anything is touched
        rootfs = parts.layers.mount(record.id)
        plan = _plan(parts, record, rootfs)
        document = runtime_spec(
            plan, machine=os.uname().machine, available_capabilities=available()
        )
        write_spec(folder, document)
        session = monitor.launch(_launch(parts, record, folder))
        if streams is not None:
            # Time is short here and spare while the runtime works: what comes next is loaded now.
            import lamina.containers.attach
            import lamina.containers.watch  # noqa: F401
        pid = session.created("create")
        parts.records.set_running(record, pid, process_start_time(pid), parts.root.boot_id)
        connection = None
        if streams is not None:
            connection = _connected(folder, streams, terminal=record.config.tty)
        parts.networks.finish_connect(record.id)
        parts.runtime.start(record.id)
        return session, connection
    except BaseException as error:
        if session is not None:
            session.close()
        _failed(parts, record, error)
        raise


def _connected(folder: Path, streams: Streams, *, terminal: bool) -> socket.socket:
    from lamina.containers.attach import connect
    from lamina.containers.console import terminal_size

    connection = connect(folder)
    size = terminal_size(streams) if terminal else None
    if size is not None:
        resize(folder, *size)
    return connection


def _failed(parts: Parts, record: Record, error: BaseException) -> None:
    try:
        undo_start(parts, record.id)
    except (LaminaError, OSError) as second:
        error.add_note(f"clean-up failed: {second}")
    code = error.exit_code if isinstance(error, RuntimeFailure) else 128
    parts.records.set_failed(record, code, str(error) or type(error).__name__)
    if record.auto_remove:
        from lamina.containers.ending import removed

        removed(parts, parts.records.get(record.id))


def _hold_attached(folder: Path) -> int:
    import fcntl

    descriptor = os.open(folder / "attached", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _launch(parts: Parts, record: Record, folder: Path) -> Launch:
    config = record.config
    return Launch(
        container_id=record.id,
        session_id=record.id,
        name=record.name,
        folder=folder,
        log=log_argument(parts, record),
        terminal=config.tty,
        stdin=config.open_stdin,
        # Docker's StdinOnce: the first client's end of input is the container's.
        leave_stdin_open=config.open_stdin and (config.tty or not config.stdin_once),
        exit_command=_exit_command(parts, record.id),
    )


def log_argument(parts: Parts, record: Record) -> str:
    """conmon's -l: the container's log, or nowhere."""
    if record.host_config.log_driver == "none":
        return "none"
    path = parts.log(record.id)
    if ":" in str(path):
        # conmon splits there; in the run folder's path there is none.
        link = parts.run_folder(record.id) / "log"
        link.symlink_to(path)
        path = link
    return f"k8s-file:{path}"


# An attached caller does the exit command's work itself; so none of Python is started before it
# is gone, and none at all where it has left nothing to do.
_AFTER_CALLER = """
{ command -v flock && flock 9; } >/dev/null 2>&1 9<"$0/attached"
test -e "$0" && exec "$@"
"""


# Isolated from the environment and the current folder; the package is found where this one is.
_EXITED = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from lamina.containers.exited import main; main(sys.argv[2:])"
)


def _home_of_lamina() -> str:
    return str(Path(__file__).parents[2])


def _exit_command(parts: Parts, container_id: str) -> tuple[str, ...]:
    import sys

    folder = str(parts.run_folder(container_id))
    return (
        *("/bin/sh", "-c", _AFTER_CALLER, folder),
        *(sys.executable or "/usr/bin/python3", "-I", "-c", _EXITED, _home_of_lamina()),
        *(str(parts.root.path), parts.layers.driver.name, folder, container_id),
    )


def network_of(host_config: HostConfig, config: ContainerConfig) -> str:
    """The network that a container joins: bridge, host or none."""
    if config.network_disabled:
        return "none"
    return "bridge" if host_config.network_mode == "default" else host_config.network_mode


def _plan(parts: Parts, record: Record, rootfs: Path) -> RuntimePlan:
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
