"""`lamina commit`: a container's state becomes an image, and the container goes on."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from commandkit import Lamina, until


def inspected(lamina: Lamina, image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lamina.ok("image", "inspect", image))[0]
    return found


def run_box(lamina: Lamina, *script: str) -> None:
    lamina.ok("run", "-d", "--name", "box", "--network", "none", "busybox", "sh", "-c", *script)


def test_a_commit_of_a_running_container_is_an_image_that_runs(own: Lamina) -> None:
    run_box(own, "echo made >/root/made; rm -r /data; touch /ready; while :; do :; done")
    until(lambda: own("exec", "box", "ls", "/ready").returncode == 0, "ready")
    printed = own.ok("commit", "-a", "me", "-m", "words", "box", "made:1")
    image = inspected(own, "made:1")
    assert printed == f"{image['Id']}\n"
    assert (image["Author"], image["Comment"]) == ("me", "words")
    assert image["Parent"] == inspected(own, "busybox")["Id"]
    assert len(image["RootFS"]["Layers"]) == 2
    script = "cat /root/made; test ! -e /data && echo gone"
    out = own.ok("run", "--rm", "--network", "none", "made:1", "sh", "-c", script)
    assert out == "made\ngone\n"
    step = own.ok("history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "made:1")
    assert step.splitlines()[0].startswith("sh -c echo made >/root/made;")
    assert step.splitlines()[0].endswith("|words")
    assert own.ok("exec", "box", "echo", "goes on") == "goes on\n"


def test_changes_alter_what_the_committed_image_runs(own: Lamina) -> None:
    own.ok("create", "--name", "box", "-e", "A=1", "-u", "user", "busybox", "sleep", "5")
    changes = ("-c", "ENV B=2", "-c", 'ENTRYPOINT ["echo"]', "-c", "LABEL l=m", "-c", "CMD hi")
    own.ok("commit", *changes, "box", "made")
    config = inspected(own, "made")["Config"]
    assert config["Env"] == ["A=1", "B=2"]
    assert config["Entrypoint"] == ["echo"]
    assert config["Cmd"] == ["/bin/sh", "-c", "hi"]
    assert (config["User"], config["Labels"]) == ("user", {"l": "m"})
    refused = own("commit", "-c", "RUN true", "box")
    assert refused.stderr == "Error: run is not a valid change command\n"


def test_a_container_without_changes_commits_to_an_image_without_a_new_layer(own: Lamina) -> None:
    own.ok("create", "--name", "box", "busybox")
    own.ok("commit", "--pause=false", "box", "same")
    assert inspected(own, "same")["RootFS"] == inspected(own, "busybox")["RootFS"]


def test_a_stopped_container_commits_once_to_each_state_and_can_be_removed(own: Lamina) -> None:
    own.ok("run", "--name", "box", "--network", "none", "busybox", "sh", "-c", "echo 1 >/one")
    first = own.ok("commit", "box").strip()
    own.ok("rm", "box")
    assert own.ok("run", "--rm", "--network", "none", first, "cat", "/one") == "1\n"
    own.ok("rmi", first)
    assert own("commit", "box").stderr == "Error: No such container: box\n"


def test_layers_of_a_commit_are_exact_tars(own: Lamina, tmp_path: Path) -> None:
    run_box(own, "ln /data/seed /data/twin; mkfifo /p; touch /ready; while :; do :; done")
    until(lambda: own("exec", "box", "ls", "/ready").returncode == 0, "ready")
    own.ok("commit", "box", "made")
    own.ok("save", "-o", str(tmp_path / "made.tar"), "made")
    own.ok("rm", "-f", "box")
    own.ok("rmi", "made")
    own.ok("load", "-i", str(tmp_path / "made.tar"))
    script = "cat /data/twin; stat -c %h /data/seed; test -p /p && echo pipe"
    out = own.ok("run", "--rm", "--network", "none", "made", "sh", "-c", script)
    assert out == "from the image\n2\npipe\n"


def test_a_killed_commit_leaves_no_image_and_no_frozen_container(own: Lamina) -> None:
    run_box(own, "dd if=/dev/zero of=/big bs=1M count=400; touch /ready; while :; do :; done")
    until(lambda: own("exec", "box", "ls", "/ready").returncode == 0, "ready")
    container = own.ok("ps", "-q", "--no-trunc").strip()
    frozen = Path(f"/sys/fs/cgroup/freezer/lamina/{container}/freezer.state")
    if not frozen.exists():
        frozen = Path(f"/sys/fs/cgroup/lamina/{container}/cgroup.events")
    commit = own.begin("commit", "box", "made")
    until(lambda: frozen.read_text().strip() == "FROZEN" or "frozen 1" in frozen.read_text(), "")
    os.kill(commit.pid, signal.SIGKILL)
    assert commit.wait() == -signal.SIGKILL
    assert own.ok("images", "-q", "made") == ""
    assert own.ok("exec", "box", "echo", "awake") == "awake\n"
    assert list((own.root / "tmp").iterdir()) == []
    own.ok("commit", "box", "made")
