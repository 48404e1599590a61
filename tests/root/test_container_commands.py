"""The commands that look at containers, and those that start, stop and remove them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable

from commandkit import TIMEOUT_S, Lamina, Terminal, until


def test_logs_keep_the_streams_apart(lamina: Lamina) -> None:
    script = "echo one; echo two >&2; echo three; printf four"
    lamina("run", "--name", "one", "--network", "none", "busybox", "sh", "-c", script)
    done = lamina("logs", "one")
    assert (done.stdout, done.stderr) == ("one\nthree\nfour", "two\n")
    assert lamina("logs", "--tail", "1", "one").stdout == "four"
    assert lamina("logs", "--tail", "0", "one").stdout == ""
    stamped = lamina("logs", "-t", "one").stdout.splitlines()[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z one", stamped)
    assert lamina("logs", "--since", "1h", "one").stdout == "one\nthree\nfour"
    assert lamina("logs", "--until", "1h", "one").stdout == ""


def test_logs_follow_until_the_end(lamina: Lamina) -> None:
    script = "echo first; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo last"
    lamina.ok("run", "-d", "--name", "one", "--network", "none", "busybox", "sh", "-c", script)
    process = lamina.begin("logs", "-f", "one", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"first\n"
    lamina.ok("exec", "one", "touch", "/tmp/go")
    assert process.stdout.read() == b"last\n"
    assert process.wait(TIMEOUT_S) == 0
    process.stdout.close()


def test_wait_prints_the_codes(lamina: Lamina) -> None:
    for name, code in (("one", 0), ("two", 3)):
        script = f"sleep 0.3; exit {code}"
        lamina.ok("run", "-d", "--name", name, "--network", "none", "busybox", "sh", "-c", script)
    assert lamina.ok("wait", "one", "two") == "0\n3\n"
    done = lamina("wait", "one", "nobody")
    assert (done.returncode, done.stdout) == (1, "0\n")
    assert done.stderr == "Error: No such container: nobody\n"


def test_inspect_is_an_array_indented_by_four(lamina: Lamina, sleeper: str) -> None:
    out = lamina.ok("inspect", "one", "busybox")
    assert out.startswith('[\n    {\n        "Id": "')
    container, image = json.loads(out)
    assert container["Id"] == sleeper
    assert container["Name"] == "/one"
    assert container["State"]["Running"] is True
    assert container["Image"] == image["Id"]
    assert container["GraphDriver"]["Name"]
    assert container["Config"]["Image"] == "busybox"
    assert container["HostConfig"]["NetworkMode"] == "none"


def test_inspect_by_template_type_and_size(lamina: Lamina, sleeper: str) -> None:
    assert lamina.ok("inspect", "-f", "{{json .State.ExitCode}}", "one") == "0\n"
    (found,) = json.loads(lamina.ok("inspect", "-s", "--type", "container", "one"))
    names = list(found)
    assert names[names.index("GraphDriver") + 1 :][:3] == ["SizeRw", "SizeRootFs", "Mounts"]
    assert found["SizeRw"] == 0
    assert found["SizeRootFs"] > 0
    assert json.loads(lamina.ok("container", "inspect", "one"))[0]["Id"] == sleeper


def test_inspect_tells_what_is_missing_after_what_is_there(lamina: Lamina, sleeper: str) -> None:
    done = lamina("inspect", "-f", "{{.Name}}", "nobody", "one")
    assert done.returncode == 1
    assert done.stdout == "/one\n"
    assert done.stderr == "Error: No such object: nobody\n"
    done = lamina("inspect", "--type", "container", "nobody")
    assert (done.returncode, done.stdout) == (1, "[]\n")
    assert done.stderr == "Error: No such container: nobody\n"
    done = lamina("inspect", "--type", "planet", "one")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_create_then_start_attached(lamina: Lamina) -> None:
    lamina.ok("create", "-i", "--name", "one", "--network", "none", "busybox", "cat")
    assert lamina.ok("start", "-ai", "one", stdin=b"hello") == "hello"
    assert lamina.ok("logs", "one") == "hello"


def test_a_container_starts_again_with_what_it_wrote(lamina: Lamina) -> None:
    script = "echo x >> /count; wc -l < /count"
    lamina.ok("create", "--name", "one", "--network", "none", "busybox", "sh", "-c", script)
    assert lamina.ok("start", "-a", "one") == "1\n"
    assert lamina.ok("start", "-a", "one") == "2\n"
    assert lamina.ok("start", "one") == "one\n"


def test_stop_is_kind_and_prints_the_name(lamina: Lamina, sleeper: str) -> None:
    assert lamina.ok("stop", "one") == "one\n"
    assert lamina.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "one") == (
        "exited 0\n"
    )
    assert lamina.ok("stop", sleeper[:12]) == f"{sleeper[:12]}\n"


def test_stop_kills_what_does_not_listen(lamina: Lamina) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    lamina.ok("run", "-d", "--name", "one", "--network", "none", "busybox", "sh", "-c", script)
    until(lambda: lamina("logs", "one").stdout == "ready\n", "the trap is set")
    lamina.ok("stop", "-t", "0", "one")
    assert lamina.ok("wait", "one") == "137\n"


def test_kill_sends_the_signal(lamina: Lamina, sleeper: str) -> None:
    assert lamina.ok("kill", "-s", "TERM", "one") == "one\n"
    assert lamina.ok("wait", "one") == "0\n"
    done = lamina("kill", "one")
    assert done.returncode == 1
    assert "is not running" in done.stderr
    done = lamina("kill", "-s", "SIGNONE", "one")
    assert done.returncode == 1


def test_a_running_container_is_removed_by_force_only(lamina: Lamina, sleeper: str) -> None:
    done = lamina("rm", "one")
    assert done.returncode == 1
    assert "stop the container before removing or force remove" in done.stderr
    assert lamina.ok("rm", "-f", "one") == "one\n"
    assert lamina.ok("ps", "-aq") == ""


def test_each_name_is_reported(lamina: Lamina) -> None:
    lamina.ok("create", "--name", "one", "busybox")
    lamina.ok("create", "--name", "three", "busybox")
    done = lamina("rm", "one", "two", "three")
    assert (done.returncode, done.stdout) == (1, "one\nthree\n")
    assert done.stderr == "Error: No such container: two\n"


def test_what_is_gone_already_is_no_failure_by_force(lamina: Lamina) -> None:
    lamina.ok("create", "--name", "one", "busybox")
    done = lamina("rm", "-f", "two", "one")
    assert (done.returncode, done.stdout) == (0, "one\n")
    assert done.stderr == "Error: No such container: two\n"


def test_an_id_prefix_names_one_container_or_none(lamina: Lamina) -> None:
    ids = [lamina.ok("create", "busybox").strip() for _ in range(20)]
    first = ids[0][:12]
    assert lamina.ok("inspect", "-f", "{{.Id}}", first) == f"{ids[0]}\n"
    letters = [each[0] for each in ids]
    shared = next(letter for letter in letters if letters.count(letter) > 1)
    done = lamina("rm", shared)
    assert done.returncode == 1
    assert shared in done.stderr


def test_attach_after_detaching(lamina: Lamina, terminal: Callable[..., Terminal]) -> None:
    lamina.ok("run", "-dit", "--name", "one", "--network", "none", "busybox", "sh")
    person = terminal("attach", "one", rows=21, columns=51)
    person.type("\n")
    person.expect("# ")
    person.type("while [ \"$(stty size)\" != '21 51' ]; do sleep 0.02; done; echo si''zed\n")
    person.expect("sized")
    person.type("exit 6\n")
    assert person.end() == 6
    done = lamina("attach", "one")
    assert done.returncode == 1
    assert "cannot attach to a stopped container" in done.stderr


def test_diff_tells_what_was_changed(lamina: Lamina) -> None:
    script = "echo x > /new; rm /data/seed; chmod 700 /root"
    lamina.ok("run", "--name", "one", "--network", "none", "busybox", "sh", "-c", script)
    assert lamina.ok("diff", "one") == "C /data\nD /data/seed\nA /new\nC /root\n"


def test_rename_and_port(lamina: Lamina) -> None:
    lamina.ok("run", "-d", "--name", "one", "-p", "127.0.0.1::80", "busybox", "sleep", "1000")
    lamina.ok("rename", "one", "two")
    (line,) = lamina.ok("port", "two").splitlines()
    assert re.fullmatch(r"80/tcp -> 127\.0\.0\.1:\d+", line)
    assert lamina.ok("port", "two", "80") == line.partition(" -> ")[2] + "\n"
    done = lamina("port", "two", "81")
    assert done.returncode == 1
    assert done.stderr == "Error: No public port '81' published for two\n"
