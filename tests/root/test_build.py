"""Builds on real storage drivers and the real runtime: what images hold, what is left behind."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lamina import Engine
from lamina.build.builder import BuildRequest, BuildResult
from lamina.build.events import Event, Finished, Output, Started
from lamina.build.refusals import BuildFailed
from lamina.errors import InvalidInput

APPLETS = (
    "sh ls cat chmod chown echo env id ip ln mkdir mv rm sleep stat test touch true wc".split()
)


def base_tar() -> bytes:
    """A root filesystem of busybox with users and links, and nothing for mounts to stand on."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("bin", "etc", "real", "home"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode, folder.mtime = tarfile.DIRTYPE, 0o755, 1_000_000
            tar.addfile(folder)
        tar.add("/bin/busybox", "bin/busybox")
        for name, target in [*((f"bin/{a}", "busybox") for a in APPLETS), ("link", "/real")]:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        passwd = b"root:x:0:0::/root:/bin/sh\nme:x:1000:1001::/home/me:/bin/sh\n"
        for name, data in (("etc/passwd", passwd), ("etc/group", b"root:x:0:\nus:x:1001:\n")):
            file = tarfile.TarInfo(name)
            file.size, file.mtime = len(data), 1_000_000
            tar.addfile(file, io.BytesIO(data))
    return out.getvalue()


class Workshop:
    """An engine with a base image, a context folder, and what the last build told."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.context = folder / "context"
        self.context.mkdir()
        self.events: list[Event] = []
        self.base = engine.import_image(io.BytesIO(base_tar()), "base")

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.context / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def build(self, dockerfile: str, **request: object) -> BuildResult:
        self.events = []
        wanted = BuildRequest(
            context=self.context,
            definition=dockerfile.encode(),
            network=str(request.pop("network", "none")),
            **request,  # type: ignore[arg-type]
        )
        return self.engine.builder.build(wanted, self.events.append)

    def tree(self, result: BuildResult) -> dict[str, tarfile.TarInfo]:
        """What the image's top layer holds, by its tar."""
        return {member.name: member for member in self.layers(result)[-1]}

    def layers(self, result: BuildResult) -> list[list[tarfile.TarInfo]]:
        found = []
        for layer in self.engine.layers.stack(result.image.chain):
            out = io.BytesIO()
            self.engine.layers.export(layer.chain_id, out)
            out.seek(0)
            with tarfile.open(fileobj=out) as tar:
                found.append(tar.getmembers())
        return found

    def read(self, result: BuildResult, path: str) -> bytes:
        with self.engine.layers.view(result.image.chain) as root:
            return (root / path).read_bytes()

    def status(self, result: BuildResult, path: str) -> os.stat_result:
        with self.engine.layers.view(result.image.chain) as root:
            return os.lstat(root / path)

    def cached(self) -> list[bool]:
        """Of each step that makes a layer, in order, whether it was found."""
        names = {e.step: e.name for e in self.events if isinstance(e, Started)}
        return [
            event.cached
            for event in self.events
            if isinstance(event, Finished)
            and names[event.step].startswith("[")
            and not names[event.step].startswith("[internal]")
            and " FROM " not in names[event.step]
        ]

    def output(self) -> str:
        return b"".join(e.data for e in self.events if isinstance(e, Output)).decode()

    def rubbish(self) -> list[str]:
        """Mounts, snapshots, staged things and folders that an ended build should not have left."""
        root = self.engine.root
        found = [str(path) for path in root.tmp.iterdir()]
        for table in ("operations", "staged", "leases", "snapshots"):
            found += [
                f"{table}: {tuple(row)}" for row in root.database.read(f"SELECT * FROM {table}")
            ]
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        found += [line for line in mounts if f"{root.path}/" in line]
        contents = {row["cache_id"] for row in root.database.read("SELECT cache_id FROM contents")}
        found += sorted(set(self.engine.driver.list()) ^ contents)
        found += list(self.engine.driver.leftovers())
        return found


@pytest.fixture(params=["overlay2", "vfs"])
def workshop(request: pytest.FixtureRequest, engine_root: Path) -> Iterator[Workshop]:
    with Engine(engine_root / "root", storage_driver=request.param) as engine:
        made = Workshop(engine, engine_root)
        yield made
        assert made.rubbish() == []


def test_the_documents_example(workshop: Workshop) -> None:
    workshop.write({"hello.sh": "#!/bin/sh\necho Hello\n"})
    os.chmod(workshop.context / "hello.sh", 0o644)
    result = workshop.build(
        "# syntax=docker/dockerfile:1\nFROM base\nCOPY . /app\nRUN chmod +x /app/hello.sh\n"
        "CMD /app/hello.sh\n",
        tags=("acme/my-final-image:1.0",),
    )
    engine = workshop.engine
    image = engine.images.resolve("acme/my-final-image:1.0")
    assert image.id == result.image_id
    base_layers = engine.layers.stack(workshop.base.chain)
    layers = engine.layers.stack(image.chain)
    assert layers[: len(base_layers)] == base_layers
    assert len(layers) == len(base_layers) + 2
    steps = engine.images.history(image)
    assert [(step.created_by, step.size_bytes, step.comment) for step in steps[:3]] == [
        ('CMD ["/bin/sh" "-c" "/app/hello.sh"]', 0, "buildkit.dockerfile.v0"),
        ("RUN /bin/sh -c chmod +x /app/hello.sh # buildkit", 21, "buildkit.dockerfile.v0"),
        ("COPY . /app # buildkit", 21, "buildkit.dockerfile.v0"),
    ]
    assert workshop.status(result, "app/hello.sh").st_mode & 0o777 == 0o755


def test_deleted_files_still_count_in_the_layer_that_has_them(workshop: Workshop) -> None:
    result = workshop.build("FROM base\nRUN echo 12345 > /cache\nRUN rm /cache\nLABEL a=b\nCMD x\n")
    sizes = [layer.size_bytes for layer in workshop.engine.layers.stack(result.image.chain)]
    assert sizes[1:] == [6, 0]
    assert result.image.size_bytes == sum(sizes)
    assert set(workshop.tree(result)) == {".wh.cache"}


def test_a_command_leaves_nothing_in_its_layer_but_its_own_changes(workshop: Workshop) -> None:
    result = workshop.build("FROM base\nRUN true\nRUN ls /proc/self /sys /dev/null /etc/hosts\n")
    assert workshop.layers(result)[1:] == [[], []]
    result = workshop.build("FROM base\nRUN echo x > /etc/mine\n")
    assert set(workshop.tree(result)) == {"etc", "etc/mine"}


def test_commands_on_a_filesystem_of_nothing_but_a_shell(workshop: Workshop) -> None:
    workshop.write({"busybox": Path("/bin/busybox").read_bytes()})
    os.chmod(workshop.context / "busybox", 0o755)
    result = workshop.build('FROM scratch\nCOPY busybox /sh\nRUN ["/sh", "-c", "echo $PATH"]\n')
    assert workshop.layers(result)[1] == []
    assert "/usr/local/sbin:" in workshop.output()


def test_a_build_that_finds_every_step_gives_the_same_image(workshop: Workshop) -> None:
    workshop.write({"a": "a"})
    text = "FROM base\nWORKDIR /w\nCOPY a .\nRUN cat a > b\nENV X=1\n"
    first = workshop.build(text)
    assert workshop.cached() == [False, False, False]
    second = workshop.build(text)
    assert workshop.cached() == [True, True, True]
    assert second.image_id == first.image_id
    workshop.build(text, use_cache=False)
    assert workshop.cached() == [False, False, False]


def test_the_cache_looks_at_content_and_not_at_times(workshop: Workshop) -> None:
    workshop.write({"a": "a", "other": "x"})
    text = "FROM base\nCOPY a /\nRUN true\n"
    workshop.build(text)
    os.utime(workshop.context / "a", ns=(1, 1))
    workshop.write({"other": "changed"})
    workshop.build(text)
    assert workshop.cached() == [True, True]
    os.chmod(workshop.context / "a", 0o600)
    workshop.build(text)
    assert workshop.cached() == [False, False]
    workshop.write({"a": "b"})
    workshop.build(text)
    assert workshop.cached() == [False, False]


def test_what_does_not_change_the_filesystem_does_not_miss_the_cache(workshop: Workshop) -> None:
    workshop.build("FROM base\nARG V\nRUN true\n", args={"V": "1"})
    workshop.build("FROM base\nLABEL x=y\nARG V\nRUN true\nCMD z\n", args={"V": "1"})
    assert workshop.cached() == [True]
    workshop.build("FROM base\nARG V\nRUN true\n", args={"V": "2"})
    assert workshop.cached() == [False]


def test_copy_puts_files_where_docker_does(workshop: Workshop) -> None:
    workshop.write({"a": "A", "d/x": "X", "d/sub/y": "Y", "e1": "1", "e2": "2"})
    os.symlink("x", workshop.context / "d/link")
    os.symlink("a", workshop.context / "to-a")
    result = workshop.build(
        "FROM base\nCOPY a /new/name\nCOPY a /folder/\nCOPY d /all\nCOPY d/ /real\n"
        "COPY e* /many/\nCOPY to-a /followed\nCOPY a d /both/\nCOPY a /real\n"
    )
    with workshop.engine.layers.view(result.image.chain) as root:
        texts = {
            str(path.relative_to(root)): path.read_text()
            for folder in ("new", "folder", "all", "real", "many", "both")
            for path in sorted((root / folder).rglob("*"))
            if path.is_file() and not path.is_symlink()
        }
        assert os.readlink(root / "all/link") == "x"
        assert (root / "followed").is_file()
        assert not (root / "followed").is_symlink()
    assert texts == {
        "new/name": "A",
        "folder/a": "A",
        "all/x": "X",
        "all/sub/y": "Y",
        "real/x": "X",
        "real/sub/y": "Y",
        "real/a": "A",
        "many/e1": "1",
        "many/e2": "2",
        "both/a": "A",
        "both/x": "X",
        "both/sub/y": "Y",
    }


def test_copied_files_are_roots_and_keep_mode_and_time(workshop: Workshop) -> None:
    workshop.write({"a": "A"})
    os.chown(workshop.context / "a", 1234, 1234)
    os.chmod(workshop.context / "a", 0o4751)
    os.utime(workshop.context / "a", ns=(0, 1_500_000_000_123_456_789))
    result = workshop.build("FROM base\nCOPY a /\n")
    found = workshop.status(result, "a")
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (0, 0, 0o4751)
    assert found.st_mtime_ns == 1_500_000_000_123_456_789


@pytest.mark.parametrize(
    ("flag", "owner"),
    [("me", (1000, 1001)), ("me:root", (1000, 0)), ("7", (7, 7)), ("7:8", (7, 8)), (":us", None)],
)
def test_copy_with_an_owner(workshop: Workshop, flag: str, owner: tuple[int, int] | None) -> None:
    workshop.write({"d/a": "A"})
    text = f"FROM base\nCOPY --chown={flag} --chmod=0640 d /dir/\n"
    if owner is None:
        with pytest.raises(BuildFailed, match="--chown"):
            workshop.build(text)
        return
    result = workshop.build(text)
    for path, mode in (("dir", 0o755), ("dir/a", 0o640)):
        found = workshop.status(result, path)
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (*owner, mode)


def test_copying_the_same_files_makes_the_same_layer(workshop: Workshop) -> None:
    workshop.write({"d/a": "A", "d/b": "B"})
    text = "FROM base\nCOPY d/a /etc/\nCOPY d /deep/down/\n"
    first = workshop.build(text)
    second = workshop.build(text, use_cache=False)
    assert first.image.config.diff_ids == second.image.config.diff_ids


def test_links_of_the_image_do_not_lead_out_of_it(workshop: Workshop, engine_root: Path) -> None:
    outside = engine_root / "outside"
    outside.mkdir()
    workshop.write({"f": "F"})
    result = workshop.build(
        f"FROM base\nRUN ln -s {outside} /abs; ln -s ../../../../../..{outside} /rel\n"
        "COPY f /abs/\nCOPY f /rel/g\nCOPY f /link/h\nWORKDIR /abs/w\n"
    )
    assert list(outside.iterdir()) == []
    inside = str(outside).lstrip("/")
    assert workshop.read(result, f"{inside}/f") == b"F"
    assert workshop.read(result, f"{inside}/g") == b"F"
    assert workshop.read(result, "real/h") == b"F"


def test_links_of_the_context_do_not_lead_out_of_it(workshop: Workshop, engine_root: Path) -> None:
    (engine_root / "secret").write_text("secret")
    os.symlink("../secret", workshop.context / "up")
    os.symlink("/etc/hostname", workshop.context / "absolute")
    os.symlink("..", workshop.context / "above")
    for source in ("up", "absolute", "above/secret", "../secret", "/../secret"):
        with pytest.raises(BuildFailed, match="not found"):
            workshop.build(f"FROM base\nCOPY {source} /x\n")


def test_copy_refuses_to_mix_files_and_folders(workshop: Workshop) -> None:
    workshop.write({"file": "F", "folder/etc/x": "X"})
    with pytest.raises(BuildFailed, match="cannot copy to non-directory: /etc/passwd"):
        workshop.build("FROM base\nCOPY folder /etc/passwd\n")
    workshop.write({"tree/real": "a file"})
    with pytest.raises(BuildFailed, match="cannot replace to directory /real with file"):
        workshop.build("FROM base\nCOPY tree /\n")


def test_hard_links_in_what_is_copied_stay_links(workshop: Workshop) -> None:
    workshop.write({"d/a": "A"})
    os.link(workshop.context / "d/a", workshop.context / "d/b")
    result = workshop.build("FROM base\nCOPY d /d\n")
    assert workshop.status(result, "d/a").st_nlink == 2


def test_ignored_files_are_not_there(workshop: Workshop) -> None:
    workshop.write(
        {".dockerignore": "*.log\nsecret\n!secret/open\n", "a.log": "", "a": "A", "secret/x": ""}
    )
    workshop.write({"secret/open/y": "Y"})
    result = workshop.build("FROM base\nCOPY . /c/\n")
    with workshop.engine.layers.view(result.image.chain) as root:
        found = sorted(str(path.relative_to(root / "c")) for path in (root / "c").rglob("*"))
    assert found == [".dockerignore", "a", "secret", "secret/open", "secret/open/y"]
    with pytest.raises(BuildFailed, match=r'"/a\.log": not found'):
        workshop.build("FROM base\nCOPY a.log /\n")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_add_extracts_archives_and_copy_does_not(workshop: Workshop, mode: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        member = tarfile.TarInfo("in/side")
        member.size, member.mode, member.uid, member.gid = 2, 0o640, 5, 6
        tar.addfile(member, io.BytesIO(b"hi"))
    workshop.write({"archive": out.getvalue(), "plain": "no archive"})
    result = workshop.build("FROM base\nADD archive plain /to/\nCOPY archive /kept\n")
    assert workshop.read(result, "to/in/side") == b"hi"
    assert workshop.read(result, "to/plain") == b"no archive"
    assert workshop.read(result, "kept") == out.getvalue()
    found = workshop.status(result, "to/in/side")
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (5, 6, 0o640)


def test_stages_hand_on_files_and_what_is_not_needed_is_not_run(workshop: Workshop) -> None:
    result = workshop.build(
        "FROM base AS made\nRUN echo made > /made; chown 3:4 /made; chmod 600 /made\n"
        "FROM base AS broken\nRUN exit 1\n"
        "FROM made AS more\nRUN echo more >> /made\n"
        "FROM scratch\nCOPY --from=more /made /etc/passwd /got/\nCOPY --from=base /bin/busybox /b\n"
    )
    assert workshop.read(result, "got/made") == b"made\nmore\n"
    found = workshop.status(result, "got/made")
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (3, 4, 0o600)
    assert len(workshop.engine.layers.stack(result.image.chain)) == 2


def test_the_user_the_folder_and_the_variables_of_a_command(workshop: Workshop) -> None:
    workshop.build(
        "FROM base\nENV A=1\nARG B=2\nWORKDIR /home/me\nUSER me\nRUN id -u; id -g; env\n"
    )
    lines = workshop.output().splitlines()
    assert lines[:2] == ["1000", "1001"]
    assert {"A=1", "B=2", "PWD=/home/me"} <= set(lines)


def test_a_script_with_an_interpreter_of_its_own_is_executed(workshop: Workshop) -> None:
    result = workshop.build("FROM base\nRUN <<EOF\n#!/bin/sh\necho $0 > /out\nEOF\n")
    assert workshop.read(result, "out") == b"/dev/pipes/EOF\n"
    assert set(workshop.tree(result)) == {"out"}


def test_a_failed_command_is_told_with_its_place_and_leaves_nothing(workshop: Workshop) -> None:
    with pytest.raises(BuildFailed) as failed:
        workshop.build("FROM base\nRUN echo before\nRUN echo oh; exit 7\n", tags=("never:1",))
    assert str(failed.value) == (
        'failed to solve: process "/bin/sh -c echo oh; exit 7" did not complete successfully: '
        "exit code: 7"
    )
    assert str(failed.value.excerpt).splitlines()[0] == "Dockerfile:3"
    assert " >>> RUN echo oh; exit 7" in str(failed.value.excerpt).replace("   3 |", "")
    assert [line.partition(" ")[2] for line in failed.value.output] == ["oh"]
    assert [image.id for image in workshop.engine.images.list()] == [workshop.base.id]


def test_a_command_that_is_not_there_is_named(workshop: Workshop) -> None:
    with pytest.raises(BuildFailed, match="/nowhere"):
        workshop.build('FROM base\nRUN ["/nowhere"]\n')


def test_a_failing_stage_stops_the_others(workshop: Workshop) -> None:
    with pytest.raises(BuildFailed, match="exit code: 3"):
        workshop.build(
            "FROM base AS slow\nRUN sleep 600\nFROM base\nRUN exit 3\nCOPY --from=slow / /\n"
        )


def test_an_interrupted_build_kills_its_command(workshop: Workshop) -> None:
    running = threading.Event()

    class Interrupt(BaseException):
        pass

    def listen(event: Event) -> None:
        if isinstance(event, Output):
            running.set()
            raise Interrupt

    request = BuildRequest(definition=b"FROM base\nRUN echo go; sleep 600\n", network="none")
    with pytest.raises(Interrupt):
        workshop.engine.builder.build(request, listen)
    assert running.is_set()


def test_a_killed_build_leaves_a_root_that_opens_clean(engine_root: Path) -> None:
    root = engine_root / "root"
    with Engine(root, storage_driver="overlay2") as engine:
        Workshop(engine, engine_root)
    script = (
        "import sys\nfrom lamina import Engine\nfrom lamina.build.builder import BuildRequest\n"
        "from lamina.build.events import Output\nimport os, signal\n"
        "def listen(event):\n"
        "    if isinstance(event, Output): os.kill(os.getpid(), signal.SIGKILL)\n"
        "with Engine(sys.argv[1]) as engine:\n"
        "    text = b'FROM base\\nRUN echo kept > /kept\\nRUN echo go; sleep 600\\n'\n"
        "    engine.builder.build(BuildRequest(definition=text, network='none'), listen)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, root], check=False)
    assert done.returncode == -9
    with Engine(root, storage_driver="overlay2") as engine:
        workshop = Workshop.__new__(Workshop)
        workshop.engine = engine
        assert len(engine.layers.stack(engine.images.resolve("base").chain)) == 1
        assert list((engine.root.run / "build").iterdir()) == []
        assert workshop.rubbish() == []


def test_pruning_frees_what_no_image_holds(workshop: Workshop) -> None:
    text = "FROM base\nRUN echo 1234567 > /a\n"
    result = workshop.build(text, tags=("held:1",))
    workshop.build("FROM base\nRUN echo 123 > /b\n", tags=("gone:1",))
    workshop.engine.images.remove("gone:1")
    cache = workshop.engine.builder.cache
    assert len(cache.records()) == 2
    pruned = cache.prune()
    assert (len(pruned.records), pruned.freed_bytes) == (1, 4)
    workshop.build(text)
    assert workshop.cached() == [True]
    pruned = cache.prune(everything=True)
    assert (len(pruned.records), pruned.freed_bytes) == (1, 0)
    workshop.engine.images.remove(str(result.image_id), force=True)
    assert workshop.engine.layers.find(result.image.chain) is None  # type: ignore[arg-type]


def test_removing_an_image_keeps_what_the_cache_holds(workshop: Workshop) -> None:
    text = "FROM base\nRUN echo 1 > /a\n"
    workshop.build(text, tags=("x:1",))
    workshop.engine.images.remove("x:1")
    workshop.build(text)
    assert workshop.cached() == [True]


def test_images_of_metadata_alone(workshop: Workshop) -> None:
    result = workshop.build("FROM base\nLABEL a=b\n")
    assert result.image.chain == workshop.base.chain
    assert workshop.build("FROM base\nLABEL a=b\n").image_id == result.image_id
    empty = workshop.build("FROM scratch\nLABEL a=b\n")
    assert empty.image.chain is None


def test_steps_are_dated_and_steps_in_between_take_the_date_of_the_layer_before(
    workshop: Workshop,
) -> None:
    result = workshop.build("FROM base\nLABEL a=b\nRUN true\nCMD x\n")
    _, label, run, cmd = result.image.config.history
    assert label.created == run.created == cmd.created == result.image.config.created != ""
    assert [entry.empty_layer for entry in (label, run, cmd)] == [True, False, True]


def test_a_build_needs_its_base_image(workshop: Workshop) -> None:
    with pytest.raises(
        BuildFailed, match="nothere:1: failed to resolve source metadata for docker"
    ):
        workshop.build("FROM nothere:1\n")


def test_bad_names_are_refused_before_anything_runs(workshop: Workshop) -> None:
    with pytest.raises(InvalidInput, match="invalid tag"):
        workshop.build("FROM base\nRUN true\n", tags=("UPPER:1",))
    assert workshop.events == []


def test_the_network_is_what_was_asked_for(workshop: Workshop) -> None:
    workshop.build("FROM base\nRUN ip -o link | wc -l\n", network="none")
    assert workshop.output() == "1\n"
    host = len(os.listdir("/sys/class/net"))
    workshop.build("FROM base\nRUN ip -o link | wc -l\n", network="host")
    assert workshop.output() == f"{host}\n"
    workshop.build("FROM base\nRUN ip -o -4 addr show eth0 | wc -l\n", network="default")
    assert workshop.output() == "1\n"


def test_the_configuration_is_the_image_specifications(workshop: Workshop) -> None:
    result = workshop.build(
        'FROM base\nEXPOSE 80\nVOLUME /v\nUSER me\nENTRYPOINT ["/e"]\nLABEL a=b\nENV A=1\n'
        'WORKDIR /w\nSTOPSIGNAL SIGINT\nSHELL ["/bin/x"]\nMAINTAINER me@here\n'
    )
    document = json.loads(result.image.read_config())
    assert document["config"] == {
        "User": "me",
        "ExposedPorts": {"80/tcp": {}},
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=1"],
        "Entrypoint": ["/e"],
        "Volumes": {"/v": {}},
        "WorkingDir": "/w",
        "Labels": {"a": "b"},
        "StopSignal": "SIGINT",
        "Shell": ["/bin/x"],
    }
    assert document["author"] == "me@here"
