"""Building an image of a Dockerfile and a context.

    result = Builder(root, layers, images, networks).build(BuildRequest(context=Path("src")))

One operation a build: what it makes on the way is leased to it, and the image's row is the commit
point. A build that fails, is interrupted or killed leaves the cache records of the steps that were
done, and nothing else.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from lamina.build.cache import BuildCache
from lamina.build.dockerfile import DockerfileError
from lamina.build.events import Listener, ignore
from lamina.build.executor import Executor
from lamina.build.export import Reached, image_config
from lamina.build.inputs import DOCKERFILE_LIMIT_BYTES, Inputs, full_name
from lamina.build.narration import Narrator
from lamina.build.outline import Wishes, outline
from lamina.build.plan import plan
from lamina.build.refusals import BuildFailed, NotSupportedHere, Place
from lamina.build.request import BuildRequest, BuildResult
from lamina.build.solver import Solver
from lamina.build.steps import Plan
from lamina.digests import ImageID
from lamina.errors import Cancelled, InvalidInput, LaminaError
from lamina.images.platform import Platform
from lamina.images.reference import Reference

if TYPE_CHECKING:
    from lamina.build.dockerignore import IgnoreRules
    from lamina.images.image import Image
    from lamina.images.store import ImageStore
    from lamina.layers.store import LayerStore
    from lamina.networks.store import NetworkStore
    from lamina.store.operations import Operation
    from lamina.store.root import DataRoot

__all__ = ["DOCKERFILE_LIMIT_BYTES", "BuildRequest", "BuildResult", "Builder"]

NETWORKS = ("default", "bridge", "host", "none")


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
        narrator = Narrator(listener)
        place = Place(request.dockerfile.name if request.dockerfile else "Dockerfile")
        inputs = Inputs(request, narrator, place)
        with self._root.operation("build") as operation, ExitStack() as stack:
            planned, rules, bases = self._planned(request, inputs, place)
            context = inputs.context(planned, rules, f"lamina::{operation.id}", stack)
            executor = Executor(operation, self._layers, self._networks, self._runtime)
            stack.callback(executor.close)
            solver = Solver(
                operation,
                self._layers,
                executor,
                self.cache,
                narrator,
                place,
                bases,
                context,
                use_cache=request.use_cache,
            )
            reached = solver.solve(planned)
            image = self._export(operation, reached, tags, narrator)
        return BuildResult(image, _warnings(planned))

    def _planned(
        self, request: BuildRequest, inputs: Inputs, place: Place
    ) -> tuple[Plan, IgnoreRules, dict[str, Image]]:
        """All that can be known, and refused, before anything runs."""
        wishes = Wishes(
            Platform.host(), request.args, request.target, request.labels, request.network
        )
        try:
            outlined = outline(inputs.definition(), wishes)
            bases = inputs.base_images(outlined, self._images)
            rules = inputs.ignore_rules()
            configs = {name: image.config for name, image in bases.items()}
            planned = plan(outlined, configs, {name: full_name(name) for name in bases})
        except (DockerfileError, NotSupportedHere) as error:
            raise place.failed(error, error.lines) from error
        except (Cancelled, BuildFailed):
            raise
        except LaminaError as error:
            raise place.failed(error, None) from error
        return planned, rules, bases

    def _export(
        self,
        operation: Operation,
        reached: Reached,
        tags: tuple[Reference, ...],
        narrator: Narrator,
    ) -> Image:
        with narrator.step("exporting to image") as telling:
            begun = telling.status("exporting layers", done=False)
            stack = self._layers.stack(reached.chain)
            encoded = image_config(reached, [layer.diff_id for layer in stack]).encode()
            telling.status("exporting layers", started_s=begun)
            writing = f"writing image {ImageID.of(encoded)}"
            begun = telling.status(writing, done=False)
            image = self._images.create(operation, encoded, tags=tags)
            telling.status(writing, started_s=begun)
            for tag in tags:
                telling.status(f"naming to {tag}")
        return image


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
