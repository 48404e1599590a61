"""What a person sees who names another storage driver than the one that holds a thing."""

from __future__ import annotations

from commandkit import Lamina


def test_a_thing_of_another_driver_is_not_there_and_the_error_says_whose_it_is(
    lamina: Lamina,
) -> None:
    lamina.ok("create", "--name", "one", "busybox")
    remedy = "it is held by the storage driver overlay2: use --storage-driver overlay2"
    for command, complaint in [
        (("stop", "one"), "No such container: one"),
        (("exec", "one", "true"), "No such container: one"),
        (("run", "--rm", "busybox", "true"), "No such image: busybox"),
        (("image", "history", "busybox"), "No such image: busybox"),
    ]:
        done = lamina("--storage-driver", "vfs", *command)
        assert done.stderr == f"Error: {complaint}: {remedy}\n"
        assert done.returncode == (125 if command[0] == "run" else 1)
    assert lamina.ok("ps", "-aq", "--no-trunc", "--filter", "name=one").strip()
