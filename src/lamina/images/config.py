"""Image configurations: the JSON whose digest is the image's id.

The bytes of a configuration that came from elsewhere are kept verbatim, so the id stays what its
maker computed; a configuration made here is encoded canonically by `encode`. Source: OCI image-spec
config.md, and Docker's image specification v1.2 for what OCI leaves out (Healthcheck, Shell,
OnBuild).

Input is hostile: sizes are bounded, and every field has the type its specification gives it or the
whole configuration is refused by name of the field.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from lamina.digests import ChainID, DiffID, ImageID, chain_ids
from lamina.errors import InvalidInput
from lamina.images.times import parse_rfc3339, rfc3339

SIZE_LIMIT_BYTES = 8 << 20
"""No configuration, manifest or index larger than this is read."""

LAYER_LIMIT = 4096
"""No configuration names more layers than this (the layer store's own limit is lower)."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """How a container's health is probed; the times are nanoseconds, 0 for the default."""

    test: tuple[str, ...] = ()
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0

    @classmethod
    def from_json(cls, value: object) -> Healthcheck:
        """Read the JSON object of a configuration's `Healthcheck`."""
        fields = _Fields(value, "config.Healthcheck")
        return cls(
            test=fields.strings("Test") or (),
            interval_ns=fields.integer("Interval"),
            timeout_ns=fields.integer("Timeout"),
            start_period_ns=fields.integer("StartPeriod"),
            start_interval_ns=fields.integer("StartInterval"),
            retries=fields.integer("Retries"),
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON object; fields that are not set are left out, as Go does."""
        return _without_empty(
            {
                "Test": list(self.test),
                "Interval": self.interval_ns,
                "Timeout": self.timeout_ns,
                "StartPeriod": self.start_period_ns,
                "StartInterval": self.start_interval_ns,
                "Retries": self.retries,
            }
        )


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What an image says about the containers made of it: the `config` object.

    `entrypoint`, `cmd` and `shell` are None where the image does not set them.
    """

    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    stop_timeout_s: int | None = None
    args_escaped: bool = False
    healthcheck: Healthcheck | None = None
    on_build: tuple[str, ...] = ()
    shell: tuple[str, ...] | None = None

    @classmethod
    def from_json(cls, value: object) -> RunConfig:
        """Read the `config` object of an image, with the fields of OCI and of Docker."""
        fields = _Fields(value, "config")
        healthcheck = fields.value("Healthcheck")
        return cls(
            user=fields.text("User"),
            exposed_ports=tuple(fields.mapping("ExposedPorts")),
            env=fields.strings("Env") or (),
            entrypoint=fields.strings("Entrypoint"),
            cmd=fields.strings("Cmd"),
            volumes=tuple(fields.mapping("Volumes")),
            working_dir=fields.text("WorkingDir"),
            labels=fields.string_mapping("Labels"),
            stop_signal=fields.text("StopSignal"),
            stop_timeout_s=fields.optional_integer("StopTimeout"),
            args_escaped=fields.boolean("ArgsEscaped"),
            healthcheck=None if healthcheck is None else Healthcheck.from_json(healthcheck),
            on_build=fields.strings("OnBuild") or (),
            shell=fields.strings("Shell"),
        )

    def to_json(self) -> dict[str, Any]:
        """The `config` object in the order of Docker's structure, unset fields left out."""
        return _without_empty(
            {
                "User": self.user,
                "ExposedPorts": {port: {} for port in sorted(self.exposed_ports)},
                "Env": list(self.env),
                "Entrypoint": _optional_list(self.entrypoint),
                "Cmd": _optional_list(self.cmd),
                "Volumes": {path: {} for path in sorted(self.volumes)},
                "WorkingDir": self.working_dir,
                "Labels": dict(sorted(self.labels.items())),
                "StopSignal": self.stop_signal,
                "StopTimeout": self.stop_timeout_s,
                "ArgsEscaped": self.args_escaped,
                "Healthcheck": None if self.healthcheck is None else self.healthcheck.to_json(),
                "OnBuild": list(self.on_build),
                "Shell": _optional_list(self.shell),
            }
        )


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One step of an image's making; an `empty_layer` step changed the configuration alone."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False

    @classmethod
    def from_json(cls, value: object) -> HistoryEntry:
        """Read one object of a configuration's `history`."""
        fields = _Fields(value, "history")
        return cls(
            created=fields.time("created"),
            created_by=fields.text("created_by"),
            author=fields.text("author"),
            comment=fields.text("comment"),
            empty_layer=fields.boolean("empty_layer"),
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON object, unset fields left out."""
        return _without_empty(
            {
                "created": self.created,
                "author": self.author,
                "created_by": self.created_by,
                "comment": self.comment,
                "empty_layer": self.empty_layer,
            }
        )

    @property
    def created_ns(self) -> int:
        """Nanoseconds since 1970; 0 where the step has no time."""
        return _moment_ns(self.created)


@dataclass(frozen=True)
class ImageConfig:
    """A whole image configuration. `raw` is what is stored, and what the id is the digest of."""

    architecture: str
    os: str
    diff_ids: tuple[DiffID, ...] = ()
    run: RunConfig = RunConfig()
    history: tuple[HistoryEntry, ...] = ()
    created: str = ""
    author: str = ""
    variant: str = ""
    os_version: str = ""
    docker_version: str = ""
    comment: str = ""
    raw: bytes = field(default=b"", repr=False, compare=False)

    @classmethod
    def parse(cls, raw: bytes) -> ImageConfig:
        """Read a configuration, keeping its bytes; InvalidInput names what is wrong with it."""
        fields = _Fields(parse_json(raw, "image configuration"), "image configuration")
        rootfs = _Fields(fields.value("rootfs"), "rootfs")
        kind = rootfs.text("type")
        if kind not in ("", "layers"):
            raise InvalidInput(f"invalid image configuration: rootfs.type is {kind[:40]!r}")
        diff_ids = rootfs.strings("diff_ids") or ()
        if len(diff_ids) > LAYER_LIMIT:
            raise InvalidInput(
                f"invalid image configuration: {len(diff_ids)} layers, more than {LAYER_LIMIT}"
            )
        run = fields.value("config")
        return cls(
            architecture=fields.text("architecture"),
            os=fields.text("os"),
            diff_ids=tuple(DiffID(diff_id) for diff_id in diff_ids),
            run=RunConfig() if run is None else RunConfig.from_json(run),
            history=tuple(HistoryEntry.from_json(step) for step in fields.sequence("history")),
            created=fields.time("created"),
            author=fields.text("author"),
            variant=fields.text("variant"),
            os_version=fields.text("os.version"),
            docker_version=fields.text("docker_version"),
            comment=fields.text("comment"),
            raw=raw,
        )

    def encode(self) -> bytes:
        """The bytes of a configuration made here; the same value always gives the same bytes."""
        document = _without_empty(
            {
                "architecture": self.architecture,
                "author": self.author,
                "comment": self.comment,
                "created": self.created,
                "docker_version": self.docker_version,
            }
        )
        document["config"] = self.run.to_json()
        document["history"] = [step.to_json() for step in self.history]
        document["os"] = self.os
        document["rootfs"] = {"type": "layers", "diff_ids": list(self.diff_ids)}
        document |= _without_empty({"os.version": self.os_version, "variant": self.variant})
        # Top-level keys in order, as BuildKit and Docker write them.
        ordered = {key: document[key] for key in sorted(document)}
        return json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()

    @cached_property
    def id(self) -> ImageID:
        """The image's id: the digest of `raw`, or of the encoding where there is no `raw` yet."""
        return ImageID.of(self.raw or self.encode())

    @cached_property
    def chain(self) -> ChainID | None:
        """The chain id of the top layer; None for an image without layers."""
        chains = chain_ids(self.diff_ids)
        return chains[-1] if chains else None

    @property
    def created_ns(self) -> int:
        """Nanoseconds since 1970; 0 where the configuration has no time."""
        return _moment_ns(self.created)


def created_now() -> str:
    """This moment, for the `created` field of a configuration or a step."""
    import time

    return rfc3339(time.time_ns())


def parse_json(raw: bytes, what: str) -> object:
    """Strict and bounded JSON; `what` names the document in the error."""
    if len(raw) > SIZE_LIMIT_BYTES:
        raise InvalidInput(
            f"invalid {what}: {len(raw)} bytes, more than the limit of {SIZE_LIMIT_BYTES}"
        )
    try:
        value: object = json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse_constant)
        if b"\\ud" in raw.lower():
            # Half a surrogate pair is a string that can neither be printed nor encoded again.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0][:120]
        raise InvalidInput(f"invalid {what}: not JSON: {reason}") from None
    return value


def _moment_ns(text: str) -> int:
    """The moment; 0 for none, which Go writes as the year 1; within what 64 bits hold."""
    return min(max(parse_rfc3339(text), 0), 2**63 - 1) if text else 0


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON value")


class _Fields:
    """Typed access to a JSON object; null counts as absent, as in Go."""

    def __init__(self, value: object, where: str) -> None:
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise InvalidInput(f"invalid {where}: want a JSON object, not {type(value).__name__}")
        self._object: dict[str, object] = value
        self._where = where

    def value(self, name: str) -> object:
        return self._object.get(name)

    def text(self, name: str) -> str:
        return self._typed(name, str, "")

    def boolean(self, name: str) -> bool:
        return self._typed(name, bool, False)

    def integer(self, name: str) -> int:
        return self._typed(name, int, 0)

    def optional_integer(self, name: str) -> int | None:
        return None if self.value(name) is None else self.integer(name)

    def time(self, name: str) -> str:
        text = self.text(name)
        if text:
            parse_rfc3339(text)
        return text

    def sequence(self, name: str) -> Sequence[object]:
        empty: list[object] = []
        return self._typed(name, list, empty)

    def strings(self, name: str) -> tuple[str, ...] | None:
        if self.value(name) is None:
            return None
        found = self.sequence(name)
        return tuple(self._each(found, name))

    def mapping(self, name: str) -> Mapping[str, object]:
        empty: dict[str, object] = {}
        return self._typed(name, dict, empty)

    def string_mapping(self, name: str) -> dict[str, str]:
        found = self.mapping(name)
        return dict(zip(found, self._each(list(found.values()), name), strict=True))

    def _each(self, values: Sequence[object], name: str) -> list[str]:
        texts = [value for value in values if isinstance(value, str)]
        if len(texts) != len(values):
            raise InvalidInput(f"invalid {self._where}: {name} holds something that is no string")
        return texts

    def _typed(self, name: str, kind: Callable[..., _T], default: _T) -> _T:
        value = self._object.get(name)
        if value is None:
            return default
        # bool is an int to Python and not to JSON.
        if not isinstance(value, type(default)) or isinstance(value, bool) != (kind is bool):
            raise InvalidInput(
                f"invalid {self._where}: {name} is of type {type(value).__name__}, "
                f"not {_name(kind)}"
            )
        return value


def _name(kind: Callable[..., object]) -> str:
    return getattr(kind, "__name__", "value")


def _optional_list(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)


def _without_empty(document: dict[str, Any]) -> dict[str, Any]:
    """Go's omitempty, but for an empty list that was set on purpose (ENTRYPOINT [])."""
    return {
        key: value
        for key, value in document.items()
        if value is not None
        and value != ""
        and value != {}
        and value is not False
        and value != 0
        and (value != [] or key in ("Entrypoint", "Cmd"))
    }
