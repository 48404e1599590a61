"""What a build reads before anything runs: Dockerfile, base images, ignore patterns, context."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.build.dockerfile import Dockerfile, parse
from lamina.build.dockerignore import IgnoreRules
from lamina.build.outline import Outline
from lamina.build.refusals import Place
from lamina.build.sources import Gathered, Gatherer
from lamina.build.steps import CopyStep, Plan
from lamina.build.tree import Tree
from lamina.errors import InvalidInput, LaminaError, NotFound
from lamina.images.reference import Reference

if TYPE_CHECKING:
    from lamina.build.narration import Narrator, Telling
    from lamina.build.request import BuildRequest
    from lamina.images.image import Image
    from lamina.images.store import ImageStore

DOCKERFILE_LIMIT_BYTES = 16 << 20


class Inputs:
    """The reading side of one build."""

    def __init__(self, request: BuildRequest, narrator: Narrator, place: Place) -> None:
        self._request = request
        self._narrator = narrator
        self._place = place

    def definition(self) -> Dockerfile:
        title = f"[internal] load build definition from {self._place.name}"
        with self._narrator.step(title) as telling:
            data = self._request.definition
            if data is None:
                data = self._read_dockerfile()
            telling.status("transferring dockerfile", size_bytes=len(data))
        self._place.text = data.decode(errors="replace")
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
            raise NotFound(
                f"failed to read dockerfile: open {self._place.name}: {reason}"
            ) from None
        if len(data) > DOCKERFILE_LIMIT_BYTES:
            raise InvalidInput(f"{self._place.name} is larger than {DOCKERFILE_LIMIT_BYTES} bytes")
        return data

    def base_images(self, outlined: Outline, store: ImageStore) -> dict[str, Image]:
        """The images that are begun from, by their names as written."""
        found: dict[str, Image] = {}
        for name in outlined.images:
            shown = full_name(name)
            with self._narrator.step(f"[internal] load metadata for {shown}"):
                try:
                    found[name] = store.resolve(name)
                except (NotFound, InvalidInput) as error:
                    start = outlined.base_lines(name)
                    reason = NotFound(
                        f"{name}: failed to resolve source metadata for {shown}: {error.message}",
                        remedy="import, load or build it first",
                    )
                    raise self._place.failed(reason, start.lines if start else None) from error
        return found

    def ignore_rules(self) -> IgnoreRules:
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

    def context(self, planned: Plan, rules: IgnoreRules, label: str, stack: ExitStack) -> Context:
        """The context, opened for as long as the stack, and what each step copies from it."""
        steps = [
            step
            for stage in planned.stages
            for step in stage.steps
            if isinstance(step, CopyStep) and step.origin is None and step.sources
        ]
        if not steps:
            return Context(None)
        with self._narrator.step("[internal] load build context") as telling:
            if self._request.context is None:
                reason = InvalidInput("there is no build context to copy from")
                return Context(None, {id(step): reason for step in steps})
            try:
                tree = stack.enter_context(Tree(self._request.context, rules))
            except OSError as error:
                reason = InvalidInput(f"cannot read the build context: {error.strerror}")
                raise self._place.failed(reason, None) from None
            counter = _Counter(telling)
            gatherer = Gatherer(tree, False, label, counter.count)
            found: dict[int, Gathered | LaminaError] = {}
            for step in steps:
                try:
                    found[id(step)] = gatherer.gather(step)
                except LaminaError as error:
                    found[id(step)] = error  # told where the step's turn comes
            counter.finish()
        return Context(tree, found)


class Context:
    """The build context: its tree, and for each step what it copies or why it cannot."""

    def __init__(
        self, tree: Tree | None, gathered: Mapping[int, Gathered | LaminaError] | None = None
    ) -> None:
        self.tree = tree
        self._gathered = gathered or {}

    def files(self, step: CopyStep) -> Gathered:
        """What this step copies; raises what stood against it."""
        found = self._gathered[id(step)]
        if isinstance(found, LaminaError):
            raise found
        return found


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


def full_name(name: str) -> str:
    """A name as written, as the full reference that it means."""
    try:
        return str(Reference.parse(name))
    except InvalidInput:
        return name
