"""The flags that `run` and `create` share, and the configuration that they ask for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from lamina.cli.environment import environment, read_lines
from lamina.containers.config import ContainerConfig, HostConfig, PortBinding
from lamina.errors import InvalidInput, Unsupported

__all__ = ["configurations", "container_flags"]

F = TypeVar("F", bound=Callable[..., Any])

_SWITCHES = (
    (("--init",), "Run an init inside the container that forwards signals and reaps processes"),
    (("-i", "--interactive"), "Keep STDIN open even if not attached"),
    (("-P", "--publish-all"), "Publish all exposed ports to random ports"),
    (("--privileged",), "Give extended privileges to this container"),
    (("-q", "--quiet"), "Suppress the pull output"),
    (("--read-only",), "Mount the container's root filesystem as read only"),
    (("--rm",), "Remove the container and its anonymous volumes when it exits"),
    (("-t", "--tty"), "Allocate a pseudo-TTY"),
)

_LISTS = (
    (("--add-host",), "Add a custom host-to-IP mapping (host:ip)"),
    (("-a", "--attach"), "Attach to STDIN, STDOUT or STDERR"),
    (("--cap-add",), "Add Linux capabilities"),
    (("--cap-drop",), "Drop Linux capabilities"),
    (("--dns",), "Set custom DNS servers"),
    (("--dns-option",), "Set DNS options"),
    (("--dns-search",), "Set custom DNS search domains"),
    (("-e", "--env"), "Set environment variables"),
    (("--env-file",), "Read in a file of environment variables"),
    (("--expose",), "Expose a port or a range of ports"),
    (("--group-add",), "Add additional groups to join"),
    (("-l", "--label"), "Set meta data on a container"),
    (("--label-file",), "Read in a line delimited file of labels"),
    (("-p", "--publish"), "Publish a container's port(s) to the host"),
    (("--security-opt",), "Security Options"),
    (("--sysctl",), "Sysctl options"),
    (("--tmpfs",), "Mount a tmpfs directory"),
    (("--ulimit",), "Ulimit options"),
    (("-v", "--volume"), "Bind mount a volume"),
)

_TEXTS = (
    (("--cidfile",), "Write the container ID to the file"),
    (("--cpus",), "Number of CPUs"),
    (("--entrypoint",), "Overwrite the default ENTRYPOINT of the image"),
    (("-h", "--hostname"), "Container host name"),
    (("--ipc",), "IPC mode to use"),
    (("-m", "--memory"), "Memory limit"),
    (("--name",), "Assign a name to the container"),
    (("--network",), "Connect a container to a network (bridge, host or none)"),
    (("--pid",), "PID namespace to use"),
    (("--pull",), 'Pull image before running ("missing" or "never"; nothing can be pulled yet)'),
    (("--restart",), 'Restart policy to apply when a container exits (only "no" is known)'),
    (("--shm-size",), "Size of /dev/shm"),
    (("--stop-signal",), "Signal to stop the container"),
    (("-u", "--user"), "Username or UID (format: <name|uid>[:<group|gid>])"),
    (("--uts",), "UTS namespace to use"),
    (("-w", "--workdir"), "Working directory inside the container"),
)

_NUMBERS = (
    (("-c", "--cpu-shares"), "CPU shares (relative weight)"),
    (("--oom-score-adj",), "Tune host's OOM preferences (-1000 to 1000)"),
    (("--pids-limit",), "Tune container pids limit (set -1 for unlimited)"),
    (("--stop-timeout",), "Timeout (in seconds) to stop a container"),
)


def container_flags(function: F) -> F:
    """Adds the flags; they come to the function as keyword arguments, all in one `**flags`."""
    for names, text in reversed(_SWITCHES):
        function = click.option(*names, is_flag=True, help=text)(function)
    for names, text in reversed(_LISTS):
        function = click.option(*names, multiple=True, help=text)(function)
    for names, text in reversed(_TEXTS):
        function = click.option(*names, help=text)(function)
    for names, text in reversed(_NUMBERS):
        function = click.option(*names, type=int, help=text)(function)
    function = click.option("--net", hidden=True)(function)
    return click.option("--dns-opt", multiple=True, hidden=True)(function)


def configurations(
    image: str,
    command: Sequence[str],
    flags: Mapping[str, Any],
    variables: Mapping[str, str],
    *,
    detach: bool,
) -> tuple[ContainerConfig, HostConfig]:
    """What the flags ask for; `variables` is the environment of the caller."""
    attach = [name.lower() for name in flags["attach"]]
    for name in attach:
        if name not in ("stdin", "stdout", "stderr"):
            raise _bad(name, "-a, --attach", "valid streams are STDIN, STDOUT and STDERR")
    if detach and attach:
        raise InvalidInput("conflicting options: cannot specify both --attach and --detach")
    interactive = flags["interactive"]
    ports = _ports(flags["publish"])
    config = ContainerConfig(
        image=image,
        cmd=tuple(command) or None,
        entrypoint=_entrypoint(flags["entrypoint"]),
        env=environment(flags["env"], flags["env_file"], variables),
        working_dir=_absolute(flags["workdir"] or ""),
        user=flags["user"] or "",
        hostname=flags["hostname"] or "",
        tty=flags["tty"],
        open_stdin=interactive,
        stdin_once=interactive and not detach,
        attach_stdin=not detach and ("stdin" in attach or (interactive and not attach)),
        attach_stdout=not detach and ("stdout" in attach or not attach),
        attach_stderr=not detach and ("stderr" in attach or not attach),
        labels=_labels(flags["label"], flags["label_file"]),
        exposed_ports=_exposed(flags["expose"], ports),
        stop_signal=_signal(flags["stop_signal"] or ""),
        stop_timeout_s=flags["stop_timeout"],
    )
    return config, _host_config(flags, ports)


def _host_config(
    flags: Mapping[str, Any], ports: Mapping[str, tuple[PortBinding, ...]]
) -> HostConfig:
    if flags["pull"] not in (None, "always", "missing", "never"):
        raise InvalidInput(
            f"invalid pull option: '{flags['pull']}': "
            'must be one of "always", "missing" or "never"'
        )
    if flags["pull"] == "always":
        raise Unsupported(
            "--pull always is not available: pull is not part of this version",
            remedy="import, load or build the image, and leave --pull out",
        )
    if flags["restart"] not in (None, "", "no"):
        raise Unsupported(
            f"restart policy {flags['restart']!r} is not available: no process of Lamina stays "
            "behind that could restart a container",
            remedy="leave --restart out, and let a service manager start it",
        )
    optional: dict[str, Any] = {}
    if flags["shm_size"]:
        optional["shm_size_bytes"] = _size(flags["shm_size"], "--shm-size")
    if "" in (flags["net"], flags["network"]):
        raise InvalidInput("no name set for network")
    return HostConfig(
        binds=tuple(map(_bind, flags["volume"])),
        network_mode=flags["net"] or flags["network"] or "default",
        port_bindings=ports,
        publish_all_ports=flags["publish_all"],
        auto_remove=flags["rm"],
        init=flags["init"],
        privileged=flags["privileged"],
        read_only_rootfs=flags["read_only"],
        cap_add=flags["cap_add"],
        cap_drop=flags["cap_drop"],
        security_opt=tuple(map(_security_option, flags["security_opt"])),
        group_add=flags["group_add"],
        dns=tuple(map(_address, flags["dns"])),
        dns_options=flags["dns_option"] + flags["dns_opt"],
        dns_search=flags["dns_search"],
        extra_hosts=tuple(map(_extra_host, flags["add_host"])),
        tmpfs=_tmpfs(flags["tmpfs"]),
        sysctls=_sysctls(flags["sysctl"]),
        memory_bytes=_memory(flags["memory"]),
        cpu_shares=flags["cpu_shares"] or 0,
        nano_cpus=_nano_cpus(flags["cpus"]),
        pids_limit=flags["pids_limit"],
        oom_score_adj=flags["oom_score_adj"] or 0,
        ulimits=tuple(map(_ulimit, flags["ulimit"])),
        ipc_mode=_mode(flags, "ipc", ("private", "host")) or "private",
        pid_mode=_mode(flags, "pid", ("host",)),
        uts_mode=_mode(flags, "uts", ("host",)),
        **optional,
    )


def _mode(flags: Mapping[str, Any], name: str, known: Sequence[str]) -> str:
    mode = flags[name] or ""
    if mode and mode not in known:
        raise InvalidInput(
            f"--{name}: invalid {name.upper()} mode {mode!r}", remedy=f"use {' or '.join(known)}"
        )
    return str(mode)


_SECURITY_OPTIONS = (
    "no-new-privileges",
    "no-new-privileges=true",
    "no-new-privileges:true",
    "seccomp=unconfined",
    "seccomp:unconfined",
    # Neither is ever applied to a container here, so that it is left out is true.
    "apparmor=unconfined",
    "apparmor:unconfined",
    "label=disable",
    "label:disable",
)


def _security_option(text: str) -> str:
    if text not in _SECURITY_OPTIONS:
        raise InvalidInput(
            f'Invalid --security-opt: "{text}"',
            remedy="known are no-new-privileges, seccomp=unconfined, apparmor=unconfined and "
            "label=disable",
        )
    return text


def _entrypoint(given: str | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    return (given,) if given else ()


def _absolute(path: str) -> str:
    if path and not path.startswith("/"):
        raise InvalidInput(
            f"the working directory '{path}' is invalid, it needs to be an absolute path"
        )
    return path


def _signal(text: str) -> str:
    if text:
        from lamina.containers.waiting import signal_number

        signal_number(text)
    return text


def _bind(text: str) -> str:
    """A source that begins with `.` is a folder relative to where the caller stands."""
    source, colon, rest = text.partition(":")
    if colon and (source in (".", "..") or source.startswith(("./", "../"))):
        return f"{os.path.abspath(source)}:{rest}"
    return text


def _ports(published: Sequence[str]) -> dict[str, tuple[PortBinding, ...]]:
    if not published:
        return {}
    from lamina.networks.ports import parse_port

    found: dict[str, tuple[PortBinding, ...]] = {}
    for text in published:
        for port in parse_port(text):
            binding = PortBinding(port.host_ip, port.host_ports)
            if binding not in found.get(port.key, ()):
                found[port.key] = (*found.get(port.key, ()), binding)
    return found


def _exposed(given: Sequence[str], published: Mapping[str, object]) -> tuple[str, ...]:
    if not given:
        return tuple(published)
    from lamina.networks.ports import parse_exposed

    found = dict.fromkeys(published)
    for text in given:
        if ":" in text:
            raise InvalidInput(f"invalid port format for --expose: {text}")
        try:
            found |= dict.fromkeys(parse_exposed(text))
        except InvalidInput as error:
            raise InvalidInput(
                f"invalid range format for --expose: {text}, error: {error}"
            ) from None
    return tuple(found)


def _labels(given: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    lines = [line for path in files for line in read_lines(path)]
    found = {}
    for text in (*lines, *given):
        name, _, value = text.partition("=")
        if not name:
            raise _bad(text, "-l, --label", f"invalid label '{text}': empty name")
        found[name] = value
    return found


def _sysctls(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise _bad(text, "--sysctl", f"sysctl '{text}' is not allowed")
        found[name] = value
    return found


def _tmpfs(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in given:
        path, _, options = text.partition(":")
        if not path.startswith("/"):
            raise InvalidInput(f"invalid mount path: '{path}' mount path must be absolute")
        found[path] = options
    return found


def _size(text: str, flag: str) -> int:
    from lamina.cli.units import parse_size

    try:
        return parse_size(text)
    except InvalidInput as error:
        raise _bad(text, flag, error.message) from None


def _memory(text: str | None) -> int:
    if not text:
        return 0
    size = _size(text, "-m, --memory")
    if 0 < size < 6 << 20:
        raise InvalidInput("Minimum memory limit allowed is 6MB")
    return size


def _nano_cpus(text: str | None) -> int:
    if not text:
        return 0
    try:
        value = float(text)
    except ValueError:
        raise _bad(text, "--cpus", f"failed to parse {text} as a rational number") from None
    available = os.cpu_count() or 1
    if not 0.01 <= value <= available:
        raise InvalidInput(
            f"range of CPUs is from 0.01 to {available}.00, as there are only {available} CPUs "
            "available"
        )
    return int(value * 1_000_000_000)


_ULIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending"
    " stack".split()
)


def _ulimit(text: str) -> tuple[str, int, int]:
    name, _, limits = text.partition("=")
    if limits and name not in _ULIMITS:
        raise _bad(text, "--ulimit", f"invalid ulimit type: {name}")
    soft, colon, hard = limits.partition(":")
    try:
        pair = int(soft), int(hard if colon else soft)
    except ValueError:
        raise _bad(text, "--ulimit", f"invalid ulimit argument: {text}") from None
    if pair[0] > pair[1] >= 0:
        problem = "ulimit soft limit must be less than or equal to hard limit"
        raise _bad(text, "--ulimit", f"{problem}: {pair[0]} > {pair[1]}")
    return name, *pair


def _address(text: str) -> str:
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except OSError:
            continue
        return text
    raise _bad(text, "--dns", f"IP address is not correctly formatted: {text}")


def _extra_host(text: str) -> str:
    name, colon, address = text.partition(":")
    if not name or not colon or not address:
        raise _bad(text, "--add-host", f'bad format for add-host: "{text}"')
    if address != "host-gateway":
        try:
            _address(address)
        except InvalidInput:
            problem = f'invalid IP address in add-host: "{address}"'
            raise _bad(text, "--add-host", problem) from None
    return text


def _bad(value: str, flag: str, problem: str) -> InvalidInput:
    return InvalidInput(f'invalid argument "{value}" for "{flag}" flag: {problem}')
