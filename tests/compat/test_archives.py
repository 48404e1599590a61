"""Archives pass between this engine and skopeo, podman, umoci and Docker, ids unchanged."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagekit import layer_tar
from lamina import Engine
from lamina.images.archives.save import Format, save
from lamina.images.archives.tarball import import_tar
from lamina.images.config import RunConfig
from lamina.images.reference import Reference
from tarkit import archive, file, folder, hard_link, symlink

ROOTFS = archive(
    folder("./"),
    folder("bin/"),
    file("bin/sh", b"#!" + bytes(3000), mode=0o755),
    hard_link("bin/ash", "bin/sh"),
    symlink("lib", "usr/lib"),
    folder("etc/", mode=0o700),
    file("etc/passwd", b"root:x:0:0::/root:/bin/sh\n"),
)


def run(*words: str | os.PathLike[str], **options: Any) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


@pytest.fixture
def engine(engine_root: Path) -> Iterator[Engine]:
    with Engine(engine_root / "root") as opened:
        config = RunConfig(
            cmd=("sh",), env=("A=b c",), labels={"k": "v"}, exposed_ports=("80/tcp",)
        )
        import_tar(opened.images, io.BytesIO(ROOTFS), Reference.parse("acme/base:1.0"), run=config)
        yield opened


@pytest.fixture
def other(engine_root: Path) -> Iterator[Engine]:
    """A second engine, to load what the tools made."""
    with Engine(engine_root / "other") as opened:
        yield opened


@pytest.fixture
def work(engine_root: Path) -> Path:
    path = engine_root / "work"
    path.mkdir()
    return path


def saved(engine: Engine, path: Path, format: Format = Format.DOCKER) -> Path:
    with path.open("wb") as out:
        save(engine.images, ["acme/base:1.0"], out, format=format)
    return path


def loaded(engine: Engine, source: Path) -> list[str]:
    return [str(each) for each in engine.load(source)]


def assert_same_image(engine: Engine, other: Engine, name: str) -> None:
    """The other engine has the very image, and writes the very layer again."""
    ours = engine.images.resolve("acme/base:1.0")
    theirs = other.images.resolve(name)
    assert theirs.id == ours.id
    assert theirs.config.raw == ours.config.raw
    assert theirs.size_bytes == ours.size_bytes
    assert theirs.chain is not None
    pieces: list[bytes] = []
    other.layers.export(theirs.chain, _Sink(pieces))
    assert b"".join(pieces) == ROOTFS


class _Sink:
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def write(self, data: bytes, /) -> None:
        self._pieces.append(bytes(data))


# skopeo


@needs("skopeo")
@pytest.mark.parametrize(
    ("format", "source"),
    [(Format.DOCKER, "docker-archive:{}:acme/base:1.0"), (Format.OCI, "oci-archive:{}:1.0")],
)
def test_skopeo_reads_our_archive_and_finds_our_id(
    engine: Engine, work: Path, format: Format, source: str
) -> None:
    path = saved(engine, work / "ours.tar", format)
    named = source.format(path)
    raw = run("skopeo", "inspect", "--config", "--raw", named)
    image = engine.images.resolve("acme/base:1.0")
    assert raw.encode() == image.config.raw
    facts = json.loads(run("skopeo", "inspect", named))
    assert facts["Layers"] == list(image.config.diff_ids)


@needs("skopeo")
def test_what_skopeo_writes_as_docker_archive_loads_with_the_same_id(
    engine: Engine, other: Engine, work: Path
) -> None:
    path = saved(engine, work / "ours.tar")
    target = work / "theirs.tar"
    run("skopeo", "copy", f"docker-archive:{path}:acme/base:1.0", f"docker-archive:{target}:x/y:2")
    assert loaded(other, target) == ["Loaded image: x/y:2"]
    assert_same_image(engine, other, "x/y:2")


@needs("skopeo")
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("transport", ["oci", "oci-archive"])
def test_what_skopeo_writes_as_oci_loads_with_the_same_id(
    engine: Engine, other: Engine, work: Path, transport: str, compression: str
) -> None:
    path = saved(engine, work / "ours.tar", Format.OCI)
    target = work / "theirs"
    run(
        "skopeo",
        "copy",
        "--dest-compress",
        f"--dest-compress-format={compression}",
        f"oci-archive:{path}:1.0",
        f"{transport}:{target}:x/y:2",
    )
    assert loaded(other, target) == ["Loaded image: x/y:2"]
    assert_same_image(engine, other, "x/y:2")


# podman


@pytest.fixture
def podman(engine_root: Path) -> Iterator[list[str]]:
    """podman with storage of its own; its runroot must have a short path."""
    with tempfile.TemporaryDirectory(prefix="podman-") as runroot:
        yield [
            "podman",
            f"--root={engine_root}/podman",
            f"--runroot={runroot}",
            "--storage-driver=vfs",
            "--log-level=error",
        ]


@needs("podman")
@pytest.mark.parametrize("format", list(Format))
def test_podman_loads_our_archive_with_the_same_id(
    engine: Engine, work: Path, podman: list[str], format: Format
) -> None:
    path = saved(engine, work / "ours.tar", format)
    run(*podman, "load", "-q", "-i", path)
    (image,) = json.loads(run(*podman, "images", "--format=json"))
    assert image["Id"] == engine.images.resolve("acme/base:1.0").id.hex
    assert image["Names"][0].endswith("/acme/base:1.0")


@needs("podman")
@pytest.mark.parametrize("format", ["docker-archive", "oci-archive", "oci-dir"])
def test_what_podman_saves_loads_with_the_same_id(
    engine: Engine, other: Engine, work: Path, podman: list[str], format: str
) -> None:
    ours = Format.DOCKER if format == "docker-archive" else Format.OCI
    run(*podman, "load", "-q", "-i", saved(engine, work / "ours.tar", ours))
    ((name, *_),) = (each["Names"] for each in json.loads(run(*podman, "images", "--format=json")))
    target = work / "theirs"
    run(*podman, "save", "-q", f"--format={format}", "-o", target, name)
    (line,) = loaded(other, target)
    assert line.startswith("Loaded image: ")
    assert_same_image(engine, other, line.removeprefix("Loaded image: "))


# umoci


@needs("umoci")
def test_a_layout_that_umoci_made_loads_with_its_id_and_layers(other: Engine, work: Path) -> None:
    layout = work / "layout"
    tree = work / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "d" / "f").write_bytes(b"umoci\n")
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", f"{layout}:made")
    run("umoci", "insert", "--image", f"{layout}:made", tree, "/")
    run("umoci", "insert", "--image", f"{layout}:made", tree / "d" / "f", "/g")
    run("umoci", "config", "--image", f"{layout}:made", "--config.cmd", "sh")
    (line,) = loaded(other, layout)
    (image,) = other.images.list()
    assert line == f"Loaded image ID: {image.id}"
    index = json.loads((layout / "index.json").read_bytes())
    manifest = _blob(layout, index["manifests"][0]["digest"])
    assert image.id == json.loads(manifest)["config"]["digest"]
    assert len(image.config.diff_ids) == 2
    assert other.layers.export(image.chain or pytest.fail("no layers"), _Sink([])) is None


def _blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()


# Docker


@pytest.fixture
def docker(engine_root: Path) -> Iterator[list[str]]:
    """A Docker daemon of our own, without network; the client's words for it."""
    folder = engine_root / "docker"
    folder.mkdir()
    socket = folder / "docker.sock"
    log = (folder / "log").open("wb")
    daemon = subprocess.Popen(
        [
            "dockerd",
            f"--data-root={folder}/data",
            f"--exec-root={folder}/exec",
            f"--pidfile={folder}/pid",
            f"--host=unix://{socket}",
            "--iptables=false",
            "--ip6tables=false",
            "--bridge=none",
            "--storage-driver=vfs",
        ],
        stdout=log,
        stderr=log,
    )
    client = ["docker", f"--host=unix://{socket}"]
    try:
        deadline = time.monotonic() + 60
        while subprocess.run([*client, "version"], capture_output=True, check=False).returncode:
            alive = daemon.poll() is None and time.monotonic() < deadline
            assert alive, (folder / "log").read_text()
            time.sleep(0.1)
        yield client
    finally:
        daemon.terminate()
        daemon.wait(60)
        log.close()


@needs("dockerd")
@needs("docker")
def test_docker_and_we_load_what_the_other_saves(
    engine: Engine, other: Engine, work: Path, docker: list[str]
) -> None:
    path = saved(engine, work / "ours.tar")
    assert run(*docker, "load", "-i", path) == "Loaded image: acme/base:1.0\n"
    image = engine.images.resolve("acme/base:1.0")
    assert run(*docker, "images", "-q", "--no-trunc") == f"{image.id}\n"
    # Two equal layers: Docker writes the second as a link to the first.
    (work / "one").write_text("one")
    (work / "two").write_text("two")
    (work / "Dockerfile").write_text(
        "FROM acme/base:1.0\nCOPY one /f\nCOPY two /f\nCOPY one /f\nLABEL a=b\n"
    )
    run(
        *docker, "build", "-q", "-t", "built:1", str(work),
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
    )  # fmt: skip
    built_id = run(*docker, "images", "-q", "--no-trunc", "built:1").strip()
    target = work / "theirs.tar"
    run(*docker, "save", "-o", target, "acme/base:1.0", "built:1")
    assert sorted(loaded(other, target)) == ["Loaded image: acme/base:1.0", "Loaded image: built:1"]
    assert_same_image(engine, other, "acme/base:1.0")
    built = other.images.resolve("built:1")
    assert built.id == built_id
    assert run(*docker, "history", "-q", "--no-trunc", "built:1").startswith(built_id)
    (facts,) = json.loads(run(*docker, "image", "inspect", "built:1"))
    ours = other.images.inspect(built)
    for field in ("Id", "RepoTags", "Created", "Author", "Architecture", "Os", "Size", "RootFS"):
        assert ours[field] == facts[field], field
    with target.open("rb") as stream:
        again = subprocess.run([*docker, "load"], stdin=stream, capture_output=True, check=True)
    assert b"Loaded image: built:1" in again.stdout


def test_layers_of_several_images_are_saved_once(engine: Engine, work: Path) -> None:
    import_tar(engine.images, io.BytesIO(ROOTFS), Reference.parse("other:1"))
    import_tar(engine.images, io.BytesIO(layer_tar(a=b"a")), Reference.parse("third:1"))
    path = work / "all.tar"
    engine.save(["acme/base:1.0", "other:1", "third:1"], path)
    with tarfile.open(path) as tar:
        names = tar.getnames()
    assert len(names) == len(set(names))
    # Tables of contents, three configurations and manifests, two layers.
    assert len(names) == 4 + 3 + 3 + 2
