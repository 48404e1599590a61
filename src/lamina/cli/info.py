"""`lamina info`: what this data root holds, what serves it, and the machine it is on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

import lamina
from lamina.cli.command import docker_command
from lamina.cli.components import version_of
from lamina.cli.context import App
from lamina.cli.format import INSPECT_HELP, inspect
from lamina.cli.units import binary_size

if TYPE_CHECKING:
    from lamina.engine import Engine


@docker_command("[OPTIONS]", "Display system-wide information")
@click.option("-f", "--format", help=INSPECT_HELP)
@click.pass_obj
def command(app: App, format: str | None) -> None:
    facts = gather(app.engine, app)
    if format == "json":
        print(inspect([facts], format)[1:-2])
    elif format:
        print(inspect([facts], format), end="")
    else:
        print("\n".join(_lines(facts)))


def gather(engine: Engine, app: App) -> dict[str, Any]:
    """The facts, named as Docker's API names them."""
    states = Counter(container.state.status for container in engine.containers.list(all=True))
    runtimes = {name: found for name in ("crun", "runc") if (found := version_of(name))}
    driver = engine.driver
    kernel = os.uname()
    return {
        "Containers": sum(states.values()),
        "ContainersRunning": states["running"],
        "ContainersPaused": states["paused"],
        "ContainersStopped": sum(states.values()) - states["running"] - states["paused"],
        "Images": len(engine.images.list(intermediate=True)),
        "Driver": driver.name,
        "DriverStatus": [
            *([title, value] for title, value in driver.status()),
            ["Chosen because", engine.driver_selection.reason],
        ],
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "1",
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "none"],
            "Log": ["json-file"],
        },
        "Runtimes": {name: {"path": name} for name in runtimes},
        "DefaultRuntime": _default_runtime(app, runtimes),
        "Components": {
            name: version_of(name) or "not found" for name in ("runc", "crun", "conmon", "netavark")
        },
        "SecurityOptions": ["name=seccomp,profile=builtin"],
        "KernelVersion": kernel.release,
        "OperatingSystem": _operating_system(),
        "OSType": "linux",
        "Architecture": kernel.machine,
        "NCPU": os.cpu_count() or 1,
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "Name": kernel.nodename,
        "LaminaRootDir": str(engine.root.path),
        "Debug": app.debug,
        "ServerVersion": lamina.__version__,
    }


def _default_runtime(app: App, runtimes: dict[str, str]) -> str:
    if app.settings.runtime:
        return app.settings.runtime
    return next((name for name in ("runc", "crun") if name in runtimes), "none: install runc")


def _operating_system() -> str:
    import platform

    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "Linux"


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    yield f"Containers: {facts['Containers']}"
    for state in ("Running", "Paused", "Stopped"):
        yield f" {state}: {facts[f'Containers{state}']}"
    yield f"Images: {facts['Images']}"
    yield f"Server Version: {facts['ServerVersion']}"
    yield f"Storage Driver: {facts['Driver']}"
    for title, value in facts["DriverStatus"]:
        yield f" {title}: {value}"
    yield f"Logging Driver: {facts['LoggingDriver']}"
    yield f"Cgroup Driver: {facts['CgroupDriver']}"
    yield f"Cgroup Version: {facts['CgroupVersion']}"
    yield "Plugins:"
    for kind, names in facts["Plugins"].items():
        yield f" {kind}: {' '.join(names)}"
    yield f"Runtimes: {' '.join(facts['Runtimes'])}"
    yield f"Default Runtime: {facts['DefaultRuntime']}"
    for name, version in facts["Components"].items():
        yield f"{name} version: {version}"
    yield "Security Options:"
    yield " seccomp"
    yield "  Profile: builtin"
    yield f"Kernel Version: {facts['KernelVersion']}"
    yield f"Operating System: {facts['OperatingSystem']}"
    yield f"OSType: {facts['OSType']}"
    yield f"Architecture: {facts['Architecture']}"
    yield f"CPUs: {facts['NCPU']}"
    yield f"Total Memory: {binary_size(facts['MemTotal'])}"
    yield f"Name: {facts['Name']}"
    yield f"Lamina Root Dir: {facts['LaminaRootDir']}"
    yield f"Debug Mode: {str(facts['Debug']).lower()}"
