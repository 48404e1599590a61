"""Docker's `HostConfig` object in full: with what a container here never has, at its zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.containers.spec import MASKED_PATHS, READ_ONLY_PATHS

if TYPE_CHECKING:
    from lamina.containers.config import HostConfig

_ORDER = (
    "Binds ContainerIDFile LogConfig NetworkMode PortBindings RestartPolicy AutoRemove VolumeDriver"
    " VolumesFrom ConsoleSize CapAdd CapDrop CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts"
    " GroupAdd IpcMode Cgroup Links OomScoreAdj PidMode Privileged PublishAllPorts ReadonlyRootfs"
    " SecurityOpt StorageOpt Tmpfs UTSMode UsernsMode ShmSize Sysctls Runtime Isolation CpuShares"
    " Memory NanoCpus CgroupParent BlkioWeight BlkioWeightDevice BlkioDeviceReadBps"
    " BlkioDeviceWriteBps BlkioDeviceReadIOps BlkioDeviceWriteIOps CpuPeriod CpuQuota"
    " CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus CpusetMems Devices DeviceCgroupRules"
    " DeviceRequests MemoryReservation MemorySwap MemorySwappiness OomKillDisable PidsLimit Ulimits"
    " CpuCount CpuPercent IOMaximumIOps IOMaximumBandwidth MaskedPaths ReadonlyPaths Init"
)
_LISTS = (
    "BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps"
    " BlkioDeviceWriteIOps Devices Ulimits"
)
_NUMBERS = (
    "BlkioWeight CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime MemoryReservation"
    " MemorySwap CpuCount CpuPercent IOMaximumIOps IOMaximumBandwidth"
)
# Docker leaves these out where they are not set.
_OPTIONAL = frozenset(("StorageOpt", "Tmpfs", "Sysctls", "Init"))


def host_config_document(host: HostConfig) -> dict[str, Any]:
    """The object, with Docker's keys in Docker's order."""
    known = host.to_json()
    zeros: dict[str, Any] = {
        **{name: [] for name in _LISTS.split()},
        **dict.fromkeys(_NUMBERS.split(), 0),
        "ConsoleSize": [0, 0],
        "CpusetCpus": "",
        "CpusetMems": "",
        "OomKillDisable": False,
        "MaskedPaths": None if host.privileged else list(MASKED_PATHS),
        "ReadonlyPaths": None if host.privileged else list(READ_ONLY_PATHS),
    }
    if host.memory_bytes:
        zeros["MemorySwap"] = 2 * host.memory_bytes
    document = {}
    for name in _ORDER.split():
        value = known.get(name)
        if value is None:
            value = zeros.get(name)
        if value is not None or name not in _OPTIONAL:
            document[name] = value
    return document
