"""The plan of a build: per stage the steps to carry out, its configuration and its history.

Everything that a Dockerfile says is worked out here once the configurations of the base images are
known: variables, the working folder, the user, the shell. What is left are steps that change the
filesystem. Nothing is read or written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lamina.build.drafting import Drafter
from lamina.build.outline import Outline
from lamina.build.step_drafts import PROXY_ARGS
from lamina.build.steps import Plan, PlannedStage
from lamina.images.config import ImageConfig


def plan(source: Outline, images: Mapping[str, ImageConfig], names: Mapping[str, str]) -> Plan:
    """Work every stage out; `names` gives the full reference of each image as written."""
    done: dict[int, PlannedStage] = {}
    declared = {name for arg in source.dockerfile.global_args for name, _ in arg.pairs}
    for stage in source.stages:
        drafter = Drafter(source, stage, images, done)
        for instruction in drafter.triggers():
            drafter.take(instruction)
        for instruction in stage.stage.instructions:
            drafter.take(instruction)
        done[stage.index] = drafter.finish(names)
        declared |= drafter.declared
    target = done[source.target.index]
    if source.wishes.labels:
        labels = {**target.run.labels, **source.wishes.labels}
        done[target.index] = replace(target, run=replace(target.run, labels=labels))
    unused = sorted(set(source.wishes.args) - declared - PROXY_ARGS)
    return Plan(tuple(done[stage.index] for stage in source.stages), tuple(unused))
