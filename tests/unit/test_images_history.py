"""The history of an image, newest first, each layer's size at the step that made it."""

from __future__ import annotations

from lamina.digests import DiffID
from lamina.images.config import HistoryEntry, ImageConfig
from lamina.images.history import history_steps

LAYERS = tuple(DiffID("sha256:" + digit * 64) for digit in "12")


def config(*history: HistoryEntry) -> ImageConfig:
    return ImageConfig(architecture="amd64", os="linux", diff_ids=LAYERS, history=history)


def test_sizes_stand_at_the_steps_that_have_layers() -> None:
    image = config(
        HistoryEntry(created_by="ADD x"),
        HistoryEntry(created_by="ENV a=b", empty_layer=True),
        HistoryEntry(created_by="RUN y", comment="c"),
    )
    steps = history_steps(image, [10, 20], image=image.id)
    assert [(s.created_by, s.size_bytes) for s in steps] == [
        ("RUN y", 20),
        ("ENV a=b", 0),
        ("ADD x", 10),
    ]
    assert [s.id for s in steps] == [image.id, None, None]


def test_a_history_that_claims_more_layers_than_there_are_shows_zero_for_them() -> None:
    image = config(*(HistoryEntry(created_by=str(index)) for index in range(4)))
    steps = history_steps(image, [10, 20], image=image.id)
    assert [s.size_bytes for s in steps] == [0, 0, 20, 10]


def test_an_image_without_history_is_one_step() -> None:
    image = config()
    (step,) = history_steps(image, [10, 20], image=image.id)
    assert (step.id, step.size_bytes) == (image.id, 30)
