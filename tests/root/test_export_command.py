"""`lamina export` and `lamina layer export`: whole filesystems and exact layers as tars."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pty
import subprocess
import tarfile
from pathlib import Path

from commandkit import LAMINA, Lamina


def raw(lamina: Lamina, *args: str) -> bytes:
    done = subprocess.run(
        [LAMINA, *args], capture_output=True, env=lamina.environment, timeout=60, check=True
    )
    return done.stdout


def members(data: bytes) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for each in tar:
            file = tar.extractfile(each) if each.isreg() else None
            found[each.name] = (
                *(each.type, each.mode, each.uid, each.gid, each.linkname, int(each.mtime)),
                file.read() if file else b"",
            )
    return found


def test_an_exported_container_imports_to_the_same_filesystem(own: Lamina, tmp_path: Path) -> None:
    script = (
        "echo new >/root/new; rm /etc/group; mkfifo /root/pipe; ln /root/new /root/twin;"
        "ln -s /nowhere /root/link; chown 70000:5 /root/new; chmod 4711 /root/new; rm -r /data;"
        "mkdir -m 700 /data; exec sleep 1000"
    )
    own.ok("run", "-d", "--name", "box", "--network", "none", "busybox", "sh", "-c", script)
    own.ok("exec", "box", "sh", "-c", "until [ -d /data ] && ! [ -e /data/seed ]; do :; done")
    running = raw(own, "export", "box")
    own.ok("stop", "-t", "0", "box")
    target = tmp_path / "box.tar"
    own.ok("export", "-o", str(target), "box")
    assert target.read_bytes() == running, "a stopped container is exported as a running one"
    own.ok("import", str(target), "again")
    own.ok("create", "--name", "copy", "again", "true")
    found = members(raw(own, "export", "copy"))
    assert found == members(running)
    assert found["root/new"][1:4] == (0o4711, 70000, 5)
    assert "etc/group" not in found


def test_volumes_are_no_part_of_an_export(own: Lamina) -> None:
    own.ok(
        "run",
        "--name",
        "box",
        "--network",
        "none",
        "-v",
        "vol:/data",
        "busybox",
        "touch",
        "/data/x",
    )
    found = members(raw(own, "export", "box"))
    assert "data/seed" in found
    assert "data/x" not in found


def test_an_export_refuses_a_terminal_and_a_folder_that_is_not_there(own: Lamina) -> None:
    own.ok("create", "--name", "box", "busybox")
    primary, terminal = pty.openpty()
    done = subprocess.run(
        [LAMINA, "export", "box"],
        stdout=terminal,
        stderr=subprocess.PIPE,
        env=own.environment,
        timeout=60,
        check=False,
    )
    os.close(primary)
    os.close(terminal)
    assert done.returncode == 1
    assert b"cowardly refusing to save to a terminal. Use the -o flag or redirect" in done.stderr
    done_text = own("export", "-o", "/nowhere/at/all", "box")
    assert done_text.returncode == 1
    assert 'invalid output path: directory "/nowhere/at" does not exist' in done_text.stderr
    assert own("export", "nobody").stderr == "Error: No such container: nobody\n"


def test_nothing_is_left_mounted_by_an_export(own: Lamina) -> None:
    own.ok("create", "--name", "box", "busybox")
    raw(own, "export", "box")
    assert f" {own.root}/" not in Path("/proc/self/mountinfo").read_text()
    own.ok("rm", "box")


def test_a_layer_is_exported_by_each_of_its_names_with_the_digest_it_is_named_by(
    own: Lamina,
) -> None:
    (layer,) = json.loads(own.ok("image", "inspect", "-f", "{{json .RootFS.Layers}}", "busybox"))
    for name in (layer, layer[7:19], "busybox", "busybox:1", "busybox:latest:1"):
        data = raw(own, "layer", "export", name)
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == layer, name
    assert own("layer", "export", "busybox:2").stderr == "Error: No such layer: busybox has 1\n"
    assert own.ok("layer", "ls", "-q", "--no-trunc", "busybox") == f"{layer}\n"
