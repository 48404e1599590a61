"""Building an image of a Dockerfile and a context.

    result = Builder(root, layers, images, networks).build(BuildRequest(context=Path("src")))

One operation a build: what it makes on the way is leased to it, and the image's row is the commit
point. A build that fails, is interrupted or killed leaves the cache records of the steps that were
done, and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.build.cache import BuildCache, Made, step_key
from lamina.build.dockerfile import Dockerfile, DockerfileError, Lines, parse
from lamina.build.dockerignore import IgnoreRules
from lamina.build.events import Listener, ignore
from lamina.build.executor import Executor
from lamina.build.narration import Narrator, Telling
from lamina.build.outline import Outline, Wishes, outline
from lamina.build.plan import CopyStep, Plan, PlannedStage, Step, plan
from lamina.build.refusals import BuildFailed, Excerpt, NotSupportedHere
from lamina.build.sources import Gathered, Gatherer
from lamina.build.tree import Tree
from lamina.digests import ChainID, ImageID
from lamina.errors import Cancelled, InvalidInput, LaminaError, NotFound
from lamina.images.config import HistoryEntry, ImageConfig, created_now
from lamina.images.platform import Platform
from lamina.images.reference import Reference
from lamina.images.times import rfc3339

if TYPE_CHECKING:
    from lamina.images.image import Image
    from lamina.images.store import ImageStore
    from lamina.layers.store import LayerStore
    from lamina.networks.store import NetworkStore
    from lamina.store.operations import Operation
    from lamina.store.root import DataRoot

COMMENT = "buildkit.dockerfile.v0"
"""What tools look for in a history to know whose words its steps are written in."""
DOCKERFILE_LIMIT_BYTES = 16 << 20
NETWORKS = ("default", "bridge", "host", "none")


@dataclass(frozen=True)
class BuildRequest:
    """What to build. Without a context, there is nothing to COPY from.

    `dockerfile` is the file's path (None: `Dockerfile` in the context), `definition` its content
    where it is not in a file.
    """

    context: Path | None = None
    dockerfile: Path | None = None
    definition: bytes | None = None
    tags: tuple[str, ...] = ()
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    network: str = "default"
    use_cache: bool = True


@dataclass(frozen=True)
class BuildResult:
    """The image that was built, and what its maker should know."""

    image: Image
    warnings: tuple[str, ...]

    @property
    def image_id(self) -> ImageID:
        """The id of the image."""
        return self.image.id


class Builder:
    """Builds into one data root."""

    def __init__(
        self,
        root: DataRoot,
        layers: LayerStore,
        images: ImageStore,
        networks: NetworkStore,
        *,
        runtime: str | None = None,
    ) -> None:
        self._root = root
        self._layers = layers
        self._images = images
        self._networks = networks
        self._runtime = runtime

    @property
    def cache(self) -> BuildCache:
        """What earlier builds left for later ones."""
        return BuildCache(self._root, self._layers)

    def build(self, request: BuildRequest, listener: Listener = ignore) -> BuildResult:
        """Build an image; BuildFailed says why it could not be, and where in the Dockerfile."""
        tags = tuple(_tag(text) for text in request.tags)
        if request.network not in NETWORKS:
            raise InvalidInput(
                f"invalid network {request.network!r}", remedy="want default, host or none"
            )
        with self._root.operation("build") as operation, ExitStack() as stack:
            executor = Executor(operation, self._layers, self._networks, self._runtime)
            stack.callback(executor.close)
            build = _Build(
                request,
                tags,
                Narrator(listener),
                operation,
                executor,
                self._layers,
                self._images,
                self.cache,
                stack,
            )
            return build.run()


@dataclass(frozen=True)
class _Reached:
    """A stage that was carried out: its filesystem, configuration and history."""

    chain: ChainID | None
    planned: PlannedStage
    history: tuple[HistoryEntry, ...]
    base: ImageConfig | None


class _Build:
    """One build, from the request to the image."""

    def __init__(
        self,
        request: BuildRequest,
        tags: tuple[Reference, ...],
        narrator: Narrator,
        operation: Operation,
        executor: Executor,
        layers: LayerStore,
        images: ImageStore,
        cache: BuildCache,
        stack: ExitStack,
    ) -> None:
        self._request = request
        self._tags = tags
        self._narrator = narrator
        self._operation = operation
        self._executor = executor
        self._layers = layers
        self._images = images
        self._cache = cache
        self._stack = stack
        self._name = request.dockerfile.name if request.dockerfile else "Dockerfile"
        self._text = ""
        self._bases: dict[str, Image] = {}
        self._context: Tree | None = None
        self._gathered: dict[int, Gathered | LaminaError] = {}

    def run(self) -> BuildResult:
        try:
            dockerfile = self._definition()
            outlined = outline(
                dockerfile,
                Wishes(
                    Platform.host(),
                    self._request.args,
                    self._request.target,
                    self._request.labels,
                    self._request.network,
                ),
            )
            names = self._load_metadata(outlined)
            rules = self._ignore_rules()
            configs = {name: image.config for name, image in self._bases.items()}
            planned = plan(outlined, configs, names)
        except (DockerfileError, NotSupportedHere) as error:
            raise self._failed(error, error.lines) from error
        except (Cancelled, BuildFailed):
            raise
        except LaminaError as error:
            raise self._failed(error, None) from error
        self._load_context(planned, rules)
        reached = self._stages(planned)
        image = self._export(reached)
        return BuildResult(image, _warnings(planned))

    # Before anything runs

    def _definition(self) -> Dockerfile:
        title = f"[internal] load build definition from {self._name}"
        with self._narrator.step(title) as telling:
            data = self._request.definition
            if data is None:
                data = self._read_dockerfile()
            telling.status("transferring dockerfile", size_bytes=len(data))
        self._text = data.decode(errors="replace")
        return parse(data)

    def _read_dockerfile(self) -> bytes:
        path = self._request.dockerfile
        if path is None:
            if self._request.context is None:
                raise InvalidInput("a build needs a Dockerfile or a context")
            path = self._request.context / "Dockerfile"
        try:
            with open(path, "rb") as file:
                data = file.read(DOCKERFILE_LIMIT_BYTES + 1)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise NotFound(f"failed to read dockerfile: open {self._name}: {reason}") from None
        if len(data) > DOCKERFILE_LIMIT_BYTES:
            raise InvalidInput(f"{self._name} is larger than {DOCKERFILE_LIMIT_BYTES} bytes")
        return data

    def _load_metadata(self, outlined: Outline) -> dict[str, str]:
        """Find the images that are begun from; their full names by the names as written."""
        names: dict[str, str] = {}
        for name in outlined.images:
            names[name] = shown = _full_name(name)
            with self._narrator.step(f"[internal] load metadata for {shown}"):
                try:
                    self._bases[name] = self._images.resolve(name)
                except (NotFound, InvalidInput) as error:
                    start = outlined.base_lines(name)
                    reason = NotFound(
                        f"{name}: failed to resolve source metadata for {shown}: {error.message}",
                        remedy="import, load or build it first",
                    )
                    raise self._failed(reason, start.lines if start else None) from error
        return names

    def _ignore_rules(self) -> IgnoreRules:
        with self._narrator.step("[internal] load .dockerignore") as telling:
            data = b""
            for path in self._ignore_files():
                try:
                    data = path.read_bytes()
                    break
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise InvalidInput(f"failed to read {path.name}: {error.strerror}") from None
            # Docker's client always sends the empty archive's two bytes.
            telling.status("transferring context", size_bytes=len(data) or 2)
            return IgnoreRules.read(data.decode(errors="surrogateescape"))

    def _ignore_files(self) -> list[Path]:
        files: list[Path] = []
        if self._request.context is None:
            return files
        if self._request.definition is None:
            dockerfile = self._request.dockerfile or self._request.context / "Dockerfile"
            files.append(dockerfile.with_name(f"{dockerfile.name}.dockerignore"))
        return [*files, self._request.context / ".dockerignore"]

    def _load_context(self, planned: Plan, rules: IgnoreRules) -> None:
        steps = [
            step
            for stage in planned.stages
            for step in stage.steps
            if isinstance(step, CopyStep) and step.origin is None and step.sources
        ]
        if not steps:
            return
        with self._narrator.step("[internal] load build context") as telling:
            if self._request.context is None:
                reason = InvalidInput("there is no build context to copy from")
                self._gathered |= {id(step): reason for step in steps}
                return
            try:
                self._context = self._stack.enter_context(Tree(self._request.context, rules))
            except OSError as error:
                reason = InvalidInput(f"cannot read the build context: {error.strerror}")
                raise self._failed(reason, None) from None
            counter = _Counter(telling)
            label = f"lamina::{self._operation.id}"
            gatherer = Gatherer(self._context, False, label, counter.count)
            for step in steps:
                try:
                    self._gathered[id(step)] = gatherer.gather(step)
                except LaminaError as error:
                    self._gathered[id(step)] = error
            counter.finish()

    # Stages

    def _stages(self, planned: Plan) -> _Reached:
        self._begin_from(planned)
        futures: dict[int, Future[_Reached]] = {}
        with ThreadPoolExecutor(len(planned.stages), thread_name_prefix="stage") as pool:
            for stage in planned.stages:
                futures[stage.index] = pool.submit(self._stage, stage, futures)
            try:
                for future in as_completed(futures.values()):
                    future.result()
            except BaseException:
                self._executor.cancel()
                raise
        return futures[planned.stages[-1].index].result()

    def _begin_from(self, planned: Plan) -> None:
        """Hold on to the base images; stages that begin from one image share the telling of it."""
        titles = {stage.base.image: stage.base_title for stage in reversed(planned.stages)}
        for name, image in self._bases.items():
            title = titles.get(name) or f"FROM {_full_name(name)}"
            with self._narrator.step(title) as telling:
                if image.chain is not None:
                    self._layers.lease(self._operation, image.chain)
                telling.cached = True

    def _stage(self, stage: PlannedStage, futures: Mapping[int, Future[_Reached]]) -> _Reached:
        chain: ChainID | None = None
        history: tuple[HistoryEntry, ...] = ()
        base: ImageConfig | None = None
        if stage.base.stage is not None:
            below = futures[stage.base.stage].result()
            chain, history, base = below.chain, below.history, below.base
        elif stage.base.image:
            image = self._bases[stage.base.image]
            chain, history, base = image.chain, image.config.history, image.config
        times: list[str] = []
        for step in stage.steps:
            made = self._step(step, chain, futures)
            chain = made.chain
            times.append(rfc3339(made.created_ns))
        entries = tuple(
            HistoryEntry(
                "" if deed.step is None else times[deed.step],
                deed.created_by,
                comment=COMMENT,
                empty_layer=deed.step is None,
            )
            for deed in stage.deeds
        )
        return _Reached(chain, stage, (*history, *entries), base)

    def _step(
        self, step: Step, parent: ChainID | None, futures: Mapping[int, Future[_Reached]]
    ) -> Made:
        with ExitStack() as stack:
            tree, failure = self._context, None
            files: Gathered | None = None
            if isinstance(step, CopyStep) and step.sources:
                if step.origin is not None:
                    source = self._origin_chain(step, futures)
                    tree = stack.enter_context(Tree(stack.enter_context(self._layers.view(source))))
                else:
                    found = self._gathered[id(step)]
                    files, failure = (found, None) if isinstance(found, Gathered) else (None, found)
            telling = self._narrator.step(step.title)
            try:
                with telling:
                    if failure is not None:
                        raise failure
                    if files is None and isinstance(step, CopyStep) and step.sources:
                        assert tree is not None
                        label = f"lamina::{self._operation.id}"
                        files = Gatherer(tree, True, label).gather(step)
                    return self._made(step, parent, files, tree, telling)
            except Cancelled:
                raise
            except LaminaError as error:
                raise self._failed(error, step.lines, telling) from error

    def _made(
        self,
        step: Step,
        parent: ChainID | None,
        files: Gathered | None,
        tree: Tree | None,
        telling: Telling,
    ) -> Made:
        key = step_key(step, parent, files.digest if files else "")
        if self._request.use_cache:
            found = self._cache.find(self._operation, key)
            if found is not None:
                telling.cached = True
                return found
        layer = self._executor.carry_out(step, parent, files, tree, telling)
        made = Made(layer.chain_id, time.time_ns())
        self._cache.store(key, made, step.title)
        return made

    def _origin_chain(
        self, step: CopyStep, futures: Mapping[int, Future[_Reached]]
    ) -> ChainID | None:
        assert step.origin is not None
        if step.origin.stage is not None:
            return futures[step.origin.stage].result().chain
        return self._bases[step.origin.image].chain if step.origin.image else None

    # The image

    def _export(self, reached: _Reached) -> Image:
        with self._narrator.step("exporting to image") as telling:
            begun = telling.status("exporting layers", done=False)
            stack = self._layers.stack(reached.chain)
            history = _dated(reached.history)
            base, platform = reached.base, Platform.host()
            config = ImageConfig(
                architecture=base.architecture if base else platform.architecture,
                os=base.os if base else platform.os,
                variant=base.variant if base else platform.variant,
                os_version=base.os_version if base else "",
                diff_ids=tuple(layer.diff_id for layer in stack),
                run=reached.planned.run,
                history=history,
                created=history[-1].created if history else created_now(),
                author=reached.planned.author,
            )
            telling.status("exporting layers", started_s=begun)
            encoded = config.encode()
            writing = f"writing image {ImageID.of(encoded)}"
            begun = telling.status(writing, done=False)
            image = self._images.create(self._operation, encoded, tags=self._tags)
            telling.status(writing, started_s=begun)
            for tag in self._tags:
                telling.status(f"naming to {tag}")
        return image

    def _failed(
        self, error: LaminaError, lines: Lines | None, telling: Telling | None = None
    ) -> BuildFailed:
        if isinstance(error, NotSupportedHere):
            error = NotSupportedHere(
                f"{self._name}:{error.lines.first}: {error.message}", error.lines
            )
        excerpt = Excerpt(self._name, self._text, lines) if lines else None
        if telling is None:
            return BuildFailed(error, excerpt=excerpt)
        return BuildFailed(error, excerpt=excerpt, step=telling.name, output=telling.last_lines(8))


class _Counter:
    """Tells how much of the context was read, not more often than someone could watch."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self._size = 0
        self._begun: float | None = None
        self._told = time.monotonic()

    def count(self, size_bytes: int) -> None:
        self._size += size_bytes
        now = time.monotonic()
        if now - self._told > 0.15:
            self._told = now
            self._begun = self._status(done=False)

    def finish(self) -> None:
        self._status(done=True)

    def _status(self, *, done: bool) -> float:
        return self._telling.status(
            "transferring context", started_s=self._begun, size_bytes=self._size, done=done
        )


def _dated(history: tuple[HistoryEntry, ...]) -> tuple[HistoryEntry, ...]:
    """Give every step a time: its own, or of the layer before, as BuildKit does.

    Steps before the first new layer take that one's; where there is none, the last one's there is.
    """
    created = ""
    undated = False
    for entry in history:
        if entry.created:
            created = entry.created
            if undated:
                break
        else:
            undated = True
    created = created or created_now()
    dated: list[HistoryEntry] = []
    undated = False
    for entry in history:
        if entry.created:
            if undated:
                created = entry.created
            dated.append(entry)
        else:
            undated = True
            dated.append(replace(entry, created=created))
    return tuple(dated)


def _full_name(name: str) -> str:
    try:
        return str(Reference.parse(name))
    except InvalidInput:
        return name


def _tag(text: str) -> Reference:
    try:
        reference = Reference.parse(text)
    except InvalidInput as error:
        raise InvalidInput(f'invalid tag "{text}": {error.message}') from None
    if reference.digest is not None:
        raise InvalidInput(f'invalid tag "{text}": a digest cannot be chosen')
    return reference


def _warnings(planned: Plan) -> tuple[str, ...]:
    if not planned.unused_args:
        return ()
    names = " ".join(planned.unused_args)
    return (f"[Warning] One or more build-args [{names}] were not consumed",)
