"""The image commands print what Docker's do."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from imagekit import config_of, docker_members, encoded, layer_tar, packed, sha256
from lamina.images.times import rfc3339

CLI = [sys.executable, "-c", "from lamina.cli.main import main; main()"]
BASE = layer_tar(a=bytes(5_600_000))
TOP = layer_tar(b=bytes(2_150_000))
LONG = "RUN /bin/sh -c apk add --no-cache bash # buildkit"
CREATED = rfc3339(time.time_ns() - 22 * 86_400 * 10**9)
HISTORY = [
    {"created": CREATED, "created_by": "/bin/sh -c #(nop) ADD file:f278386b0 in /"},
    {"created": CREATED, "created_by": "CMD", "empty_layer": True},
    {"created": CREATED, "created_by": LONG, "comment": "buildkit.dockerfile.v0"},
]
CONFIG = config_of(BASE, TOP, history=HISTORY, created=CREATED)
ID = sha256(CONFIG)


class Lamina:
    """The command, on a root of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*CLI, f"--root={self.root}", *words], input=stdin, capture_output=True, check=False
        )

    def says(self, *words: str, stdin: bytes = b"") -> str:
        done = self.run(*words, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
        return done.stdout.decode()

    def refuses(self, *words: str, stdin: bytes = b"") -> str:
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 1
        assert b"Traceback" not in done.stderr
        return done.stderr.decode()


@pytest.fixture
def lamina(engine_root: Path) -> Lamina:
    return Lamina(engine_root / "root")


@pytest.fixture
def loaded(lamina: Lamina) -> Lamina:
    data = packed(docker_members(CONFIG, [BASE, TOP], ["acme/base:1.0", "x:2"]))
    assert lamina.says("load", stdin=data) == ("Loaded image: acme/base:1.0\nLoaded image: x:2\n")
    return lamina


def test_the_listing_has_dockers_columns(loaded: Lamina) -> None:
    header, first, second = loaded.says("image", "ls").splitlines()
    short = ID[7:19]
    assert header == "REPOSITORY   TAG       IMAGE ID       CREATED       SIZE"
    assert first == f"acme/base    1.0       {short}   3 weeks ago   7.75MB"
    assert second == f"x            2         {short}   3 weeks ago   7.75MB"
    assert loaded.says("images", "-q", "--no-trunc", "x:2") == f"{ID}\n"
    assert loaded.says("images", "--filter", "reference=acme/*", "-q") == f"{short}\n"
    assert "sha256:" not in loaded.says("images", "--digests")
    digests = loaded.says("images", "--digests").splitlines()[0]
    assert digests == "REPOSITORY   TAG       DIGEST    IMAGE ID       CREATED       SIZE"


def test_the_listing_follows_a_format(loaded: Lamina) -> None:
    assert loaded.says("images", "--format", "{{.Repository}}={{.Tag}} {{.Size}}") == (
        "acme/base=1.0 7.75MB\nx=2 7.75MB\n"
    )
    rows = [json.loads(line) for line in loaded.says("images", "--format=json").splitlines()]
    assert list(rows[0]) == [
        "Containers", "CreatedAt", "CreatedSince", "Digest", "ID", "Repository", "SharedSize",
        "Size", "Tag", "UniqueSize", "VirtualSize",
    ]  # fmt: skip
    refused = loaded.refuses("images", "--format", "{{.Nope}}")
    assert "can't evaluate field Nope in type *formatter.imageContext" in refused


def test_the_history_is_newest_first_with_the_sizes_of_the_layers(loaded: Lamina) -> None:
    lines = [line.rstrip() for line in loaded.says("history", "x:2").splitlines()]
    pad = " " * 14
    assert lines == [
        f"IMAGE{pad[:10]}CREATED       CREATED BY{' ' * 38}SIZE      COMMENT",
        f"{ID[7:19]}   3 weeks ago   {LONG[:44]}…   2.15MB    buildkit.dockerfile.v0",
        f"<missing>      3 weeks ago   CMD{' ' * 45}0B",
        "<missing>      3 weeks ago   /bin/sh -c #(nop) ADD file:f278386b0 in /       5.6MB",
    ]
    assert LONG in loaded.says("image", "history", "--no-trunc", "x:2")
    assert loaded.says("history", "-q", "x:2") == f"{ID[7:19]}\n<missing>\n<missing>\n"
    exact = loaded.says("history", "-H=false", "--format", "{{.CreatedAt}} {{.Size}}", "x:2")
    assert exact.splitlines()[0].endswith(" 2150000")


def test_inspection_shows_json_or_follows_a_format(loaded: Lamina) -> None:
    (told,) = json.loads(loaded.says("image", "inspect", "x:2"))
    assert (told["Id"], told["RepoTags"]) == (ID, ["acme/base:1.0", "x:2"])
    layers = loaded.says("image", "inspect", "--format", "{{json .RootFS.Layers}}", "acme/base:1.0")
    assert layers == f'["{sha256(BASE)}","{sha256(TOP)}"]\n'


def test_what_is_not_there_is_told_in_dockers_words(loaded: Lamina) -> None:
    missing = loaded.run("image", "inspect", "nosuch")
    assert (missing.returncode, missing.stdout) == (1, b"[]\n")
    assert missing.stderr == b"Error: No such image: nosuch\n"
    for words in (("history",), ("rmi",), ("save", "-o", "/dev/null")):
        assert loaded.refuses(*words, "nosuch") == "Error: No such image: nosuch\n"
    assert loaded.run("rmi", "-f", "nosuch").returncode == 0


def test_an_image_for_another_platform_is_not_shown_or_saved(loaded: Lamina) -> None:
    message = (
        "Error: image with reference acme/base:1.0 was found but does not provide the specified "
        "platform (linux/arm64)\n"
    )
    for words in (("history",), ("image", "inspect"), ("save", "-o", "/dev/null")):
        assert loaded.refuses(*words, "--platform", "linux/arm64", "x:2") == message
        loaded.says(*words, "--platform=linux/amd64", "x:2")


def test_names_come_off_before_the_image_goes(loaded: Lamina) -> None:
    assert loaded.says("tag", "x:2", "127.0.0.1:5000/y") == ""
    assert loaded.says("rmi", "x:2") == "Untagged: x:2\n"
    lines = loaded.says("rmi", "127.0.0.1:5000/y", "acme/base:1.0").splitlines()
    assert lines[:3] == [
        "Untagged: 127.0.0.1:5000/y:latest",
        "Untagged: acme/base:1.0",
        f"Deleted: {ID}",
    ]
    assert len(lines) == 5
    assert len(loaded.says("images", "-a").splitlines()) == 1


def test_an_image_with_several_names_is_not_removed_by_id(loaded: Lamina) -> None:
    short = ID[7:19]
    assert loaded.refuses("rmi", short) == (
        f"Error: conflict: unable to delete {short} (must be forced) - "
        "image is referenced in multiple repositories\n"
    )
    assert loaded.says("rmi", "-f", short).startswith("Untagged: acme/base:1.0\nUntagged: x:2\n")


def test_prune_asks_first(loaded: Lamina) -> None:
    loaded.says("load", stdin=packed(docker_members(config_of(TOP), [TOP], ())))
    asked = (
        "WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] "
    )
    assert loaded.says("image", "prune", stdin=b"n\n") == asked
    gone = f"Deleted Images:\ndeleted: {sha256(config_of(TOP))}\ndeleted: {sha256(TOP)}\n\n"
    assert loaded.says("image", "prune", stdin=b"y\n") == (
        f"{asked}{gone}Total reclaimed space: 2.15MB\n"
    )
    assert loaded.says("image", "prune", "-f") == "Total reclaimed space: 0B\n"


def test_an_import_takes_changes_and_a_message(lamina: Lamina) -> None:
    changes = [
        "CMD ls", 'ENTRYPOINT ["sh", "-c"]', "ENV A=1 B='x y'", "EXPOSE 80/tcp 53/udp",
        'LABEL a=b "c d"=e', "USER 1:2", "VOLUME /v /w", "WORKDIR /app", "STOPSIGNAL SIGINT",
    ]  # fmt: skip
    flags = [word for change in changes for word in ("-c", change)]
    printed = lamina.says("import", *flags, "-m", "hello", "-", "imp:1", stdin=TOP)
    (told,) = json.loads(lamina.says("image", "inspect", "imp:1"))
    assert printed == f"{told['Id']}\n"
    assert told["Comment"] == "hello"
    assert told["RootFS"]["Layers"] == [sha256(TOP)]
    assert told["Config"] == {
        "Cmd": ["/bin/sh", "-c", "ls"],
        "Entrypoint": ["sh", "-c"],
        "Env": ["A=1", "B=x y"],
        "ExposedPorts": {"53/udp": {}, "80/tcp": {}},
        "Labels": {"a": "b", "c d": "e"},
        "OnBuild": None,
        "StopSignal": "SIGINT",
        "User": "1:2",
        "Volumes": {"/v": {}, "/w": {}},
        "WorkingDir": "/app",
    }


def test_an_import_that_cannot_be_leaves_nothing(lamina: Lamina, engine_root: Path) -> None:
    lamina.says("images")
    (engine_root / "junk").write_bytes(b"junk" * 1000)
    junk = str(engine_root / "junk")
    assert "run is not a valid change command" in lamina.refuses("import", "-c", "RUN x", junk)
    assert "must be lowercase" in lamina.refuses("import", junk, "BAD:1")
    assert "not supported" in lamina.refuses("import", "http://example.invalid/x.tar")
    assert "no such file" in lamina.refuses("import", str(engine_root / "nosuch"))
    assert "tar" in lamina.refuses("import", junk)
    assert len(lamina.says("images", "-a").splitlines()) == 1


def test_an_archive_is_saved_whole_or_not_at_all(loaded: Lamina, engine_root: Path) -> None:
    target = engine_root / "out.tar"
    target.write_bytes(b"before")
    loaded.refuses("save", "-o", str(target), "x:2", "nosuch")
    assert target.read_bytes() == b"before"
    assert loaded.says("save", "-o", str(target), "x:2") == ""
    streamed = loaded.run("save", "x:2")
    assert streamed.stdout == target.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(streamed.stdout)) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        (item,) = json.loads(manifest.read())
    assert item["RepoTags"] == ["x:2"]
    assert [path.name for path in engine_root.iterdir()].count("out.tar") == 1
    assert not list(engine_root.glob("*.tmp"))


def test_an_archive_is_not_written_to_a_terminal(loaded: Lamina) -> None:
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            [*CLI, f"--root={loaded.root}", "save", "x:2"],
            stdout=theirs,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 1
    assert done.stderr == (
        b"Error: cowardly refusing to save to a terminal. Use the -o flag or redirect\n"
    )


def test_a_bad_archive_is_one_line_and_nothing_else(lamina: Lamina, engine_root: Path) -> None:
    lamina.says("images")
    for data in (b"", b"junk" * 1000, packed({"manifest.json": encoded([{}])})):
        said = lamina.refuses("load", stdin=data)
        assert said.startswith("Error: invalid archive: ")
        assert said.count("\n") == 1
    assert "no such file" in lamina.refuses("load", "-i", str(engine_root / "nosuch"))
    assert len(lamina.says("images", "-a").splitlines()) == 1
