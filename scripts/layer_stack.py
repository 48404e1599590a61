"""Draws a data root's stacks of layers, and who shares them, with the public API of Lamina.

Usage: layer_stack.py ROOT [--storage-driver NAME] [--colour]

On top the containers with their thin writable layers; below, each layer once, the newest first,
and where an image has its last layer, its name.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import lamina
from lamina.cli.units import size

if TYPE_CHECKING:
    from lamina.images.history import HistoryStep

INSIDE = 78
BOX = 14


@dataclass(frozen=True)
class Palette:
    """The escape sequences of each kind of thing; all empty without colour."""

    writable: str = ""
    layer: str = ""
    image: str = ""
    plain: str = ""


@dataclass(frozen=True)
class Row:
    """One read-only layer of a stack."""

    made_by: str
    digest: str
    size_bytes: int
    images: tuple[str, ...]


@dataclass(frozen=True)
class Stack:
    """The layers of one image that containers run, newest first, and those containers."""

    rows: Sequence[Row]
    containers: Sequence[tuple[str, int]]


def stacks(engine: lamina.Engine) -> Iterator[Stack]:
    """A stack for each image that has containers."""
    images = list(engine.images.list(intermediate=True))
    ends: dict[str, list[str]] = {}
    for image in images:
        ends.setdefault(str(image.chain), []).extend(str(name.familiar()) for name in image.tags)
    containers = sorted(engine.containers.list(all=True), key=lambda each: each.name)
    for image in images:
        own = [
            (each.name, each.size().size_bytes) for each in containers if each.image_id == image.id
        ]
        if not own:
            continue
        makers = [made_by(step) for step in engine.images.history(image) if step.size_bytes]
        layers = engine.layers.stack(image.chain)[::-1]
        makers += [""] * (len(layers) - len(makers))
        rows = [
            Row(maker, layer.diff_id.short, layer.size_bytes, tuple(ends.get(layer.chain_id, ())))
            for maker, layer in zip(makers, layers, strict=False)
        ]
        yield Stack(rows, own)


def made_by(step: HistoryStep) -> str:
    """What made a layer, without what is the same in all."""
    text = step.created_by.removesuffix(" # buildkit") or step.comment or "imported"
    return text.replace("RUN /bin/sh -c ", "RUN ", 1)


def draw(stack: Stack, palette: Palette) -> Iterator[str]:
    """The lines of one stack's picture."""
    writable, layer, plain = palette.writable, palette.layer, palette.plain
    boxes = stack.containers[: (INSIDE + 1) // (BOX + 1)]
    middle = BOX // 2
    gap = " "

    def across(left: str, fill: str, right: str, marks: str = "") -> str:
        cells = []
        for _ in boxes:
            line = fill * (BOX - 2)
            if marks:
                line = line[: middle - 1] + marks + line[middle:]
            cells.append(f"{writable}{left}{line}{right}{plain}")
        return gap.join(cells)

    yield " " + gap.join(f"{name[:BOX]:^{BOX}}" for name, _ in boxes)
    yield " " + across("┌", "─", "┐")
    yield (
        " "
        + gap.join(
            f"{writable}│{plain}{size(size_bytes):^{BOX - 2}}{writable}│{plain}"
            for _, size_bytes in boxes
        )
        + "  writable, each its own"
    )
    yield " " + across("└", "─", "┘", "┬")
    feet = {1 + number * (BOX + 1) + middle for number in range(len(boxes))}
    width = INSIDE + 2
    top = "".join("┴" if place in feet else "─" for place in range(1, width - 1))
    yield f"{layer}┌{top}┐{plain}"
    for number, row in enumerate(stack.rows):
        if number:
            yield f"{layer}├{'─' * INSIDE}┤{plain}"
        shown = f" {row.made_by[:26]:<26}  {row.digest}  {size(row.size_bytes):>7}"
        named = f"◀ {', '.join(row.images)}" if row.images else ""
        room = INSIDE - len(shown) - 3
        named = f"  {palette.image}{named[:room]:<{room}}{plain} "
        yield f"{layer}│{plain}{shown}{named}{layer}│{plain}"
    yield f"{layer}└{'─' * INSIDE}┘{plain}"


def account(stack: Stack, *, whole_copies: bool) -> str:
    """What sharing saves, or what a driver that copies whole trees makes of the same."""
    sizes = [row.size_bytes for row in stack.rows]
    layers = sum(sizes)
    own = sum(size_bytes for _, size_bytes in stack.containers)
    count = len(stack.containers)
    if whole_copies:
        below = sum(sum(sizes[number:]) for number in range(len(sizes)))
        return (
            f"This driver shares nothing: each layer and each container is a whole copy, "
            f"{size(below + layers * count + own)} in all;\nwith a driver that shares it is "
            f"{size(layers + own)}."
        )
    return (
        f"{count} containers share {len(sizes)} layers, stored once: {size(layers)}; of their own "
        f"they have {size(own)}.\nA copy for each would take {size(layers * count + own)}."
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Draw who shares which layers in a data root.")
    parser.add_argument("root")
    parser.add_argument("--storage-driver")
    parser.add_argument("--colour", action="store_true")
    asked = parser.parse_args()
    palette = Palette("\x1b[32m", "\x1b[36m", "\x1b[1m", "\x1b[0m") if asked.colour else Palette()
    with lamina.Engine(asked.root, storage_driver=asked.storage_driver) as engine:
        for stack in stacks(engine):
            print("\n".join(draw(stack, palette)))
            copies = engine.driver.capabilities.copies_on_prepare
            print(account(stack, whole_copies=copies))


if __name__ == "__main__":
    main()
