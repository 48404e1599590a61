"""Checking layers: each file on disk against the journal of its layer, and mending what differs.

A layer is leased while it is looked at, so that it stays; containers run on. Only layers are
looked at: what a container writes is nobody's damage. Layers are checked base first, and what is
found wrong in one is not told again of those above that only take it over.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.digests import ChainID, DiffID
from lamina.errors import Corrupt, LaminaError, NotFound
from lamina.layers.comparison import Comparison, Fault
from lamina.layers.expected import ExpectedTree, Node
from lamina.tar.lower import Below, StackBelow

if TYPE_CHECKING:
    from lamina.layers.mending import Source
    from lamina.layers.records import Content, Layer
    from lamina.layers.store import LayerStore
    from lamina.store.operations import Operation

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Damage:
    """Something of a layer is not as its journal says. `path` is empty where it is all of it."""

    diff_id: DiffID
    path: str
    problem: str
    mended: bool = False


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is to be done: a share of the files' contents, and a time (None: all)."""

    sample: float = 1.0
    max_duration_s: float | None = None


@dataclass(slots=True)
class LayersChecked:
    """What came of it."""

    layers: int = 0
    unfinished: int = 0
    """Layers for which the time was too short."""
    files: int = 0
    read_bytes: int = 0
    damage: list[Damage] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    """By cache id: what the size counters of a content must say."""


class OutOfTime(Exception):
    """The time that was allowed is over."""


def check_layers(
    store: LayerStore,
    wanted: Iterable[Layer],
    *,
    budget: Budget,
    repair: bool = False,
    source: Source | None = None,
) -> LayersChecked:
    """Check the contents of these layers; with `repair`, mend what is damaged."""
    contents: dict[str, Layer] = {}
    for layer in sorted(wanted, key=lambda each: each.depth):
        contents.setdefault(layer.cache_id, layer)
    chosen = list(contents.values())
    if budget.max_duration_s is not None:
        random.shuffle(chosen)  # so that many short checks come to everything
    run = _Run(store, budget, repair=repair, source=source)
    for layer in chosen:
        run.layer(layer)
    return run.result


class _Run:
    def __init__(
        self, store: LayerStore, budget: Budget, *, repair: bool, source: Source | None
    ) -> None:
        self._store = store
        self._records = store.records
        self._budget = budget
        self._repair = repair
        self._source = source
        self._end = float("inf")
        if budget.max_duration_s is not None:
            self._end = time.monotonic() + budget.max_duration_s
        self._known: set[tuple[str, bytes]] = set()
        self.result = LayersChecked()

    def layer(self, layer: Layer) -> None:
        """Check one layer's content."""
        if time.monotonic() >= self._end:
            self.result.unfinished += 1
            return
        with self._store.root.operation("check") as op:
            op.begin()
            try:
                with self._store.root.database.transaction():
                    content = self._records.content(self._records.get(layer.chain_id).cache_id)
                    op.lease(self._store.driver.name, layer.chain_id)
            except NotFound:
                return  # removed since it was listed
            try:
                self._content(op, layer, content)
                self.result.layers += 1
            except OutOfTime:
                self.result.unfinished += 1

    def _content(self, op: Operation, layer: Layer, content: Content) -> None:
        with _OpenLayer(self._store, layer, content) as opened:
            try:
                tree = opened.expected()
                self.result.sizes[content.cache_id] = tree.size_bytes
                root = opened.open_root()
                faults = list(self._faults(opened, tree, root))
            except Corrupt as error:
                self._whole(op, layer, content, error)
                return
            if not faults:
                if content.boot_id is not None and self._budget.sample >= 1:
                    self._trust(op, content)
                return
            left = faults
            if self._repair:
                self._mend(op, opened, tree, root, faults)
                left = list(self._faults(opened, tree, root, only=faults))
            self._tell(layer, faults, left)
            if any(fault.in_content for fault in left):
                self._records.mark_suspect(content.cache_id)
            elif not left and content.boot_id is not None and self._budget.sample >= 1:
                self._trust(op, content)

    def _faults(
        self,
        opened: _OpenLayer,
        tree: ExpectedTree,
        root: int,
        *,
        only: Sequence[Fault] | None = None,
    ) -> Iterator[Fault]:
        """What differs on disk; `only`: after a repair, contents of no other files are read."""
        sampled = self._budget.sample
        again = None if only is None else {fault.path for fault in only}
        own = sampled >= 1 and only is None

        def reads(node: Node) -> bool:
            if again is not None:
                return True
            if own and node.layer == tree.top and not node.is_sparse:
                return False
            return sampled >= 1 or random.random() < sampled

        comparison = Comparison(tree, below=opened.below, reads=reads, paused=self._pause)
        told: set[bytes] = set()
        for fault in comparison.faults(root):
            told.add(fault.path)
            if fault.node is not None and fault.node.implied and self._is_inherited(opened, fault):
                continue
            yield fault
        if only is None:
            self.result.files += comparison.files
        self.result.read_bytes += comparison.read_bytes
        if own:
            yield from self._contents(opened, tree, told)

    def _contents(
        self, opened: _OpenLayer, tree: ExpectedTree, told: set[bytes]
    ) -> Iterator[Fault]:
        """The layer's files in the order of its tar, whose digest is checked on the way."""
        from lamina.layers.journal import differences

        for difference in differences(opened.journal, opened.root, opened.content.diff_id):
            self._pause()
            if difference is None or difference.path in told:
                continue
            told.add(difference.path)
            node = tree.find(difference.path)
            yield Fault(difference.path, difference.problem, node, in_content=True)
        self.result.read_bytes += opened.content.size_bytes

    def _is_inherited(self, opened: _OpenLayer, fault: Fault) -> bool:
        """Whether an implied folder differs only from what is itself damaged further below."""
        return any((cache_id, fault.path) in self._known for cache_id in opened.lower_ids)

    def _mend(
        self,
        op: Operation,
        opened: _OpenLayer,
        tree: ExpectedTree,
        root: int,
        faults: Sequence[Fault],
    ) -> None:
        from lamina.layers.mending import Mending

        scratch = op.folder / f"mend-{os.urandom(4).hex()}"
        scratch.mkdir(mode=0o700)
        Mending(
            tree,
            root,
            scratch,
            below=opened.below,
            copies=lambda diff_id: self._copies(diff_id, opened.content.cache_id),
            source=self._source,
        ).mend(faults)
        op.wrote_layers = True

    def _copies(self, diff_id: DiffID, but: str) -> Iterator[Path]:
        """The folders of other contents of this diff id, of this driver and of others."""
        from lamina.drivers.selection import load

        root = self._store.root
        rows = root.database.read(
            "SELECT driver, cache_id FROM contents WHERE diff_id=? AND cache_id<>?", (diff_id, but)
        )
        for row in rows:
            driver = self._store.driver
            try:
                if row["driver"] != driver.name:
                    driver = load(row["driver"])(root.driver_home(row["driver"]), {})
                yield driver.layer_root(row["cache_id"])
            except (LaminaError, OSError):
                continue

    def _whole(self, op: Operation, layer: Layer, content: Content, error: Corrupt) -> None:
        """The layer's folder or journal is gone or damaged: all of it is made anew, or nothing."""
        self._records.mark_suspect(content.cache_id)
        problem = error.message.rpartition(": ")[2]
        mended = False
        if self._repair and self._source is not None:
            opened = self._source(content.diff_id)
            if opened is not None:
                with opened as stream:
                    self._store.apply(op, stream, layer.parent, expected=content.diff_id)  # type: ignore[arg-type]
                mended = True
        self.result.damage.append(Damage(content.diff_id, "", problem, mended))

    def _trust(self, op: Operation, content: Content) -> None:
        """All of it was read and is right. (A flush at the operation's end covers it, if need.)"""
        if content.boot_id != self._store.root.boot_id:
            self._records.mark_covered(content.cache_id)

    def _tell(self, layer: Layer, faults: Sequence[Fault], left: Sequence[Fault]) -> None:
        remaining = {(fault.path, fault.problem) for fault in left}
        seen = {(fault.path, fault.problem) for fault in faults}
        for fault in [*faults, *(each for each in left if (each.path, each.problem) not in seen)]:
            stands = (fault.path, fault.problem) in remaining
            if stands:
                self._known.add((layer.cache_id, fault.path))
            shown = "/" + fault.path.decode("utf-8", "backslashreplace")
            mended = self._repair and not stands
            self.result.damage.append(Damage(layer.diff_id, shown, fault.problem, mended))

    def _pause(self) -> None:
        if time.monotonic() >= self._end:
            raise OutOfTime


class _OpenLayer:
    """One layer's content with what it is compared by; descriptors are closed at the end."""

    def __init__(self, store: LayerStore, layer: Layer, content: Content) -> None:
        self._store = store
        self._layer = layer
        self.content = content
        self._stack = ExitStack()
        self._below: Callable[[bytes], Below | None] | None = None
        self.lower_ids = store.cache_ids(layer.parent)
        self._apart = not store.driver.capabilities.layers_depend_on_parent

    @property
    def journal(self) -> Path:
        """Where its journal is."""
        return self._store.journal(self.content.cache_id)

    @property
    def root(self) -> Path:
        """Its folder. Corrupt: there is none."""
        try:
            return self._store.driver.layer_root(self.content.cache_id)
        except NotFound:
            raise Corrupt("its folder is missing") from None

    def open_root(self) -> int:
        """A descriptor of its folder."""
        try:
            fd = os.open(self.root, _FOLDER)
        except (FileNotFoundError, NotADirectoryError):
            raise Corrupt("its folder is missing") from None
        self._stack.callback(os.close, fd)
        return fd

    def expected(self) -> ExpectedTree:
        """What must be in it. Corrupt: a journal is missing or damaged."""
        tree = ExpectedTree(overlay=self._apart)
        if not self._apart:
            for layer in self._store.stack(self._layer.parent):
                tree.apply(self._store.journal(layer.cache_id), layer.diff_id)
        tree.apply(self.journal, self.content.diff_id)
        return tree

    def below(self, path: bytes) -> Below | None:
        """What the layers below show at a path."""
        if self._below is None:
            folders = []
            for cache_id in reversed(self.lower_ids):
                try:
                    folders.append(os.open(self._store.driver.layer_root(cache_id), _FOLDER))
                except (NotFound, FileNotFoundError):
                    continue  # told of that layer
                self._stack.callback(os.close, folders[-1])
            self._below = StackBelow(folders)
        return self._below(path)

    def __enter__(self) -> _OpenLayer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def layers_named(store: LayerStore, text: str) -> list[Layer]:
    """The layer whose chain id, diff id or cache id begins so; NotFound where there is none."""
    digits = text.removeprefix("sha256:")
    found = [
        layer
        for layer in all_layers(store)
        if len(digits) >= 4
        and any(
            id.removeprefix("sha256:").startswith(digits)
            for id in (layer.chain_id, layer.diff_id, layer.cache_id)
        )
    ]
    if not found:
        raise NotFound(f"No such image or layer: {text}")
    return found


def all_layers(store: LayerStore) -> list[Layer]:
    """Every layer of the store's driver."""
    rows = store.root.database.read(
        "SELECT chain_id FROM layers WHERE driver=? ORDER BY depth, chain_id", (store.driver.name,)
    )
    found = (store.find(ChainID(row["chain_id"])) for row in rows)
    return [layer for layer in found if layer is not None]
