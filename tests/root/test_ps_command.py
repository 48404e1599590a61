"""`lamina ps`."""

from __future__ import annotations

import json
import re
from pathlib import Path

from commandkit import Lamina, busybox_tar


def test_ps_shows_dockers_columns(lamina: Lamina) -> None:
    header = "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n"
    assert lamina.ok("ps") == header
    identity = lamina.ok("create", "--name", "one", "busybox", "sh", "-c", "echo a very long one")
    assert lamina.ok("ps") == header
    lines = lamina.ok("ps", "-a").splitlines()
    assert lines[0].split("  ")[0] == "CONTAINER ID"
    row = re.split(r" {2,}", lines[1])
    assert row[:3] == [identity[:12], "busybox", '"sh -c \'echo a very …"']
    assert row[3] in ("Less than a second ago", "1 second ago", "2 seconds ago")
    assert row[4:] == ["Created", "one"]


def test_ps_tells_the_states(lamina: Lamina, sleeper: str) -> None:
    lamina("run", "--name", "two", "--network", "none", "busybox", "sh", "-c", "exit 3")
    lamina.ok("create", "--name", "three", "busybox")
    rows = dict(
        line.split(" ", 1)
        for line in lamina.ok("ps", "-a", "--format", "{{.Names}} {{.Status}}").splitlines()
    )
    assert re.fullmatch(r"Up (Less than a|\d+) seconds?", rows["one"])
    assert re.fullmatch(r"Exited \(3\) (Less than a|\d+) seconds? ago", rows["two"])
    assert rows["three"] == "Created"


def test_ps_filters_and_limits(lamina: Lamina, sleeper: str) -> None:
    lamina.ok("create", "--name", "two", "-l", "tier=db", "-v", "vol:/x", "busybox")
    lamina("run", "--name", "three", "--network", "none", "busybox", "sh", "-c", "exit 3")

    def names(*args: str) -> list[str]:
        return lamina.ok("ps", "--format", "{{.Names}}", *args).split()

    assert names() == ["one"]
    assert names("-a") == ["three", "two", "one"]
    assert names("-n", "2") == ["three", "two"]
    assert names("-l") == ["three"]
    assert names("-f", "status=exited") == ["three"]
    assert names("-f", "exited=3") == ["three"]
    assert names("-a", "-f", "name=t") == ["three", "two"]
    assert names("-a", "-f", "label=tier=db") == ["two"]
    assert names("-a", "-f", "volume=vol") == ["two"]
    assert names("-f", f"id={sleeper[:20]}") == ["one"]
    assert names("-a", "-f", "since=one") == ["three", "two"]
    assert names("-a", "-f", "before=three") == ["two", "one"]
    assert names("-a", "-f", "ancestor=busybox") == ["three", "two", "one"]
    assert names("-a", "-f", "network=none") == ["three", "one"]
    done = lamina("ps", "-f", "colour=red")
    assert done.returncode == 1
    assert "colour" in done.stderr


def test_ps_size_is_that_of_the_writable_layer(lamina: Lamina, sleeper: str) -> None:
    args = ("ps", "--size", "--format", "table {{.ID}}\t{{.Image}}\t{{.Names}}\t{{.Size}}")
    lines = lamina.ok(*args).splitlines()
    assert re.split(r" {2,}", lines[0]) == ["CONTAINER ID", "IMAGE", "NAMES", "SIZE"]
    assert re.fullmatch(r"0B \(virtual [0-9.]+MB\)", re.split(r" {2,}", lines[1])[3])
    lamina.ok("exec", "one", "sh", "-c", "printf hello > /out.txt")
    assert re.split(r" {2,}", lamina.ok(*args).splitlines()[1])[3].startswith("5B (virtual ")
    assert "SIZE" in lamina.ok("ps", "-s").splitlines()[0]


def test_ps_as_json(lamina: Lamina, sleeper: str) -> None:
    row = json.loads(lamina.ok("ps", "--format", "json", "--no-trunc"))
    assert (row["ID"], row["Names"], row["Image"], row["State"]) == (
        sleeper,
        "one",
        "busybox",
        "running",
    )


def test_sizes_are_found_out_only_where_they_are_asked_for(lamina: Lamina, sleeper: str) -> None:
    assert json.loads(lamina.ok("ps", "--format", "json"))["Size"] == "0B"
    assert "virtual" in json.loads(lamina.ok("ps", "-s", "--format", "json"))["Size"]
    assert "virtual" in lamina.ok("ps", "--format", "{{json .Size}}")


def test_a_bad_template_is_told(lamina: Lamina) -> None:
    done = lamina("ps", "--format", "{{.Nope}}")
    lamina.ok("create", "busybox")
    done = lamina("ps", "-a", "--format", "{{.Nope}}")
    assert done.returncode == 1
    assert "can't evaluate field Nope" in done.stderr


def test_a_container_whose_size_cannot_be_told_hides_no_other(
    engine_root: Path, tmp_path: Path
) -> None:
    own = Lamina(engine_root)
    (tmp_path / "rootfs.tar").write_bytes(busybox_tar())
    own.ok("--storage-driver", "vfs", "import", str(tmp_path / "rootfs.tar"), "busybox")
    deep = "i=0; while [ $i -lt 500 ]; do mkdir d && cd d; i=$((i+1)); done"
    own.ok("run", "--name", "deep", "--network", "none", "busybox", "sh", "-c", deep)
    own.ok("create", "--name", "plain", "busybox", "true")
    told = own("ps", "-a", "--format", "{{.Names}} {{.Size}}")
    assert told.returncode == 0
    assert re.fullmatch(r"plain 0B \(virtual [0-9.]+MB\)\ndeep N/A\n", told.stdout)
    assert re.fullmatch(r"WARNING: the size of deep: .* lies too deep: .*\n", told.stderr)
    own.ok("rm", "deep", "plain")
