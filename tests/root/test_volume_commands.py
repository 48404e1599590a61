"""Volumes through the command."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from commandkit import TIMEOUT_S, Lamina


def test_a_named_volume_is_shared_and_outlives_its_containers(lamina: Lamina) -> None:
    write = "echo kept > /shared/file"
    args = ("--rm", "--network", "none", "-v", "vol:/shared", "busybox")
    lamina.ok("run", *args, "sh", "-c", write)
    assert lamina.ok("run", *args, "cat", "/shared/file") == "kept\n"
    assert lamina.ok("volume", "ls", "-q") == "vol\n"
    assert (lamina.root / "volumes/vol/_data/file").read_text() == "kept\n"


def test_an_empty_volume_takes_the_images_content(lamina: Lamina) -> None:
    args = ("run", "--rm", "--network", "none", "-v", "vol:/data", "busybox", "cat", "/data/seed")
    assert lamina.ok(*args) == "from the image\n"
    assert (lamina.root / "volumes/vol/_data/seed").read_text() == "from the image\n"


def test_a_read_only_volume_cannot_be_written(lamina: Lamina, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host\n")
    for source in (str(tmp_path), "vol"):
        done = lamina(
            "run", "--rm", "--network", "none", "-v", f"{source}:/srv:ro", "busybox",
            "sh", "-c", "cat /srv/file; touch /srv/x",
        )  # fmt: skip
        assert "Read-only file system" in done.stderr
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_of_the_host_is_shared_and_made_where_missing(
    lamina: Lamina, tmp_path: Path
) -> None:
    lamina.ok(
        "run", "--rm", "--network", "none", "-v", f"{tmp_path}/a/b:/srv", "busybox",
        "touch", "/srv/made",
    )  # fmt: skip
    assert (tmp_path / "a/b/made").exists()


def test_a_volume_in_use_is_kept_and_named(lamina: Lamina) -> None:
    identity = lamina.ok("create", "-v", "vol:/srv", "busybox").strip()
    done = lamina("volume", "rm", "vol")
    assert done.returncode == 1
    assert done.stderr == f"Error: remove vol: volume is in use - [{identity}]\n"
    (mount,) = json.loads(lamina.ok("inspect", "-f", "{{json .Mounts}}", identity))
    assert (mount["Type"], mount["Name"], mount["Destination"]) == ("volume", "vol", "/srv")
    lamina.ok("rm", identity)
    assert lamina.ok("volume", "rm", "vol") == "vol\n"


def test_rm_v_takes_anonymous_volumes_along(lamina: Lamina) -> None:
    lamina.ok("create", "--name", "one", "-v", "/cache", "-v", "vol:/srv", "busybox")
    lamina.ok("create", "--name", "two", "-v", "/cache", "busybox")
    lamina.ok("rm", "-v", "one")
    assert len(lamina.ok("volume", "ls", "-q").split()) == 2
    lamina.ok("rm", "two")
    assert len(lamina.ok("volume", "ls", "-q").split()) == 2
    out = lamina.ok("volume", "prune", "-f")
    assert out.startswith("Deleted Volumes:\n")
    assert out.endswith("\n\nTotal reclaimed space: 0B\n")
    assert lamina.ok("volume", "ls", "-q") == "vol\n"


def test_volume_commands(lamina: Lamina) -> None:
    assert lamina.ok("volume", "create", "--label", "a=b", "vol") == "vol\n"
    assert re.fullmatch(r"[0-9a-f]{64}\n", lamina.ok("volume", "create"))
    assert lamina.ok("volume", "ls", "-f", "name=vol") == ("DRIVER    VOLUME NAME\nlocal     vol\n")
    (found,) = json.loads(lamina.ok("volume", "inspect", "vol"))
    assert found["Mountpoint"] == str(lamina.root / "volumes/vol/_data")
    assert found["Labels"] == {"a": "b"}
    done = lamina("volume", "inspect", "none")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "[]\n",
        "Error: get none: no such volume\n",
    )
    done = lamina("volume", "create", "a/b")
    assert done.returncode == 1
    assert "includes invalid characters" in done.stderr
    done = lamina("volume", "rm", "none")
    assert (done.returncode, done.stderr) == (1, "Error: get none: no such volume\n")


def test_what_the_image_declares_is_done(lamina: Lamina) -> None:
    tar = lamina.root.parent / "rootfs.tar"
    changes = ("--change", "VOLUME /data", "--change", "EXPOSE 80", "--change", 'CMD ["sh"]')
    lamina.ok("import", *changes, str(tar), "declaring")
    lamina.ok("run", "-dit", "--name", "one", "-P", "declaring")
    assert lamina.ok("exec", "one", "cat", "/data/seed") == "from the image\n"
    (name,) = lamina.ok("volume", "ls", "-q").split()
    assert len(name) == 64
    shown = lamina.ok("ps", "--format", "{{.Ports}}|{{.LocalVolumes}}|{{.Mounts}}")
    assert re.fullmatch(rf"0\.0\.0\.0:\d+->80/tcp\|1\|{name[:14]}…\n", shown)
    assert lamina.ok("ps", "-q", "-f", f"volume={name}") != ""
    lamina.ok("rm", "-f", "-v", "one")
    assert lamina.ok("volume", "ls", "-q") == ""
    lamina.ok("rmi", "declaring")


def test_many_runs_at_once_leave_nothing(lamina: Lamina) -> None:
    script = "ip -4 -o addr show eth0 | awk '{print $4}'"
    running = [
        lamina.begin(
            "run", "--rm", "-v", "vol:/data", "-p", "80", "busybox", "sh", "-c", script,
            stdout=subprocess.PIPE,
        )
        for _ in range(6)
    ]  # fmt: skip
    answers = [process.communicate(timeout=TIMEOUT_S)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 6
    assert all(re.fullmatch(rb"[0-9.]+/\d+\n", answer) for answer in answers)
    assert lamina.ok("ps", "-aq") == ""


def test_a_container_that_is_not_made_leaves_no_anonymous_volume(lamina: Lamina) -> None:
    lamina.ok("create", "--name", "one", "busybox")
    done = lamina("create", "--name", "one", "-v", "/cache", "-v", "vol:/srv", "busybox")
    assert done.returncode == 1
    assert lamina.ok("volume", "ls", "-q") == "vol\n"
