"""`--change`: Dockerfile instructions that alter an image's configuration without a build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lamina.build.dockerfile import DockerfileError, parse
from lamina.build.dockerfile.nodes import read_nodes
from lamina.build.outline import Wishes, outline
from lamina.build.plan import plan
from lamina.build.step_drafts import DEFAULT_PATH
from lamina.errors import InvalidInput
from lamina.images.config import ImageConfig, RunConfig
from lamina.images.platform import Platform

_BASE = "base"
_ALLOWED = frozenset(
    (
        "CMD",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "LABEL",
        "ONBUILD",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    )
)


def changed(run: RunConfig, changes: Sequence[str]) -> RunConfig:
    """The configuration after these instructions; InvalidInput names the one that is wrong."""
    if not changes:
        return run
    try:
        for change in changes:
            for node in read_nodes(change).nodes:
                if node.keyword.upper() not in _ALLOWED:
                    raise InvalidInput(f"{node.keyword.lower()} is not a valid change command")
        dockerfile = parse("\n".join((f"FROM {_BASE}", *changes)).encode())
        platform = Platform("linux", "")
        base = ImageConfig(architecture="", os="linux", run=replace(run, on_build=()))
        planned = plan(outline(dockerfile, Wishes(platform)), {_BASE: base}, {_BASE: _BASE})
    except DockerfileError as error:
        raise InvalidInput(f"invalid change: {error.reason}") from None
    made = planned.stages[-1].run
    # A build gives its base a PATH where it has none; a change adds what it says and no more.
    given = f"PATH={DEFAULT_PATH}"
    env = tuple(pair for pair in made.env if pair != given or pair in run.env)
    return replace(made, env=env, on_build=(*run.on_build, *made.on_build))
