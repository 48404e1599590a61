"""What the flags of `run` and `create` ask for, and how bad ones are refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from lamina.cli.command import Command
from lamina.cli.container_flags import configurations, container_flags
from lamina.containers.config import ContainerConfig, HostConfig, PortBinding
from lamina.errors import InvalidInput, NotFound, Unsupported


def flags(*args: str) -> dict[str, Any]:
    """The keyword arguments that a command with these flags is called with."""

    @container_flags
    @click.argument("image")
    def callback(**values: Any) -> None: ...

    params = list(reversed(callback.__click_params__))  # type: ignore[attr-defined]
    command = Command("run", params=params, callback=callback)
    return command.make_context("run", [*args, "image"]).params


def config(*args: str, variables: Mapping[str, str] | None = None) -> ContainerConfig:
    return configurations("image", (), flags(*args), variables or {}, detach=False)[0]


def host(*args: str) -> HostConfig:
    return configurations("image", (), flags(*args), {}, detach=False)[1]


def test_nothing_asked_leaves_all_to_the_image() -> None:
    found, host_config = configurations("image", (), flags(), {}, detach=False)
    assert found == ContainerConfig(image="image", attach_stdout=True, attach_stderr=True)
    assert host_config == HostConfig()


def test_what_is_attached_follows_from_the_flags() -> None:
    def attached(found: ContainerConfig) -> tuple[bool, bool, bool, bool]:
        return (found.attach_stdin, found.attach_stdout, found.attach_stderr, found.stdin_once)

    assert attached(config("-i")) == (True, True, True, True)
    assert attached(config("-a", "stdout")) == (False, True, False, False)
    assert attached(config("-i", "-a", "STDIN")) == (True, False, False, True)
    detached, _ = configurations("image", (), flags("-it"), {}, detach=True)
    assert attached(detached) == (False, False, False, False)
    assert detached.open_stdin and detached.tty


def test_entrypoint_is_one_word_and_an_empty_one_resets_the_images() -> None:
    assert config().entrypoint is None
    assert config("--entrypoint", "/bin/sh -c").entrypoint == ("/bin/sh -c",)
    assert config("--entrypoint=").entrypoint == ()


def test_environment_comes_from_files_first_then_flags(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# comment\n\nA=1\n  B=two words\nHERE\nNOT_HERE\n")
    found = config(
        "-e", "A=2", "-e", "HERE", "-e", "ABSENT", "--env-file", str(file),
        variables={"HERE": "x"},
    )  # fmt: skip
    assert found.env == ("A=1", "B=two words", "HERE=x", "A=2", "HERE=x", "ABSENT")


def test_labels_may_lack_a_value(tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_text("a=1\nb\n")
    found = config("-l", "a=2", "--label", "c=x=y", "--label-file", str(file))
    assert found.labels == {"a": "2", "b": "", "c": "x=y"}


def test_published_ports_are_exposed_too() -> None:
    args = ("-p", "8080:80", "-p", "127.0.0.1::53/udp", "--expose", "90-91")
    assert config(*args).exposed_ports == ("80/tcp", "53/udp", "90/tcp", "91/tcp")
    assert host(*args).port_bindings == {
        "80/tcp": (PortBinding("", "8080"),),
        "53/udp": (PortBinding("127.0.0.1", ""),),
    }


def test_a_source_with_a_dot_is_relative_to_the_caller() -> None:
    here = os.getcwd()
    args = ("-v", "./x:/y", "-v", ".:/z:ro", "-v", "name:/w", "-v", "/anonymous")
    assert host(*args).binds == (f"{here}/x:/y", f"{here}:/z:ro", "name:/w", "/anonymous")


def test_net_is_another_name_of_network() -> None:
    assert host("--net", "host").network_mode == host("--network=host").network_mode == "host"


def test_limits_are_numbers() -> None:
    found = host(
        "-m", "64m", "--cpus", "0.5", "-c", "512", "--pids-limit", "9",
        "--ulimit", "nofile=10:20", "--shm-size", "1g",
    )  # fmt: skip
    assert found.memory_bytes == 64 << 20
    assert found.nano_cpus == 500_000_000
    assert (found.cpu_shares, found.pids_limit) == (512, 9)
    assert found.ulimits == (("nofile", 10, 20),)
    assert found.shm_size_bytes == 1 << 30


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("-e", "=x"), 'invalid argument "=x" for "-e, --env" flag'),
        (("-m", "lots"), 'invalid argument "lots" for "-m, --memory" flag'),
        (("-m", "1m"), "Minimum memory limit allowed is 6MB"),
        (("--cpus", "many"), "failed to parse many as a rational number"),
        (("--cpus", "100000"), "range of CPUs is from 0.01 to"),
        (("-w", "here"), "the working directory 'here' is invalid, it needs to be an absolute"),
        (("-a", "stdlog"), "valid streams are STDIN, STDOUT and STDERR"),
        (("--dns", "x"), "IP address is not correctly formatted: x"),
        (("--add-host", "x"), 'bad format for add-host: "x"'),
        (("--add-host", "x:y"), 'invalid IP address in add-host: "y"'),
        (("--ulimit", "nofile"), "invalid ulimit argument: nofile"),
        (("--ulimit", "nofile=9:1"), "soft limit must be less than or equal to hard limit"),
        (("--sysctl", "x"), "sysctl 'x' is not allowed"),
        (("--ulimit", "bogus=1"), "invalid ulimit type: bogus"),
        (("--pull", "x"), "invalid pull option: 'x': must be one of"),
        (("--network", ""), "no name set for network"),
        (("--tmpfs", "x"), "invalid mount path: 'x' mount path must be absolute"),
        (("-p", "x:80"), "invalid hostPort: x"),
        (("--expose", "x"), "invalid range format for --expose: x"),
        (("--expose", "1:2"), "invalid port format for --expose: 1:2"),
        (("--ipc", "x"), "--ipc: invalid IPC mode 'x'"),
        (("--pid", "container:x"), "--pid: invalid PID mode 'container:x'"),
        (("--uts", "x"), "--uts: invalid UTS mode 'x'"),
        (("--security-opt", "seccomp=/file"), 'Invalid --security-opt: "seccomp=/file"'),
        (("--stop-signal", "SIGNONE"), "Invalid signal: SIGNONE"),
        (("-l", "=x"), "invalid label '=x': empty name"),
    ],
)
def test_a_bad_value_is_refused_by_name(args: tuple[str, ...], problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        configurations("image", (), flags(*args), {}, detach=False)
    assert problem in str(caught.value)


def test_detached_and_attached_are_refused_together() -> None:
    with pytest.raises(InvalidInput, match="cannot specify both --attach and --detach"):
        configurations("image", (), flags("-a", "stdout"), {}, detach=True)


def test_a_restart_policy_is_refused_with_its_reason() -> None:
    assert host("--restart", "no").restart_policy == "no"
    with pytest.raises(Unsupported, match="restart policy 'always' is not available"):
        host("--restart", "always")


def test_what_cannot_be_pulled_is_said() -> None:
    assert host("--pull", "never", "-q") == HostConfig()
    with pytest.raises(Unsupported, match="--pull always is not available"):
        host("--pull", "always")


def test_bad_files_of_variables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="open /absent/env: no such file or directory"):
        config("--env-file", "/absent/env")
    file = tmp_path / "env"
    file.write_text("a b=c\n")
    with pytest.raises(InvalidInput, match="variable 'a b' contains whitespaces"):
        config("--env-file", str(file))
    file.write_bytes(b"\xff\xfe=1\n")
    with pytest.raises(InvalidInput, match="invalid utf8 bytes"):
        config("--env-file", str(file))
