"""The same Dockerfiles built here and by BuildKit (in dockerd): the same files and words."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from dockerkit import DOCKER, Dockerd

from lamina import Engine
from lamina.build.builder import BuildRequest, BuildResult
from lamina.build.events import Event, Started
from lamina.build.refusals import BuildFailed

APPLETS = "sh ls cat chmod chown echo env id ln mkdir mv rm sleep stat test touch true".split()
NOT_THE_IMAGES = re.compile(
    r"(dev|proc|sys|etc$)(/|$)|\.dockerenv$|etc/(hosts|hostname|resolv\.conf|mtab)$"
)


def base_tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("bin", "etc", "proc", "sys", "dev", "real", "home", "home/me"):
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


def fill_context(folder: Path) -> None:
    """Files of every kind, modes and times that must come through, and patterns that hide some."""

    def file(name: str, text: str, mode: int = 0o644) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    file("a", "A")
    file("run.sh", "#!/bin/sh\necho run\n", 0o755)
    file("setuid", "S", 0o4755)
    file("d/x", "X", 0o600)
    file("d/sub/y", "Y")
    file("d/sub/deep/z.md", "Z")
    file("e/one.txt", "1")
    file("e/two.txt", "2")
    file("e/.hidden", "h")
    file("hidden.log", "log")
    file("keep/secret/open/y", "Y")
    file("keep/secret/closed", "N")
    file("with space", "W")
    file("tree/real/inner", "I")
    file("tree/link-place", "L")
    file("clash/etc", "not a folder")
    file("clash2/real", "not a folder")
    file("[odd]", "O")
    (folder / "d/empty").mkdir(mode=0o700)
    (folder / "d").chmod(0o750)
    os.symlink("x", folder / "d/to-x")
    os.symlink("../../../../etc/hostname", folder / "d/out")
    os.symlink("a", folder / "to-a")
    os.symlink("d", folder / "to-d")
    os.link(folder / "d/x", folder / "d/hard")
    os.chown(folder / "a", 55, 66)
    (folder / ".dockerignore").write_text("*.log\nkeep/secret\n!keep/secret/open\n**/*.md\n")
    for mode, name in (("w:gz", "t.tgz"), ("w:xz", "t.txz"), ("w", "t.tar"), ("w:bz2", "t.tbz")):
        with tarfile.open(folder / name, mode) as tar:  # type: ignore[call-overload]
            for path, uid, bits in (("in", 0, 0o755), ("in/f", 7, 0o640)):
                member = tarfile.TarInfo(path)
                member.uid, member.gid, member.mode, member.mtime = uid, uid, bits, 2_000_000
                if path == "in":
                    member.type = tarfile.DIRTYPE
                    tar.addfile(member)
                else:
                    member.size = 1
                    tar.addfile(member, io.BytesIO(b"F"))
            link = tarfile.TarInfo("in/l")
            link.type, link.linkname, link.mtime = tarfile.SYMTYPE, "/etc/passwd", 2_000_000
            tar.addfile(link)
    for path in sorted(folder.rglob("*"), reverse=True):
        os.utime(
            path, ns=(1_600_000_000_000_000_000, 1_600_000_000_123_456_789), follow_symlinks=False
        )


@dataclass
class Both:
    """The two engines, with one base image and one context."""

    engine: Engine
    docker: Dockerd
    context: Path

    def here(self, dockerfile: str, listener: Callable[[Event], None]) -> BuildResult:
        request = BuildRequest(
            self.context,
            definition=dockerfile.encode(),
            args={"GIVEN": "given"},
            network="none",
        )
        return self.engine.builder.build(request, listener)

    def there(self, dockerfile: str) -> subprocess.CompletedProcess[bytes]:
        return self.docker(
            *("build", "--network", "none", "--progress", "plain", "--build-arg", "GIVEN=given"),
            *("-t", "made", "-f", "-", str(self.context)),
            stdin=dockerfile.encode(),
        )


@pytest.fixture(scope="module")
def both(scratch_filesystem: Path) -> Iterator[Both]:
    for program in ("dockerd", DOCKER):
        if shutil.which(program) is None:
            pytest.fail(f"{program} is missing: apt-get install docker.io")
    folder = Path(tempfile.mkdtemp(prefix="compat-", dir=scratch_filesystem))
    context = folder / "context"
    context.mkdir()
    fill_context(context)
    (folder / "docker").mkdir()
    docker = Dockerd(folder / "docker")
    try:
        docker.wait()
        docker.ok("import", "-", "base", stdin=base_tar())
        with Engine(folder / "root", storage_driver="overlay2") as engine:
            engine.import_image(io.BytesIO(base_tar()), "base")
            yield Both(engine, docker, context)
    finally:
        docker.stop()
        subprocess.run(["rm", "-rf", folder], check=False)


Tree = dict[str, tuple[object, ...]]


def tree_there(docker: Dockerd) -> Tree:
    container = docker.ok("create", "made", "x").decode().strip()
    found: Tree = {}
    with tarfile.open(fileobj=io.BytesIO(docker.ok("export", container))) as tar:
        for member in tar:
            name = member.name.rstrip("/")
            kind = stat.S_IFMT(_mode(member))
            content: object = member.linkname if member.issym() else None
            if member.isreg():
                opened = tar.extractfile(member)
                content = opened.read() if opened else None
            if member.islnk():
                found[name] = found[member.linkname]
                continue
            found[name] = (
                kind,
                member.mode & 0o7777,
                member.uid,
                member.gid,
                int(member.mtime),
                content,
            )
    docker.ok("rm", container)
    return found


def _mode(member: tarfile.TarInfo) -> int:
    kinds = {tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK}
    return kinds.get(member.type, stat.S_IFREG)


def tree_here(engine: Engine, result: BuildResult) -> Tree:
    found: Tree = {}
    with engine.layers.view(result.image.chain) as root:
        for path in sorted(root.rglob("*")):
            status = path.lstat()
            kind = stat.S_IFMT(status.st_mode)
            content: object = None
            if kind == stat.S_IFLNK:
                content = os.readlink(path)
            elif kind == stat.S_IFREG:
                content = path.read_bytes()
            mode = 0o777 if kind == stat.S_IFLNK else status.st_mode & 0o7777
            facts = (kind, mode, status.st_uid, status.st_gid, int(status.st_mtime), content)
            found[str(path.relative_to(root))] = facts
    return found


def without_times_of_today(tree: Tree) -> Tree:
    """Times that a build itself gave are not the same in two builds; all others must be."""
    return {
        name: tuple(
            "now" if isinstance(fact, int) and index == 4 and fact > 1_700_000_000 else fact
            for index, fact in enumerate(facts)
        )
        for name, facts in tree.items()
        if not NOT_THE_IMAGES.match(name)
    }


GOOD = {
    "copy a file": "COPY a /\nCOPY a /new/name\nCOPY a /folder/\nCOPY a /real\nCOPY setuid /s\n"
    "COPY ../a /up\n",
    "copy folders": "COPY d /d\nCOPY d/ /e/\nCOPY d /real\nCOPY . /all/\n",
    "copy contents": "COPY d/sub /\nCOPY . .\n",
    "copy patterns": "COPY e/*.txt /t/\nCOPY e/* /u/\nCOPY ?x.sh r?n.sh /v/\n"
    "COPY d/[hxs]* d/to-* /w/\n",
    "copy what no pattern matches": "COPY nothing* /x/\nCOPY a nothing? /y/\n",
    "copy several": 'COPY a run.sh d /many/\nCOPY ["with space", "/to here/"]\n',
    "copy odd names": "COPY [[]odd] /odd/\n",
    "copy links": "COPY to-a /l1\nCOPY to-a /l/\nCOPY to-d /l2\nCOPY d/to-x /l3\nCOPY to-*/ /l4/\n",
    "copy through links": "COPY a /link/\nCOPY a /link/b\nCOPY d /link\nCOPY tree /\n",
    "copy over": "COPY a /etc/group\nCOPY d /x\nCOPY d/sub /x\nCOPY a /x/y\n",
    "copy owners": "COPY --chown=me a /1\nCOPY --chown=me:root d /2/3\nCOPY --chown=7 a /4\n"
    "COPY --chown=7:8 a /5\nCOPY --chown=1000 a /6\n",
    "copy relative": "WORKDIR /w/x\nCOPY a .\nCOPY a b\nCOPY d ./d2\nCOPY a ../up\nCOPY a ./y/\n",
    "ignored": "COPY keep /keep\nCOPY . /all\n",
    "add": "ADD t.tgz /\nADD t.txz /x/\nADD t.tar /y\nADD t.tbz a /z/\n"
    "ADD d /d\nADD --chown=3:4 a /c\n",
    "workdir": "WORKDIR /a/b\nWORKDIR c\nWORKDIR /link/w\nWORKDIR /etc\nRUN touch here\n",
    "workdir of a user": "USER me\nWORKDIR /home/me/work\nRUN id -u > f\n",
    "run": "RUN echo a > /a; chmod 600 /a; ln /a /b; ln -s a /c; mkdir -m 700 /d; rm /etc/group\n"
    'RUN ["/bin/sh", "-c", "echo exec > /e"]\nRUN rm -r /home; mkdir /home\n',
    "environment": 'ENV A=1 B="two words" C=three\\ words\nENV OLD the rest\nARG GIVEN\nARG D=d$A\n'
    "ARG NONE\nRUN env | grep -v -e ^HOSTNAME -e ^HOME | sort > /env || env > /env\n",
    "substitution": "ENV A=x E=\nLABEL l1=$A l2=${A} l3=${NONE:-d} l4=${A:+s} l5='$A' l6=\"$A\"\n"
    "LABEL l7=\\$A\n"
    'LABEL l8=${E:-d} l10=a$A.b l11=$A$A "l12 $A"=1\nUSER ${NONE:-me}\n'
    "EXPOSE $NONE 80\nVOLUME $A\nWORKDIR /$A\nCOPY a /$A/\n",
    "configuration": 'LABEL a=b "c d"=\'e f\'\nEXPOSE 80 443/udp 10-12\nVOLUME /v ["/u"]\n'
    'VOLUME ["/p q", "/r"]\nUSER me:us\nSTOPSIGNAL SIGUSR1\nENTRYPOINT ["/e", "x"]\n'
    'CMD ["y"]\nSHELL ["/bin/sh", "-ec"]\nHEALTHCHECK --interval=1m30s --retries=2 CMD a b\n'
    "ONBUILD RUN echo $A\nONBUILD COPY . /src\n",
    "shell forms": 'CMD echo $HOME && x\nENTRYPOINT exec top -b\nHEALTHCHECK CMD ["a", "b"]\n',
    "shell": 'SHELL ["/bin/sh", "-xc"]\nRUN echo hi\nCMD x\nHEALTHCHECK NONE\n',
    "entrypoint resets": 'ENTRYPOINT ["a"]\n',
    "continuations": "RUN echo a \\\n # comment\n  && echo b \\\n\n  && echo c > /c\n"
    'LABEL x="a\\\n  b"\n',
    "stages": "RUN echo 1 > /1; chown 3:4 /1; chmod 640 /1\n"
    "FROM base AS two\nCOPY --from=0 /1 /got/\n"
    "FROM scratch\nCOPY --from=two /got /g\nCOPY --from=two /got/1 /bin /h/\n"
    "COPY --from=base /link /l\n",
    "metadata alone": "LABEL a=b\nMAINTAINER me@here\n",
}


@pytest.mark.parametrize("name", GOOD)
def test_the_image_is_the_one_that_buildkit_makes(both: Both, name: str) -> None:
    dockerfile = f"FROM base\n{GOOD[name]}"
    titles: list[str] = []
    result = both.here(
        dockerfile, lambda event: titles.append(event.name) if isinstance(event, Started) else None
    )
    done = both.there(dockerfile)
    assert done.returncode == 0, done.stderr.decode()
    ours = without_times_of_today(tree_here(both.engine, result))
    theirs = without_times_of_today(tree_there(both.docker))
    assert differences(ours, theirs) == []
    config = json.loads(both.docker.ok("image", "inspect", "made"))[0]["Config"]
    own = json.loads(result.image.read_config())["config"]
    for key in (
        *("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels"),
        *("StopSignal", "Healthcheck", "OnBuild", "Shell"),
    ):
        assert (own.get(key) or None) == (config.get(key) or None), key
    history = both.docker.ok("history", "--no-trunc", "--format", "{{.CreatedBy}}", "made").decode()
    ours_told = [older(step.created_by) for step in both.engine.images.history(result.image)]
    assert [line for line in ours_told if line] == [line for line in history.splitlines() if line]
    steps = re.findall(r"^#\d+ (\[.*)$", done.stderr.decode(), re.MULTILINE)
    wanted = {
        title.replace('"', "")
        for title in steps
        if not title.startswith("[internal]") and " FROM " not in title
    }
    # Later releases keep the quotes in what they show.
    assert {title.replace('"', "") for title in titles} >= wanted


def differences(ours: Tree, theirs: Tree) -> list[str]:
    for name, facts in theirs.items():
        # BuildKit's folders are as new as the build; ours keep their time, or have their content's.
        if name in ours and facts[0] == stat.S_IFDIR and facts[4] == "now":
            ours[name] = (*ours[name][:4], "now", *ours[name][5:])
    return [
        f"{name}: {ours.get(name)} and not {theirs.get(name)}"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ]


def older(told: str) -> str:
    """Later releases of BuildKit tell of the flags of COPY and ADD, and of one more time."""
    told = re.sub(r"^(COPY|ADD) (--\w+=\S+ )+", r"\1 ", told)
    return re.sub(r'("[^"]*") "0s"( \'\\x)', r"\1\2", told)


BAD = [
    "FROM base\nCOPY nothing /\n",
    "FROM base\nCOPY hidden.log /\n",
    "FROM base\nCOPY d/* /dangling/\n",
    "FROM base\nCOPY a d /no-slash\n",
    "FROM base\nCOPY clash /\n",
    "FROM base\nCOPY d /etc/passwd\n",
    "FROM base\nCOPY clash2 /\n",
    "FROM base\nCOPY --from=nothing-such/image a /\n",
    "FROM base\nCOPY\n",
    "FROM base\nCOPY a\n",
    "FROM base\nRUN exit 7\n",
    "FROM base\nFOO\n",
    "FROM\n",
    "FROM base as\n",
    "RUN x\n",
    "FROM base\nENV a\n",
    "FROM base\nENV a=b c\n",
    "FROM base\nCMD [1]\n",
    "FROM base\nSHELL x\n",
    "FROM base\nUSER\n",
    "FROM base\nLABEL a=${x\n",
    "FROM base\nEXPOSE a\n",
    "FROM base\nHEALTHCHECK x\n",
    "FROM base\nRUN --nothing x\n",
    "FROM base AS 1x\n",
    "FROM nothing-such/image\n",
    "# escape=x\nFROM base\n",
    "FROM base\nSTOPSIGNAL nothing\n",
    "FROM base\nVOLUME\n",
    "FROM base\nUSER nobody-knows\nRUN true\n",
]


@pytest.mark.parametrize("dockerfile", BAD)
def test_what_buildkit_refuses_is_refused(both: Both, dockerfile: str) -> None:
    done = both.there(dockerfile)
    assert done.returncode != 0
    with pytest.raises(BuildFailed):
        both.here(dockerfile, lambda event: None)
