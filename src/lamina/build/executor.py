"""Carrying out steps: each on a writable snapshot of what is below, which then is the layer.

A RUN's process gets Docker's default capabilities and seccomp profile, the host's resolvers, no
terminal and no input, and is run by the OCI runtime itself. Whatever a step had under way when it
failed or was cancelled (snapshot, mount, process, network) is gone when `carry_out` has raised.
"""

from __future__ import annotations

import os
import platform
import posixpath
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.build.archives import is_archive, unpack
from lamina.build.copying import Copier
from lamina.build.mountpoints import MissingPlaces, fill_scaffold
from lamina.build.sources import Gathered, Source
from lamina.build.steps import CopyStep, RunStep, Step, WorkdirStep
from lamina.build.tree import Tree
from lamina.digests import ChainID
from lamina.errors import Cancelled, InvalidInput, NotFound, RuntimeFailure, Unsupported

if TYPE_CHECKING:
    from lamina.build.narration import Telling
    from lamina.containers.runtime import Runtime
    from lamina.containers.spec import SpecMount
    from lamina.layers.store import Layer, LayerStore
    from lamina.networks.store import NetworkStore
    from lamina.store.operations import Operation
    from lamina.store.root import DataRoot

HOSTNAME = "lamina-build"
PROCESS = "build process"
"""The kind under which a running command is staged; `end_process` removes what is left of one."""


class Executor:
    """Carries out the steps of one build, from several threads at once if need be."""

    def __init__(
        self,
        operation: Operation,
        layers: LayerStore,
        networks: NetworkStore,
        runtime: str | None,
    ) -> None:
        self._operation = operation
        self._layers = layers
        self._networks = networks
        self._runtime_name = runtime
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._running: set[str] = set()
        self._found: Runtime | None = None
        self._scaffold: ChainID | None = None
        self._namespace: str | None = None

    def carry_out(
        self,
        step: Step,
        parent: ChainID | None,
        files: Gathered | None,
        telling: Telling,
    ) -> Layer:
        """Do a step on top of `parent`; the layer it gave, leased to the operation."""
        if self._cancelled.is_set():
            raise Cancelled("the build was cancelled")
        snapshot = os.urandom(32).hex()
        beneath = self._scaffold_layer() if isinstance(step, RunStep) else None
        self._layers.prepare(snapshot, parent, kind="build", op=self._operation, beneath=beneath)
        root = self._layers.mount(snapshot)
        try:
            if isinstance(step, RunStep):
                self._run(step, root, snapshot, telling)
            elif isinstance(step, CopyStep):
                self._copy(step, root, files)
            elif isinstance(step, WorkdirStep):
                _make_workdir(step, root)
        finally:
            self._layers.unmount(snapshot)
        return self._layers.commit(self._operation, snapshot)

    def cancel(self) -> None:
        """Kill what is running and start nothing more."""
        self._cancelled.set()
        with self._lock:
            running, runtime = set(self._running), self._found
        for container in running:
            if runtime is not None:
                with suppress(RuntimeFailure):
                    runtime.delete(container)

    def close(self) -> None:
        """Take down the network that steps were given."""
        if self._namespace is not None:
            self._networks.disconnect(self._network_id)
            self._namespace = None

    # RUN

    def _run(self, step: RunStep, root: Path, snapshot: str, telling: Telling) -> None:
        from lamina.containers.spec import RuntimePlan, runtime_spec
        from lamina.containers.users import resolve_user

        runtime = self._runtime()
        with MissingPlaces(root):
            network = self._network(step.network)
            plan = RuntimePlan(
                rootfs=str(root),
                args=step.args,
                env=(*step.env, *step.proxies),
                cwd=step.cwd,
                user=resolve_user(step.user, str(root)),
                hostname=HOSTNAME,
                network=network,
                mounts=self._mounts(step, network, snapshot),
            )
            with self._lock:
                if self._cancelled.is_set():
                    raise Cancelled("the build was cancelled")
                self._running.add(snapshot)
            # Should this process die, whoever opens the root next ends what it left running.
            self._operation.scratch(PROCESS, "", snapshot)
            try:
                code = runtime.run(
                    runtime_spec(plan, machine=platform.machine()),
                    self._operation.folder / f"bundle-{snapshot[:12]}",
                    snapshot,
                    output=lambda stream, data: self._hear(telling, data),
                )
            except RuntimeFailure as error:
                if self._cancelled.is_set():
                    raise Cancelled("the build was cancelled") from None
                raise RuntimeFailure(
                    f'process "{step.shown_command}" could not be started: {error.message}',
                    exit_code=error.exit_code,
                ) from error
            finally:
                with self._lock:
                    self._running.discard(snapshot)
                self._operation.keep(PROCESS, "", snapshot)
        if self._cancelled.is_set():
            raise Cancelled("the build was cancelled")
        if code:
            raise RuntimeFailure(
                f'process "{step.shown_command}" did not complete successfully: exit code: {code}',
                exit_code=code,
            )

    def _hear(self, telling: Telling, data: bytes) -> None:
        if self._cancelled.is_set():
            raise Cancelled("the build was cancelled")
        telling.output(data)

    def _runtime(self) -> Runtime:
        from lamina.containers.runtime import Runtime

        with self._lock:
            if self._found is None:
                self._found = Runtime.find(self._runtime_name, _state(self._operation.root))
            return self._found

    def _mounts(self, step: RunStep, network: str, snapshot: str) -> tuple[SpecMount, ...]:
        from lamina.containers.spec import HOST_NETWORK, SpecMount

        kind = "host" if network == HOST_NETWORK else "bridge"
        files = {
            "/etc/resolv.conf": self._networks.resolv_conf(kind),
            "/etc/hosts": self._networks.hosts_file(kind, hostname=HOSTNAME),
        }
        mounts: list[SpecMount] = []
        for place, content in files.items():
            file = self._operation.folder / f"{snapshot[:12]}-{posixpath.basename(place)}"
            file.write_bytes(content)
            file.chmod(0o644)
            mounts.append(SpecMount(place, "bind", str(file), ("rbind", "ro")))
        if step.script is not None:
            folder = self._operation.folder / f"{snapshot[:12]}-pipes"
            folder.mkdir(mode=0o755)
            script = folder / step.script.name
            script.write_text(step.script.content)
            script.chmod(0o755)
            mounts.append(SpecMount("/dev/pipes", "bind", str(folder), ("rbind", "ro")))
        return tuple(mounts)

    @property
    def _network_id(self) -> str:
        return f"build-{self._operation.id}"

    def _network(self, wished: str) -> str:
        """What the runtime is told: `host`, a namespace's path, or nothing for an empty one."""
        from lamina.containers.spec import HOST_NETWORK

        if wished in ("none", "host"):
            return HOST_NETWORK if wished == "host" else ""
        with self._lock:
            if self._namespace is None:
                try:
                    endpoint = self._networks.connect(
                        self._network_id, kept_by=self._operation.folder
                    )
                except Unsupported:
                    if wished == "bridge":
                        raise
                    # Without netavark there is no bridge; the host's network serves a build.
                    return HOST_NETWORK
                self._namespace = endpoint.namespace
            return self._namespace

    def _scaffold_layer(self) -> ChainID | None:
        """The layer below all others that holds places for mounts; None where there can be none."""
        if self._layers.driver.capabilities.layers_depend_on_parent:
            return None
        with self._lock:
            if self._scaffold is None:
                snapshot = os.urandom(32).hex()
                self._layers.prepare(snapshot, None, kind="init", op=self._operation)
                fill_scaffold(self._layers.mount(snapshot))
                self._layers.unmount(snapshot)
                self._scaffold = self._layers.commit(self._operation, snapshot).chain_id
            return self._scaffold

    # COPY, ADD

    def _copy(self, step: CopyStep, root: Path, files: Gathered | None) -> None:
        owner = _owner(step.owner, root)
        if owner is None and step.origin is None:
            owner = (0, 0)
        with Copier(root, owner=owner, mode=step.mode) as copier:
            target = copier.destination(step.destination)
            into = step.destination_is_folder or copier.is_folder(target)
            for name, content in step.inline:
                copier.write(content, _inside(target, name) if into else target)
            for source in files.sources if files else ():
                assert files is not None
                if step.unpack and source.top.is_file:
                    chosen = _owner(step.owner, root)
                    if _unpacked(copier, files.tree, source, target, chosen):
                        continue
                folder = source.top.is_folder
                place = _inside(target, source.name) if into and not folder else target
                copier.copy(files.tree, source.members, place)


def end_process(root: DataRoot, runtime: str | None, name: str) -> None:
    """Kill the command of a build whose process died, and all that the runtime kept of it."""
    from lamina.containers.runtime import Runtime

    if os.path.exists(_state(root) / name):
        Runtime.find(runtime, _state(root)).delete(name)


def _state(root: DataRoot) -> Path:
    return root.run / "build"


def _unpacked(
    copier: Copier, tree: Tree, source: Source, target: str, owner: tuple[int, int] | None
) -> bool:
    """Extract a source that is a tar archive into the folder `target`; false where it is none."""
    descriptor = tree.open(source.top.path)
    try:
        if not is_archive(descriptor):
            return False
        copier.make_folders(target)
        folder = copier.open_folder(target)
        try:
            unpack(descriptor, folder, owner)
        finally:
            os.close(folder)
    finally:
        os.close(descriptor)
    return True


def _make_workdir(step: WorkdirStep, root: Path) -> None:
    from lamina.containers.users import resolve_user

    owner: tuple[int, int] | None = None
    if step.user:
        user = resolve_user(step.user, str(root))
        owner = (user.uid, user.gid)
    with Copier(root, owner=owner, mode=None) as copier:
        copier.make_folders(copier.destination(step.path))


def _owner(text: str, root: Path) -> tuple[int, int] | None:
    """The numbers that `--chown` means in this filesystem. A number alone is the group's too."""
    from lamina.containers.users import resolve_user

    if not text:
        return None
    user, _, group = text.partition(":")
    if not user or (":" in text and not group):
        raise InvalidInput(f"invalid user or group in --chown={text}")
    try:
        found = resolve_user(text, str(root))
    except NotFound as error:
        raise NotFound(f"--chown={text}: {error}") from None
    if not group and user.isdigit():
        return found.uid, found.uid
    return found.uid, found.gid


def _inside(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
