"""Archives load whole or not at all, whatever shape they have."""

from __future__ import annotations

import gzip
import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagekit import (
    blob,
    config_of,
    docker_members,
    encoded,
    is_empty,
    layer_tar,
    oci_members,
    packed,
    sha256,
)
from lamina import Engine
from lamina.errors import LaminaError
from lamina.images.archives.load import Loaded, LoadEvent, Replaced, load
from lamina.images.archives.save import Format, save
from lamina.images.config import SIZE_LIMIT_BYTES
from lamina.images.platform import Platform
from tarkit import hard_link, symlink

BASE = layer_tar(a=b"a" * 1000)
TOP = layer_tar(b=b"b" * 10)
CONFIG = config_of(BASE, TOP)


@pytest.fixture(params=["overlay2", "vfs"])
def engine(engine_root: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    with Engine(engine_root / "root", storage_driver=request.param) as opened:
        yield opened


def said(engine: Engine, data: bytes) -> list[str]:
    return [str(each) for each in engine.load(io.BytesIO(data))]


# What loads


def test_the_id_is_the_digest_of_the_configuration_as_it_came(engine: Engine) -> None:
    assert said(engine, packed(docker_members(CONFIG, [BASE, TOP]))) == ["Loaded image: made:1"]
    image = engine.images.resolve("made:1")
    assert image.id == sha256(CONFIG)
    assert image.config.raw == CONFIG
    assert image.size_bytes == 1010


def test_a_table_of_contents_may_come_first_or_last(engine: Engine) -> None:
    members = docker_members(CONFIG, [BASE, TOP])
    assert said(engine, packed(dict(reversed(members.items())))) == ["Loaded image: made:1"]


def test_a_layer_that_is_a_link_to_another_member_is_found(engine: Engine) -> None:
    members = docker_members(config_of(BASE, TOP, BASE, BASE), [BASE, TOP, BASE, BASE])
    del members["2/layer.tar"], members["3/layer.tar"]
    links = (symlink("2/layer.tar", "../0/layer.tar"), hard_link("3/layer.tar", "0/layer.tar"))
    assert said(engine, packed(members, *links)) == ["Loaded image: made:1"]
    assert len(engine.images.history(engine.images.resolve("made:1"))) == 4


def test_of_two_members_with_one_name_the_last_counts(engine: Engine) -> None:
    wrong = packed(docker_members(CONFIG, [TOP, BASE]))
    right = packed(docker_members(CONFIG, [BASE, TOP]))
    assert said(engine, wrong[: -2 * 512] + right) == ["Loaded image: made:1"]


def test_an_image_without_names_is_told_by_its_id(engine: Engine) -> None:
    data = packed(docker_members(CONFIG, [BASE, TOP], tags=()))
    assert said(engine, data) == [f"Loaded image ID: {sha256(CONFIG)}"]


def test_an_image_without_layers_loads(engine: Engine) -> None:
    assert said(engine, packed(docker_members(config_of(), []))) == ["Loaded image: made:1"]
    assert engine.images.resolve("made:1").size_bytes == 0


@pytest.mark.parametrize("created", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_an_image_may_be_of_any_age(engine: Engine, created: str) -> None:
    said(engine, packed(docker_members(config_of(created=created), [])))
    assert engine.images.inspect(engine.images.resolve("made:1"))["Created"] == created


def test_compressed_layers_and_a_compressed_archive_load(engine: Engine) -> None:
    members = docker_members(CONFIG, [gzip.compress(BASE), TOP])
    assert said(engine, gzip.compress(packed(members))) == ["Loaded image: made:1"]


def test_an_archive_comes_through_a_pipe(engine: Engine) -> None:
    data = packed(docker_members(CONFIG, [BASE, TOP]))
    readable, writable = os.pipe()

    def write() -> None:
        with open(writable, "wb") as pipe:
            pipe.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    with open(readable, "rb") as pipe:
        assert [str(each) for each in engine.load(pipe)] == ["Loaded image: made:1"]
    writer.join()


def test_several_images_in_one_archive_share_their_layers(engine: Engine) -> None:
    members = docker_members(CONFIG, [BASE, TOP])
    items = json.loads(members["manifest.json"])
    items.append({"Config": "other.json", "RepoTags": ["other:2"], "Layers": ["0/layer.tar"]})
    members |= {"manifest.json": encoded(items), "other.json": config_of(BASE)}
    assert said(engine, packed(members)) == ["Loaded image: made:1", "Loaded image: other:2"]
    assert len(engine.root.database.read("SELECT * FROM contents")) == 2


def test_a_name_that_moves_to_the_loaded_image_is_told(engine: Engine) -> None:
    engine.load(io.BytesIO(packed(docker_members(config_of(BASE), [BASE]))))
    events: list[LoadEvent] = []
    other = packed(docker_members(CONFIG, [BASE, TOP]))
    load(engine.images, io.BytesIO(other), report=events.append)
    assert [type(each) for each in events if isinstance(each, Replaced | Loaded)] == [
        Replaced,
        Loaded,
    ]
    assert [image.tags for image in engine.images.list()].count(()) == 1


def test_an_archive_of_before_content_addressing_gets_a_configuration(engine: Engine) -> None:
    versions = {"a" * 64: None, "b" * 64: "a" * 64}
    members = {"repositories": encoded({"old": {"1": "b" * 64}})}
    for (version, parent), layer in zip(versions.items(), (BASE, TOP), strict=True):
        members[f"{version}/VERSION"] = b"1.0"
        members[f"{version}/layer.tar"] = layer
        facts = {"id": version, "parent": parent, "os": "linux", "architecture": "amd64"}
        facts["container_config"] = {"Cmd": ["/bin/sh", "-c", version[:1]]}
        members[f"{version}/json"] = encoded({k: v for k, v in facts.items() if v})
    assert said(engine, packed(members)) == ["Loaded image: old:1"]
    image = engine.images.resolve("old:1")
    assert image.config.diff_ids == (sha256(BASE), sha256(TOP))
    assert [step.created_by for step in engine.images.history(image)] == [
        "/bin/sh -c b",
        "/bin/sh -c a",
    ]


# OCI layouts


@pytest.mark.parametrize(
    ("annotations", "line"),
    [
        ({"org.opencontainers.image.ref.name": "latest"}, None),
        ({"org.opencontainers.image.ref.name": "acme/a:1"}, "Loaded image: acme/a:1"),
        (
            {
                "org.opencontainers.image.ref.name": "1",
                "io.containerd.image.name": "docker.io/acme/b:1",
            },
            "Loaded image: acme/b:1",
        ),
    ],
)
def test_a_layout_names_its_image_by_annotations(
    engine: Engine, annotations: dict[str, str], line: str | None
) -> None:
    data = packed(oci_members(CONFIG, [BASE, TOP], annotations=annotations))
    assert said(engine, data) == [line or f"Loaded image ID: {sha256(CONFIG)}"]


def test_a_layout_loads_from_a_folder(engine: Engine, engine_root: Path) -> None:
    folder = engine_root / "layout"
    for name, data in oci_members(CONFIG, [BASE, TOP]).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    assert [each.image for each in engine.load(folder)] == [sha256(CONFIG)]


def test_a_folder_is_not_left_through_its_links(engine: Engine, engine_root: Path) -> None:
    outside = engine_root / "outside"
    folder = engine_root / "layout"
    for name, data in oci_members(CONFIG, [BASE, TOP]).items():
        place = outside if name.startswith("blobs") else folder
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    (folder / "blobs").symlink_to(outside / "blobs")
    with pytest.raises(LaminaError, match="invalid archive: 'blobs"):
        engine.load(folder)


def test_of_an_index_the_image_for_the_wanted_platform_is_taken(engine: Engine) -> None:
    members = oci_members(CONFIG, [BASE, TOP])
    arm = config_of(BASE, architecture="arm64")
    other = oci_members(arm, [BASE])
    (amd64,) = json.loads(members["index.json"])["manifests"]
    (arm64,) = json.loads(other["index.json"])["manifests"]
    amd64["platform"] = {"os": "linux", "architecture": "amd64"}
    arm64["platform"] = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    attested = amd64 | {"platform": {"os": "unknown", "architecture": "unknown"}}
    members |= {name: data for name, data in other.items() if name != "index.json"}
    index = encoded({"schemaVersion": 2, "manifests": [attested, arm64, amd64]})
    inner = blob(members, index, "application/vnd.oci.image.index.v1+json")
    members["index.json"] = encoded({"schemaVersion": 2, "manifests": [inner]})
    data = packed(members)
    for platform, config in (("linux/amd64", CONFIG), ("linux/arm64", arm)):
        (found,) = load(engine.images, io.BytesIO(data), platform=Platform.parse(platform))
        assert found.image == sha256(config)
    with pytest.raises(LaminaError, match=r"no image for platform linux/s390x.*linux/amd64"):
        load(engine.images, io.BytesIO(data), platform=Platform.parse("linux/s390x"))


# What does not load


def _without(members: dict[str, bytes], *names: str) -> dict[str, bytes]:
    return {name: data for name, data in members.items() if name not in names}


def _docker(**changes: object) -> bytes:
    members = docker_members(CONFIG, [BASE, TOP])
    (item,) = json.loads(members["manifest.json"])
    return packed(members | {"manifest.json": encoded([item | changes])})


GOOD = docker_members(CONFIG, [BASE, TOP])
LAYOUT = oci_members(CONFIG, [BASE, TOP])
_CONFIG_MEMBER = f"blobs/sha256/{sha256(CONFIG)[7:]}"
_LAYER_MEMBER = f"blobs/sha256/{sha256(gzip.compress(TOP, mtime=0))[7:]}"


WRONG: list[tuple[bytes, str]] = [
    (b"", "invalid archive: it is empty"),
    (b"garbage", "invalid archive: it is no tar archive"),
    (b"garbage" * 1000, "invalid archive: it is no tar archive"),
    (gzip.compress(b"garbage" * 1000), "invalid archive: it is no tar archive"),
    (packed({"x": b"y"}), "neither manifest.json nor index.json"),
    (packed(GOOD)[:-3000], "invalid archive"),
    (gzip.compress(packed(GOOD))[:-100], "."),
    (packed(_without(GOOD, "config.json")), "'config.json' is missing"),
    (packed(_without(GOOD, "1/layer.tar")), "'1/layer.tar' is missing"),
    (packed(GOOD | {"manifest.json": b"{"}), "not JSON"),
    (packed(GOOD | {"manifest.json": b"{}"}), "no JSON list"),
    (packed(GOOD | {"manifest.json": b"[1]"}), "no JSON object"),
    (packed(GOOD | {"manifest.json": b"[" * 200_000}), "not JSON"),
    (packed(GOOD | {"manifest.json": b" " * (SIZE_LIMIT_BYTES + 1)}), "more than the limit"),
    (packed(GOOD | {"config.json": b" " * (SIZE_LIMIT_BYTES + 1)}), "more than the limit"),
    (packed(GOOD | {"config.json": b"[]"}), "invalid archive: invalid image configuration"),
    (packed(GOOD | {"1/layer.tar": BASE}), "has another content"),
    (packed(GOOD | {"1/layer.tar": b"x" * 5000}), "invalid archive"),
    (packed(_without(GOOD, "1/layer.tar"), symlink("1/layer.tar", "layer.tar")), "missing"),
    (packed(_without(GOOD, "1/layer.tar"), symlink("1/layer.tar", "../../x")), "missing"),
    (_docker(Config=None), "Config is missing"),
    (_docker(Config="/etc/passwd"), "'/etc/passwd' is missing"),
    (_docker(Config="../../../../../../etc/passwd"), "is missing"),
    (_docker(Layers=["0/layer.tar"]), "1 layers in its manifest and 2 in its configuration"),
    (_docker(Layers=["0/layer.tar", "/etc/passwd"]), "'/etc/passwd' is missing"),
    (_docker(RepoTags=["UPPER:1"]), "must be lowercase"),
    (_docker(RepoTags=["a@" + sha256(b"")]), "has no tag"),
    (_docker(RepoTags=[1]), "no string"),
    (packed(_without(LAYOUT, _CONFIG_MEMBER)), "is missing"),
    (packed(_without(LAYOUT, _LAYER_MEMBER)), "is missing"),
    (packed(LAYOUT | {_CONFIG_MEMBER: CONFIG[:-1] + b" "}), "digest"),
    (packed(LAYOUT | {_CONFIG_MEMBER: CONFIG + b" "}), "its descriptor says"),
    (packed(LAYOUT | {_LAYER_MEMBER: gzip.compress(TOP, 1, mtime=0)}), "invalid archive"),
    (packed(LAYOUT | {"oci-layout": b'{"imageLayoutVersion": "2.0.0"}'}), "version"),
    (packed(LAYOUT | {"index.json": b'{"manifests": [{}]}'}), "descriptor"),
    (packed(LAYOUT | {"index.json": b'{"manifests": []}'}), "names no image"),
]


@pytest.mark.parametrize(("data", "message"), WRONG, ids=range(len(WRONG)))
def test_an_archive_that_is_wrong_leaves_nothing(engine: Engine, data: bytes, message: str) -> None:
    assert engine.layers is not None
    with pytest.raises(LaminaError, match=message):
        engine.load(io.BytesIO(data))
    assert is_empty(engine)


def test_a_layer_padded_after_its_end_breaks_its_digest(engine: Engine) -> None:
    # The tar within is the right one: only the digest of the stored bytes tells.
    right = gzip.compress(TOP, mtime=0)
    members = LAYOUT | {_LAYER_MEMBER: right[:4] + b"\x01" + right[5:]}
    with pytest.raises(LaminaError, match="digest"):
        engine.load(io.BytesIO(packed(members)))
    assert is_empty(engine)


def test_a_bad_image_takes_the_good_ones_of_its_archive_with_it(engine: Engine) -> None:
    items = json.loads(GOOD["manifest.json"])
    items.append({"Config": "other.json", "RepoTags": ["other:2"], "Layers": ["gone.tar"]})
    members = GOOD | {"manifest.json": encoded(items), "other.json": config_of(BASE)}
    with pytest.raises(LaminaError, match=r"'gone\.tar' is missing"):
        engine.load(io.BytesIO(packed(members)))
    assert is_empty(engine)


def test_an_image_too_deep_to_run_is_refused(engine: Engine) -> None:
    layers = [TOP] * engine.driver.capabilities.max_chain  # none is left for the init layer
    with pytest.raises(LaminaError, match="max depth exceeded"):
        engine.load(io.BytesIO(packed(docker_members(config_of(*layers), layers))))
    assert engine.layers is not None
    assert is_empty(engine)


def test_an_index_that_leads_to_itself_ends(engine: Engine) -> None:
    members: dict[str, bytes] = {"oci-layout": LAYOUT["oci-layout"]}
    inner = blob(members, encoded({"manifests": []}), "application/vnd.oci.image.index.v1+json")
    for _ in range(10):
        index = encoded({"manifests": [inner]})
        inner = blob(members, index, "application/vnd.oci.image.index.v1+json")
    members["index.json"] = encoded({"manifests": [inner]})
    with pytest.raises(LaminaError, match="nested"):
        engine.load(io.BytesIO(packed(members)))


# Saving


def test_what_is_saved_loads_as_the_same_image(engine: Engine, engine_root: Path) -> None:
    engine.load(io.BytesIO(packed(docker_members(CONFIG, [BASE, TOP], ["a:1", "b:2"]))))
    for index, format in enumerate(Format):
        out = io.BytesIO()
        save(engine.images, ["a:1", "b:2"], out, format=format)
        with Engine(engine_root / f"other{index}") as other:
            assert said(other, out.getvalue()) == ["Loaded image: a:1", "Loaded image: b:2"]
            image = other.images.resolve("a:1")
            assert (image.id, image.config.raw) == (sha256(CONFIG), CONFIG)


def test_the_same_images_give_the_same_bytes(engine: Engine) -> None:
    engine.load(io.BytesIO(packed(GOOD)))
    first, second = io.BytesIO(), io.BytesIO()
    engine.save(["made:1"], first)
    engine.save(["made"], second)
    assert first.getvalue() == second.getvalue()


def test_a_layer_that_was_changed_on_disk_is_not_saved(engine: Engine) -> None:
    engine.load(io.BytesIO(packed(GOOD)))
    image = engine.images.resolve("made:1")
    assert image.chain is not None
    layer = engine.layers.get(image.chain)
    (engine.driver.layer_root(layer.cache_id) / "d" / "b").write_bytes(b"B" * 10)
    with pytest.raises(LaminaError, match="has changed"):
        engine.save(["made:1"], io.BytesIO())


def test_nothing_is_written_for_an_unknown_image(engine: Engine) -> None:
    out = io.BytesIO()
    with pytest.raises(LaminaError, match="No such image: nosuch"):
        engine.save(["nosuch"], out)
    assert not out.getvalue()
