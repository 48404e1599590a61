"""From the stage that was wanted to the configuration of its image, dated as BuildKit dates it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lamina.build.steps import PlannedStage
from lamina.digests import ChainID, DiffID
from lamina.images.config import HistoryEntry, ImageConfig, created_now
from lamina.images.platform import Platform

COMMENT = "buildkit.dockerfile.v0"
"""What tools look for in a history to know whose words its steps are written in."""


@dataclass(frozen=True)
class Reached:
    """A stage that was carried out: its filesystem, configuration and history."""

    chain: ChainID | None
    planned: PlannedStage
    history: tuple[HistoryEntry, ...]
    base: ImageConfig | None


def told_history(planned: PlannedStage, times: Sequence[str]) -> tuple[HistoryEntry, ...]:
    """The history of one stage; `times` are those of its steps, in order."""
    return tuple(
        HistoryEntry(
            "" if deed.step is None else times[deed.step],
            deed.created_by,
            comment=COMMENT,
            empty_layer=deed.step is None,
        )
        for deed in planned.deeds
    )


def image_config(reached: Reached, diff_ids: Sequence[DiffID]) -> ImageConfig:
    """The configuration of the image that a stage becomes."""
    history = dated(reached.history)
    base, platform = reached.base, Platform.host()
    return ImageConfig(
        architecture=base.architecture if base else platform.architecture,
        os=base.os if base else platform.os,
        variant=base.variant if base else platform.variant,
        os_version=base.os_version if base else "",
        diff_ids=tuple(diff_ids),
        run=reached.planned.run,
        history=history,
        created=history[-1].created if history else created_now(),
        author=reached.planned.author,
    )


def dated(history: tuple[HistoryEntry, ...]) -> tuple[HistoryEntry, ...]:
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
