"""The image store: naming, finding, removing, pruning."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagekit import config_of, docker_members, is_empty, layer_tar, packed, sha256
from lamina import Engine
from lamina.digests import Digest
from lamina.errors import Conflict, InvalidInput, NotFound
from lamina.images.config import RunConfig
from lamina.images.filters import ImageFilter
from lamina.images.image import Image
from lamina.images.reference import Reference

BASE = layer_tar(a=b"a" * 1000)
TOP = layer_tar(b=b"b" * 10)


@pytest.fixture
def engine(engine_root: Path) -> Iterator[Engine]:
    with Engine(engine_root / "root") as opened:
        yield opened


def make(engine: Engine, *layers: bytes, tags: tuple[str, ...] = (), **fields: object) -> Image:
    config = config_of(*layers, **fields)
    engine.load(io.BytesIO(packed(docker_members(config, layers, tags))))
    return engine.images.resolve(sha256(config))


def use(engine: Engine, image: Image, container: str, status: str) -> None:
    """A container's row, as the container store would write it."""
    with engine.root.database.transaction() as tx:
        tx.execute(
            "INSERT INTO containers(id, name, image, driver, created_ns, status, document)"
            " VALUES (?, ?, ?, ?, 0, ?, '{}')",
            (container, container[:12], image.id, engine.driver.name, status),
        )


def removed(engine: Engine, text: str, *, force: bool = False) -> list[str]:
    return [str(each) for each in engine.images.remove(text, force=force)]


# Finding


def test_an_image_is_found_by_every_name_it_has(engine: Engine) -> None:
    image = make(engine, BASE, tags=("acme/a:1",))
    digest = Digest("sha256:" + "1" * 64)
    engine.images.add_digest(image.id, Reference.parse(f"acme/a@{digest}"))
    for text in (
        "acme/a:1",
        "docker.io/acme/a:1",
        f"acme/a@{digest}",
        f"acme/a:other@{digest}",
        image.id,
        image.id.hex,
        image.id.short,
        image.id[:12],
        image.id.hex[:3],
    ):
        assert engine.images.resolve(text).id == image.id


@pytest.mark.parametrize("text", ["nosuch", "acme/a", "acme/a:2", "f" * 64, "sha256:" + "f" * 64])
def test_what_is_not_there_is_told_as_it_was_written(engine: Engine, text: str) -> None:
    make(engine, BASE, tags=("acme/a:1",))
    with pytest.raises(NotFound, match=f"No such image: {text}"):
        engine.images.resolve(text)


def test_what_another_driver_holds_is_told_as_such(engine: Engine) -> None:
    image = make(engine, BASE, tags=("acme/a:1",))
    with Engine(engine.root.path, storage_driver="vfs") as other:
        assert other.images.list() == []
        assert "what overlay2 holds here is not seen" in other.driver_selection.reason
        for text in ("acme/a:1", image.id, image.id.hex[:12]):
            with pytest.raises(NotFound, match=f"No such image: {text}") as raised:
                other.images.resolve(text)
            assert "--storage-driver overlay2" in raised.value.remedy
        with pytest.raises(NotFound) as raised:
            other.images.resolve("acme/a:2")
        assert raised.value.remedy == ""


def test_a_name_wins_over_the_beginning_of_an_id(engine: Engine) -> None:
    image = make(engine, BASE)
    prefix = image.id.hex[:4]
    other = make(engine, TOP, tags=(f"{prefix}:latest",))
    assert engine.images.resolve(prefix).id == other.id


def test_an_ambiguous_prefix_is_refused(engine: Engine) -> None:
    seen: dict[str, str] = {}
    prefix = ""
    for number in range(40):  # of 17 ids two begin with the same digit
        image = make(engine, author=str(number))
        prefix = image.id.hex[0]
        if prefix in seen:
            break
        seen[prefix] = image.id
    with pytest.raises(InvalidInput, match=f"'{prefix}' is ambiguous: 2 images"):
        engine.images.resolve(prefix)


def test_a_bad_name_is_told_as_such(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="must be lowercase"):
        engine.images.resolve("FOO")


# Naming


def test_a_tag_moves(engine: Engine) -> None:
    first = make(engine, BASE, tags=("a:1",))
    second = make(engine, TOP)
    engine.images.tag(second.id, Reference.parse("a:1"))
    assert engine.images.resolve("a:1").id == second.id
    assert engine.images.get(first.id).tags == ()
    assert engine.images.get(second.id).tagged_ns > 0


def test_tags_that_would_be_ambiguous_are_refused(engine: Engine) -> None:
    image = make(engine, BASE)
    for text in ("sha256:abc", "a@sha256:" + "1" * 64):
        with pytest.raises(InvalidInput, match="refusing to create"):
            engine.images.tag(image.id, Reference.parse(text))


# Listing


def test_images_are_listed_newest_first_and_filtered(engine: Engine) -> None:
    old = make(engine, BASE, tags=("old:1",), created="2001-01-01T00:00:00Z")
    new = make(engine, TOP, tags=("new:1", "x/new:2"), created="2002-01-01T00:00:00Z")
    labelled = {"Labels": {"k": "v"}}
    bare = make(engine, created="2003-01-01T00:00:00Z", config=labelled)

    def listed(**wanted: object) -> list[str]:
        return [image.id for image in engine.images.list(ImageFilter(**wanted))]  # type: ignore[arg-type]

    assert listed() == [bare.id, new.id, old.id]
    assert listed(dangling=True) == [bare.id]
    assert listed(dangling=False) == [new.id, old.id]
    assert listed(labels=("k",)) == [bare.id]
    assert listed(labels=("k=other",)) == []
    assert listed(before="new:1") == [old.id]
    assert listed(since="new:1") == [bare.id]
    assert listed(until_ns=new.created_ns) == [old.id]
    (found,) = engine.images.list(ImageFilter(references=("x/*",)))
    assert [tag.familiar() for tag in found.tags] == ["x/new:2"]


# Removing


def test_removal_tells_names_image_and_layers_top_first(engine: Engine) -> None:
    image = make(engine, BASE, TOP, tags=("a:1",))
    chains = [layer.chain_id for layer in engine.layers.stack(image.chain)]
    assert removed(engine, "a:1") == [
        "Untagged: a:1",
        f"Deleted: {image.id}",
        f"Deleted: {chains[1]}",
        f"Deleted: {chains[0]}",
    ]
    assert is_empty(engine)
    assert engine.driver.list() == []


def test_nothing_is_left_of_an_image_removed_before_its_making_has_ended(engine: Engine) -> None:
    with engine.root.operation("make") as operation:
        image = engine.images.create(operation, config_of())
        engine.images.remove(image.id)
    assert is_empty(engine)


def test_layers_that_another_image_has_stay(engine: Engine) -> None:
    base = make(engine, BASE, tags=("base:1",))
    make(engine, BASE, TOP, tags=("top:1",))
    assert len(removed(engine, "top:1")) == 3
    assert engine.images.resolve("base:1").id == base.id
    out = io.BytesIO()
    engine.save(["base:1"], out)


def test_an_image_that_a_container_uses_stays(engine: Engine) -> None:
    image = make(engine, BASE, tags=("a:1",))
    use(engine, image, "c" * 64, "exited")
    with pytest.raises(Conflict, match=r"must force.*container cccccccccccc"):
        engine.images.remove("a:1")
    with pytest.raises(Conflict, match="being used by stopped container cccccccccccc"):
        engine.images.remove(image.id.short)
    with engine.root.database.transaction() as tx:
        tx.execute("UPDATE containers SET status = 'running'")
    with pytest.raises(Conflict, match=r"cannot be forced.*running container cccccccccccc"):
        engine.images.remove("a:1", force=True)
    assert engine.images.resolve("a:1").id == image.id


def test_an_untagged_parent_goes_with_its_last_child(engine: Engine) -> None:
    parent = make(engine, BASE)
    with engine.root.operation("test") as op:
        child = engine.images.create(
            op,
            config_of(BASE, author="child"),
            tags=[Reference.parse("child:1")],
            parent=parent.id,
        )
    assert [image.id for image in engine.images.list()] == [child.id]
    assert len(engine.images.list(intermediate=True)) == 2
    with pytest.raises(Conflict, match="dependent child images"):
        engine.images.remove(parent.id)
    assert f"Deleted: {parent.id}" in removed(engine, "child:1")
    assert is_empty(engine)


def test_prune_takes_dangling_images_and_with_everything_all_unused(engine: Engine) -> None:
    used = make(engine, BASE, tags=("used:1",))
    use(engine, used, "d" * 64, "exited")
    make(engine, TOP, tags=("unused:1",))
    dangling = make(engine, layer_tar(c=b"c" * 5))
    first = engine.images.prune()
    assert (len(first.removals), first.freed_bytes) == (2, 5)
    assert str(first.removals[0]) == f"Deleted: {dangling.id}"
    second = engine.images.prune(everything=True)
    assert (str(second.removals[0]), second.freed_bytes) == ("Untagged: unused:1", 10)
    assert [image.id for image in engine.images.list()] == [used.id]
    assert engine.images.prune(everything=True).removals == ()


# Telling


def test_inspection_has_dockers_names_in_dockers_order(engine: Engine) -> None:
    image = make(engine, BASE, TOP, tags=("a:1",), variant="v1", author="me")
    told = engine.images.inspect(image)
    assert list(told) == [
        "Id", "RepoTags", "RepoDigests", "Parent", "Comment", "Created", "DockerVersion", "Author",
        "Config", "Architecture", "Variant", "Os", "Size", "GraphDriver", "RootFS", "Metadata",
    ]  # fmt: skip
    assert told["Id"] == image.id
    assert told["RepoTags"] == ["a:1"]
    assert told["Config"]["Cmd"] == ["sh"]
    assert told["RootFS"] == {"Type": "layers", "Layers": [sha256(BASE), sha256(TOP)]}
    assert set(told["GraphDriver"]["Data"]) == {"LowerDir", "MergedDir", "UpperDir", "WorkDir"}
    json.dumps(told)


def test_history_has_the_sizes_of_the_layers(engine: Engine) -> None:
    steps = engine.images.history(make(engine, BASE, TOP))
    assert [(step.created_by, step.size_bytes) for step in steps] == [
        ("step 1", 10),
        ("step 0", 1000),
    ]


def test_an_import_is_one_layer_with_the_given_configuration(engine: Engine) -> None:
    from lamina.images.archives.tarball import import_tar

    run = RunConfig(cmd=("sh",), labels={"a": "b"})
    image = import_tar(engine.images, io.BytesIO(BASE), Reference.parse("imp:1"), run=run)
    assert image.config.diff_ids == (sha256(BASE),)
    assert image.config.run == run
    assert [step.comment for step in engine.images.history(image)] == ["Imported from -"]
    assert engine.images.resolve("imp:1").size_bytes == 1000
