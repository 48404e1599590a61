"""`lamina layer export`: the exact tar of a layer, as its diff id says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.tar_output import tar_output
from lamina.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from lamina.engine import Engine
    from lamina.layers.store import Layer

_HEX = frozenset("0123456789abcdef")


@docker_command(
    "[OPTIONS] DIFF_ID|CHAIN_ID|IMAGE[:N]",
    "Write the exact tar of a layer (streamed to STDOUT by default). A layer is named by its diff "
    "id, its chain id, or an image and the layer's place in it: 1 is the base, and without a "
    "number it is the top",
    exactly=1,
)
@click.option("-o", "--output", metavar="string", help="Write to a file, instead of STDOUT")
@click.argument("layer")
@click.pass_obj
def command(app: App, layer: str, output: str | None) -> int | None:
    found = named_layer(app.engine, layer)
    with tar_output(output, "export layer") as out:
        app.engine.layers.export(found.chain_id, out)
    return None


def named_layer(engine: Engine, text: str) -> Layer:
    """The layer that is meant. Digits that name a layer do so before they name an image."""
    digits = text.removeprefix("sha256:")
    if digits and _HEX.issuperset(digits):
        found = engine.layers.with_digits(digits)
        if len(found) > 1:
            raise InvalidInput(
                f"layer id prefix {text!r} is ambiguous: {len(found)} layers begin so",
                remedy="give more digits",
            )
        if found:
            return found[0]
    name, number = text, 0
    try:
        image = engine.images.resolve(text)
    except (NotFound, InvalidInput):
        name, _, last = text.rpartition(":")
        if not (name and last.isascii() and last.isdigit()):
            raise NotFound(
                f"No such layer or image: {text}",
                remedy="'lamina layer ls IMAGE' lists the layers of an image",
            ) from None
        image, number = engine.images.resolve(name), int(last)
        if number == 0:
            raise InvalidInput(f"no layer 0 in {name}: layers are counted from 1") from None
    stack = engine.layers.stack(image.chain)
    if not stack or number > len(stack):
        raise NotFound(f"No such layer: {name} has {len(stack)}")
    return stack[number - 1]
