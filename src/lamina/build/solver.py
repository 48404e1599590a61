"""Carrying out a plan: stages at once where they can be, each step found in the cache or done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, as_completed
from contextlib import ExitStack
from typing import TYPE_CHECKING

from lamina.build.cache import BuildCache, Made, step_key
from lamina.build.export import Reached, told_history
from lamina.build.inputs import Context, full_name
from lamina.build.outline import Origin
from lamina.build.refusals import Place
from lamina.build.sources import Gathered, Gatherer
from lamina.build.steps import CopyStep, Plan, PlannedStage, Step
from lamina.build.threads import accept_interrupts, join_for_certain, start_uninterrupted
from lamina.build.tree import Tree
from lamina.digests import ChainID
from lamina.errors import Cancelled, LaminaError
from lamina.images.config import HistoryEntry, ImageConfig
from lamina.images.times import rfc3339

if TYPE_CHECKING:
    from lamina.build.executor import Executor
    from lamina.build.narration import Narrator, Telling
    from lamina.images.image import Image
    from lamina.layers.store import LayerStore
    from lamina.store.operations import Operation


class Solver:
    """Carries out the plan of one build."""

    def __init__(
        self,
        operation: Operation,
        layers: LayerStore,
        executor: Executor,
        cache: BuildCache,
        narrator: Narrator,
        place: Place,
        bases: Mapping[str, Image],
        context: Context,
        *,
        use_cache: bool,
    ) -> None:
        """Without `use_cache` every step is done, whatever is remembered."""
        self._operation = operation
        self._layers = layers
        self._executor = executor
        self._cache = cache
        self._narrator = narrator
        self._place = place
        self._bases = bases
        self._context = context
        self._use_cache = use_cache

    def solve(self, planned: Plan) -> Reached:
        """Carry out every stage of the plan; what the last of them came to."""
        self._begin_from(planned)
        futures: dict[int, Future[Reached]] = {stage.index: Future() for stage in planned.stages}
        threads = [
            threading.Thread(
                target=self._fulfil, args=(stage, futures), name=f"stage {stage.index}"
            )
            for stage in planned.stages
        ]
        stop: Callable[[], None] | None = self._executor.cancel
        try:
            start_uninterrupted(threads)
            for future in as_completed(futures.values()):
                future.result()
            stop = None
        finally:
            join_for_certain(threads, stop)
        return futures[planned.stages[-1].index].result()

    def _fulfil(self, stage: PlannedStage, futures: Mapping[int, Future[Reached]]) -> None:
        try:
            accept_interrupts()
            futures[stage.index].set_result(self._stage(stage, futures))
        except BaseException as error:
            futures[stage.index].set_exception(error)

    def _begin_from(self, planned: Plan) -> None:
        """Hold on to the base images; stages that begin from one image share the telling of it."""
        titles = {stage.base.image: stage.base_title for stage in reversed(planned.stages)}
        for name, image in self._bases.items():
            title = titles.get(name) or f"FROM {full_name(name)}"
            with self._narrator.step(title) as telling:
                if image.chain is not None:
                    self._layers.lease(self._operation, image.chain)
                telling.cached = True

    def _stage(self, stage: PlannedStage, futures: Mapping[int, Future[Reached]]) -> Reached:
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
        return Reached(chain, stage, (*history, *told_history(stage, times)), base)

    def _step(
        self, step: Step, parent: ChainID | None, futures: Mapping[int, Future[Reached]]
    ) -> Made:
        with ExitStack() as stack:
            tree: Tree | None = None
            if isinstance(step, CopyStep) and step.origin is not None:
                # Waiting for another stage is no part of this step, so it is not told yet.
                source = self._chain_of(step.origin, futures)
                tree = stack.enter_context(Tree(stack.enter_context(self._layers.view(source))))
            telling = self._narrator.step(step.title)
            try:
                with telling:
                    files = self._files(step, tree)
                    return self._made(step, parent, files, telling)
            except Cancelled:
                raise
            except LaminaError as error:
                raise self._place.failed(error, step.lines, telling) from error

    def _files(self, step: Step, tree: Tree | None) -> Gathered | None:
        """What a step copies: from this tree, or from the context."""
        if not isinstance(step, CopyStep) or not step.sources:
            return None
        if tree is None:
            return self._context.files(step)
        return Gatherer(tree, True, f"lamina::{self._operation.id}").gather(step)

    def _made(
        self, step: Step, parent: ChainID | None, files: Gathered | None, telling: Telling
    ) -> Made:
        key = step_key(step, parent, files.digest if files else "")
        if self._use_cache:
            found = self._cache.find(self._operation, key)
            if found is not None:
                telling.cached = True
                return found
        layer = self._executor.carry_out(step, parent, files, telling)
        made = Made(layer.chain_id, time.time_ns())
        self._cache.store(key, made, step.title)
        return made

    def _chain_of(self, origin: Origin, futures: Mapping[int, Future[Reached]]) -> ChainID | None:
        if origin.stage is not None:
            return futures[origin.stage].result().chain
        return self._bases[origin.image].chain if origin.image else None
