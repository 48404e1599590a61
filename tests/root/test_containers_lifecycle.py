"""Containers for real: what starts, runs, ends, and leaves nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from containerkit import (
    CLI,
    Kit,
    Result,
    Terminal,
    add_folder,
    add_link,
    busybox_tar,
    captured,
    mounts_below,
    wait_for,
)

from lamina.containers.config import ExecConfig, HostConfig
from lamina.containers.monitor import monitor_pid
from lamina.engine import Engine
from lamina.errors import Conflict, InvalidInput, NotFound, OutOfSpace, RuntimeFailure, Unsupported

HOST = HostConfig(network_mode="host")
FOREVER = ("sleep", "1000")


@pytest.fixture(params=["overlay2", "vfs"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def kit(engine_root: Path, driver: str) -> Iterator[Kit]:
    with Engine(engine_root / "root", storage_driver=driver) as engine:
        yield Kit(engine)
        for container in engine.containers.list(all=True):
            container.remove(force=True, volumes=True)
        assert mounts_below(engine_root) == []
        run = engine.root.run
        for name in ("containers", "runtime"):
            wait_for(lambda name=name: not os.path.isdir(run / name) or not os.listdir(run / name))
        shutil.rmtree(run)


class TestAttached:
    def test_output_exit_code_and_both_streams_come_through(self, kit: Kit) -> None:
        assert kit.run("sh", "-c", "echo out; echo err >&2; exit 3") == Result(
            3, b"out\n", b"err\n"
        )

    def test_input_is_carried_to_its_end(self, kit: Kit) -> None:
        data = os.urandom(300_000)
        assert kit.run("cat", stdin=data) == Result(0, data, b"")

    def test_much_output_is_carried_whole(self, kit: Kit) -> None:
        found = kit.run("seq", "1", "200000")
        assert found.out.splitlines()[-1] == b"200000"
        assert len(found.out.splitlines()) == 200_000

    def test_an_empty_input_ends_at_once(self, kit: Kit) -> None:
        assert kit.run("cat", stdin=b"") == Result(0, b"", b"")

    def test_a_removed_container_leaves_nothing(self, kit: Kit) -> None:
        root = kit.engine.root
        auto = HostConfig(network_mode="host", auto_remove=True)
        assert kit.run("true", host=auto).code == 0
        assert kit.engine.containers.list(all=True) == []
        assert os.listdir(root.containers) == []
        assert os.listdir(root.run / "containers") == []

    def test_death_by_signal_is_128_and_its_number(self, kit: Kit) -> None:
        container = kit.started(*FOREVER)
        container.kill("KILL")
        assert container.wait() == 137

    def test_a_missing_command_is_127_and_leaves_a_created_container(self, kit: Kit) -> None:
        container = kit.create("nosuch")
        with pytest.raises(RuntimeFailure, match="executable file not found in") as caught:
            container.start()
        assert caught.value.exit_code == 127
        assert (container.state.status, container.state.exit_code) == ("created", 127)
        assert "nosuch" in container.state.error

    def test_a_file_that_is_no_program_is_126(self, kit: Kit) -> None:
        with pytest.raises(RuntimeFailure) as caught:
            kit.started("/etc/passwd")
        assert caught.value.exit_code == 126

    def test_a_failed_run_with_rm_leaves_nothing(self, kit: Kit) -> None:
        with pytest.raises(RuntimeFailure):
            kit.started("nosuch", host=HostConfig(network_mode="host", auto_remove=True))
        assert kit.engine.containers.list(all=True) == []


class TestSurroundings:
    def test_the_environment_is_dockers(self, kit: Kit) -> None:
        found = kit.run("env", hostname="box", env=("A=1", "HOME=/h"), tty=False)
        lines = found.out.decode().splitlines()
        assert "HOSTNAME=box" in lines
        assert "A=1" in lines
        assert "HOME=/h" in lines
        assert any(line.startswith("PATH=/usr/local/sbin") for line in lines)

    def test_a_user_by_name_has_its_groups_and_home(self, kit: Kit) -> None:
        found = kit.run("sh", "-c", "id; echo $HOME", user="ann")
        told, home = found.out.decode().splitlines()
        ids, _, groups = told.partition(" groups=")
        assert ids == "uid=1000(ann) gid=1001(ann)"
        assert set(groups.split(",")) == {"10(wheel)", "1001(ann)"}
        assert home == "/home/ann"

    def test_an_unknown_user_is_an_error_and_nothing_runs(self, kit: Kit) -> None:
        with pytest.raises(NotFound, match="unable to find user bob"):
            kit.started("true", user="bob")

    def test_capabilities_seccomp_and_masks_are_in_force(self, kit: Kit) -> None:
        script = "cat /proc/self/status; mount -t tmpfs x /tmp; cat /proc/kcore | wc -c"
        found = kit.run("sh", "-c", script)
        text = found.out.decode()
        assert "CapEff:\t00000000a80425fb" in text
        assert "Seccomp:\t2" in text
        assert b"Operation not permitted" in found.err or b"permission denied" in found.err
        assert text.splitlines()[-1] == "0"

    def test_privileged_may_mount(self, kit: Kit) -> None:
        host = HostConfig(network_mode="host", privileged=True)
        assert kit.run("sh", "-c", "mount -t tmpfs x /tmp && echo ok", host=host).out == b"ok\n"

    def test_privileged_has_the_hosts_devices(self, kit: Kit) -> None:
        host = HostConfig(network_mode="host", privileged=True)
        names = set(kit.run("ls", "/dev", host=host).out.decode().split())
        on_host = {n for n in os.listdir("/dev") if Path("/dev", n).is_block_device()}
        assert on_host <= names
        assert {"null", "shm", "pts"} <= names

    def test_a_read_only_root_refuses_writes_but_tmpfs_takes_them(self, kit: Kit) -> None:
        host = HostConfig(network_mode="host", read_only_rootfs=True, tmpfs={"/tmp": "size=1m"})
        found = kit.run("sh", "-c", "touch /x; touch /tmp/y && ls /tmp", host=host)
        assert found.out == b"y\n"
        assert b"Read-only file system" in found.err

    def test_the_shared_memory_has_its_size(self, kit: Kit) -> None:
        found = kit.run("sh", "-c", "df -k /dev/shm | tail -n 1 2>/dev/null || df -k /dev/shm")
        assert b"65536" in found.out

    def test_the_hostname_is_in_its_files(self, kit: Kit) -> None:
        host = HostConfig(network_mode="none", extra_hosts=("db:10.0.0.1",))
        found = kit.run(
            "sh", "-c", "hostname; cat /etc/hostname /etc/hosts", hostname="box", host=host
        )
        assert found.out.startswith(b"box\nbox\n")
        assert b"10.0.0.1\tdb\n" in found.out

    def test_a_memory_limit_kills_and_says_so(
        self, kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        # The runtime itself takes more than 8 MiB in the cgroup before the command is started.
        host = HostConfig(network_mode="host", memory_bytes=32 << 20)
        eater = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"
        container = kit.started("sh", "-c", eater, host=host)
        assert container.wait() == 137
        assert container.state.oom_killed
        assert container.inspect()["State"]["OOMKilled"] is True
        assert os.listdir(tmp_path) == []


class TestFreshness:
    def test_a_fresh_container_has_no_size_no_diff_and_a_small_folder(self, kit: Kit) -> None:
        container = kit.started(*FOREVER)
        assert container.size().size_bytes == 0
        assert list(container.changes()) == []
        folder = kit.engine.root.container_dir(container.id)
        used = subprocess.run(["du", "-sk", folder], capture_output=True, text=True, check=True)
        assert int(used.stdout.split()[0]) <= 36

    def test_what_it_writes_is_its_own(self, kit: Kit) -> None:
        first, second = kit.started(*FOREVER), kit.started(*FOREVER)
        assert kit.exec(first, "sh", "-c", "printf hello > /out.txt").code == 0
        assert first.size().size_bytes == 5
        assert [(c.kind, bytes(c.path)) for c in first.changes()] == [("A", b"/out.txt")]
        assert second.size().size_bytes == 0
        assert kit.exec(second, "cat", "/out.txt").code == 1

    def test_it_keeps_what_it_wrote_over_a_restart(self, kit: Kit) -> None:
        container = kit.create("sh", "-c", "cat /x; echo again > /x")
        container.start()
        container.wait()
        container.start()
        assert container.wait() == 0
        assert b"again\n" in b"".join(line.text for line in container.logs())

    @pytest.mark.parametrize("shape", ["no etc", "linked etc", "dangling etc", "etc a file"])
    def test_odd_images_start_and_stay_at_nothing(self, kit: Kit, shape: str) -> None:
        import io
        import tarfile

        def extra(tar: tarfile.TarFile) -> None:
            if shape == "linked etc":
                add_folder(tar, "usr")
                add_folder(tar, "usr/etc")
                add_link(tar, "etc", "/usr/etc")
                add_link(tar, "usr/etc/resolv.conf", "../../../../run/resolve/resolv.conf")
            elif shape == "dangling etc":
                add_link(tar, "etc", "../../nowhere")
            elif shape == "etc a file":
                from containerkit import add_file

                add_file(tar, "etc", "strange")

        kit.engine.import_image(io.BytesIO(busybox_tar(extra)), "odd")
        container = kit.started(*FOREVER, image="odd", host=HostConfig(network_mode="none"))
        assert kit.exec(container, "cat", "/etc/hostname").out == f"{container.id[:12]}\n".encode()
        assert container.size().size_bytes == 0
        assert list(container.changes()) == []


class TestStates:
    def test_a_container_goes_from_created_to_running_to_exited(self, kit: Kit) -> None:
        container = kit.create("sh", "-c", "exit 4")
        assert container.state.status == "created"
        container.start()
        assert container.wait() == 4
        state = container.state
        assert (state.status, state.exit_code, state.pid) == ("exited", 4, 0)
        assert state.finished_ns is not None
        assert state.started_ns is not None
        assert state.finished_ns >= state.started_ns

    def test_the_end_is_recorded_with_no_process_of_ours(self, kit: Kit) -> None:
        container = kit.started("sh", "-c", "exit 5")
        records = kit.engine.containers.parts.records
        wait_for(lambda: records.get(container.id).status == "exited")
        assert records.get(container.id).exit_code == 5
        assert mounts_below(kit.engine.root.path) == []

    def test_a_detached_one_with_rm_goes_by_itself(self, kit: Kit) -> None:
        host = HostConfig(network_mode="host", auto_remove=True)
        kit.started("true", host=host)
        wait_for(lambda: not os.listdir(kit.engine.root.containers))
        wait_for(lambda: kit.engine.containers.list(all=True) == [])

    def test_stop_is_term_then_kill(self, kit: Kit) -> None:
        polite = kit.started(
            "sh", "-c", "trap 'exit 6' TERM; echo up; while :; do sleep 0.05; done"
        )
        wait_for(lambda: list(polite.logs()))
        polite.stop()
        assert polite.state.exit_code == 6
        # Pid 1 ignores what it does not handle, once it is the command and not still the runtime.
        stubborn = kit.started("sh", "-c", "echo up; while :; do sleep 0.05; done")
        wait_for(lambda: list(stubborn.logs()))
        began = time.monotonic()
        stubborn.stop(0.1)
        assert time.monotonic() - began < 5
        assert stubborn.state.exit_code == 137

    def test_the_stop_signal_is_the_configured_one(self, kit: Kit) -> None:
        script = "trap 'exit 8' USR1; echo up; while :; do sleep 0.05; done"
        container = kit.started("sh", "-c", script, stop_signal="SIGUSR1")
        wait_for(lambda: list(container.logs()))
        container.stop()
        assert container.state.exit_code == 8

    def test_any_number_of_waiters_get_the_code(self, kit: Kit) -> None:
        container = kit.started("sh", "-c", "sleep 0.3; exit 7")
        codes: list[int] = []
        handles = [kit.engine.containers.get(container.id) for _ in range(8)]
        threads = [threading.Thread(target=lambda h=h: codes.append(h.wait())) for h in handles]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert codes == [7] * 8

    def test_a_killed_monitor_does_not_hide_the_end(self, kit: Kit) -> None:
        container = kit.started(*FOREVER)
        folder = kit.engine.root.run / "containers" / container.id
        os.kill(monitor_pid(folder), signal.SIGKILL)
        assert container.state.running
        pid = container.state.pid
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: container.state.status == "exited")
        assert container.state.exit_code == 137
        assert mounts_below(kit.engine.root.path) == []

    def test_after_a_reboot_nothing_runs(self, kit: Kit, driver: str) -> None:
        container = kit.started(*FOREVER)
        pid = container.state.pid
        path = kit.engine.root.path
        with Engine(path, storage_driver=driver, boot_id="another") as later:
            found = later.containers.get(container.id)
            assert found.state.status == "exited"
            assert found.state.exit_code == 255
            assert later.containers.list() == []
        wait_for(lambda: not os.path.exists(f"/proc/{pid}"))

    def test_only_a_stopped_one_is_removed(self, kit: Kit) -> None:
        container = kit.started(*FOREVER, name="web")
        with pytest.raises(Conflict) as caught:
            container.remove()
        assert caught.value.message == (
            'cannot remove container "/web": container is running: '
            "stop the container before removing or force remove"
        )
        container.remove(force=True)
        with pytest.raises(NotFound, match="No such container: web"):
            kit.engine.containers.get("web")

    def test_killing_what_does_not_run_is_a_conflict(self, kit: Kit) -> None:
        with pytest.raises(Conflict, match="is not running"):
            kit.create("true").kill()

    def test_many_at_once_start_and_end(self, kit: Kit) -> None:
        failures: list[BaseException] = []

        def one() -> None:
            try:
                with Engine(kit.engine.root.path) as engine:
                    own = Kit.__new__(Kit)
                    own.engine = engine
                    assert own.run("sh", "-c", "exit 2").code == 2
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=one) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(kit.engine.containers.list(all=True)) == 12


class TestNames:
    def test_a_taken_name_is_refused_in_dockers_words(self, kit: Kit) -> None:
        first = kit.create("true", name="web")
        with pytest.raises(Conflict) as caught:
            kit.create("true", name="/web")
        assert caught.value.message == (
            f'Conflict. The container name "/web" is already in use by container "{first.id}". '
            "You have to remove (or rename) that container to be able to reuse that name."
        )
        assert len(os.listdir(kit.engine.root.containers)) == 1

    def test_names_ids_and_prefixes_find_it(self, kit: Kit) -> None:
        container = kit.create("true", name="web")
        containers = kit.engine.containers
        for reference in ("web", "/web", container.id, container.id[:4]):
            assert containers.get(reference).id == container.id
        container.rename("site")
        assert containers.get("site").id == container.id

    def test_an_ambiguous_prefix_is_refused(self, kit: Kit) -> None:
        ids: set[str] = set()
        while len({found[0] for found in ids}) == len(ids):
            ids.add(kit.create("true").id)
        firsts = [found[0] for found in ids]
        shared = next(first for first in firsts if firsts.count(first) > 1)
        with pytest.raises(InvalidInput, match="multiple IDs found"):
            kit.engine.containers.get(shared)

    def test_nothing_is_left_of_a_refused_one(self, kit: Kit) -> None:
        with pytest.raises(NotFound, match="No such image"):
            kit.create("true", image="nosuch")
        with pytest.raises(InvalidInput, match="No command specified"):
            kit.create()
        with pytest.raises(InvalidInput, match="Invalid container name"):
            kit.create("true", name="a b")
        with pytest.raises(NotFound, match="network lan not found"):
            kit.create("true", host=HostConfig(network_mode="lan"))
        assert os.listdir(kit.engine.root.containers) == []

    def test_a_full_disk_is_told_and_nothing_is_left(self, kit: Kit, tmp_path: Path) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "x", tmp_path], check=True)
        try:
            with Engine(tmp_path / "root", storage_driver="overlay2") as engine:
                own = Kit(engine)
                own.create("true").remove()
                with open(tmp_path / "filler", "wb") as filler, pytest.raises(OSError):
                    while True:
                        filler.write(bytes(1 << 16))
                        filler.flush()
                with pytest.raises(OutOfSpace, match="free some space"):
                    while True:
                        own.create("true")
                os.unlink(tmp_path / "filler")
                for container in engine.containers.list(all=True):
                    container.remove()
                assert os.listdir(engine.root.containers) == []
                assert own.run("true").code == 0
        finally:
            subprocess.run(["umount", "-l", tmp_path], check=True)

    def test_a_missing_runtime_names_the_remedy(self, kit: Kit, driver: str) -> None:
        with Engine(
            kit.engine.root.path, storage_driver=driver, runtime="/nonexistent/runc"
        ) as engine:
            container = engine.containers.get(kit.create("true").id)
            with pytest.raises(Unsupported, match="apt-get install runc"):
                container.start()
            assert container.state.status == "created"


class TestExec:
    def test_it_runs_beside_with_its_own_streams_and_code(self, kit: Kit) -> None:
        container = kit.started(*FOREVER, env=("A=1",))
        found = kit.exec(container, "sh", "-c", "echo $A$B; echo err >&2; exit 9", env=("B=2",))
        assert found == Result(9, b"12\n", b"err\n")

    def test_input_ends_where_the_callers_ends(self, kit: Kit) -> None:
        container = kit.started(*FOREVER)
        assert kit.exec(container, "cat", stdin=b"abc\n") == Result(0, b"abc\n", b"")

    def test_folder_and_user_are_its_own(self, kit: Kit) -> None:
        container = kit.started(*FOREVER)
        found = kit.exec(container, "sh", "-c", "pwd; id -u", working_dir="/tmp", user="1000:1001")
        assert found.out == b"/tmp\n1000\n"

    def test_a_missing_command_has_dockers_words_and_code(self, kit: Kit) -> None:
        container = kit.started(*FOREVER)
        with pytest.raises(RuntimeFailure) as caught:
            kit.exec(container, "nosuch")
        assert caught.value.exit_code == 127
        assert str(caught.value) == (
            "OCI runtime exec failed: exec failed: unable to start container process: "
            'exec: "nosuch": executable file not found in $PATH: unknown'
        )
        with pytest.raises(RuntimeFailure) as caught:
            kit.exec(container, "/etc/passwd")
        assert caught.value.exit_code == 126

    def test_detached_it_goes_on_alone(self, kit: Kit) -> None:
        container = kit.started(*FOREVER)
        assert container.exec(ExecConfig(("sh", "-c", "printf x > /done"))) is None
        wait_for(lambda: kit.exec(container, "cat", "/done").out == b"x")
        sessions = kit.engine.root.run / "containers" / container.id / "exec"
        wait_for(lambda: not os.listdir(sessions))

    def test_a_stopped_container_runs_nothing(self, kit: Kit) -> None:
        with pytest.raises(Conflict, match="is not running"):
            kit.exec(kit.create("true"), "true")

    def test_capabilities_are_the_containers(self, kit: Kit) -> None:
        container = kit.started(*FOREVER)
        assert b"CapEff:\t00000000a80425fb" in kit.exec(container, "cat", "/proc/self/status").out


class TestLogs:
    def test_both_streams_are_kept_with_their_times(self, kit: Kit) -> None:
        container = kit.started("sh", "-c", "echo one; echo two >&2; printf three")
        container.wait()
        lines = list(container.logs())
        assert sorted((line.stream, line.text) for line in lines) == [
            ("stderr", b"two\n"),
            ("stdout", b"one\n"),
            ("stdout", b"three"),
        ]
        assert all(abs(time.time_ns() - line.time_ns) < 60e9 for line in lines)

    def test_the_tail_counts_lines(self, kit: Kit) -> None:
        container = kit.started("seq", "1", "5000")
        container.wait()
        assert [line.text for line in container.logs(tail=2)] == [b"4999\n", b"5000\n"]
        assert len(list(container.logs(tail=10_000))) == 5000
        assert list(container.logs(tail=0)) == []

    def test_following_ends_with_the_container(self, kit: Kit) -> None:
        container = kit.started("sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done")
        found = b"".join(line.text for line in container.logs(follow=True))
        assert found == b"1\n2\n3\n"

    def test_following_misses_nothing_and_ends_at_once(self, kit: Kit) -> None:
        for count in (1, 1000, 50_000):
            container = kit.started("sh", "-c", f"sleep 0.2; seq 1 {count}")
            found = b"".join(line.text for line in container.logs(follow=True))
            ended = time.monotonic()
            assert found.splitlines()[-1] == str(count).encode()
            assert container.wait() == 0
            assert time.monotonic() - ended < 3

    def test_without_a_log_there_is_none(self, kit: Kit) -> None:
        host = HostConfig(network_mode="host", log_driver="none")
        container = kit.started("echo", "x", host=host)
        container.wait()
        with pytest.raises(Conflict, match="does not support reading"):
            list(container.logs())


class TestInspect:
    def test_it_has_dockers_fields(self, kit: Kit, driver: str) -> None:
        container = kit.started(*FOREVER, name="web", labels={"a": "b"})
        found = container.inspect(size=True)
        assert list(found) == [
            *("Id", "Created", "Path", "Args", "State", "Image", "ResolvConfPath"),
            *("HostnamePath", "HostsPath", "LogPath", "Name", "RestartCount", "Driver"),
            *("Platform", "MountLabel", "ProcessLabel", "AppArmorProfile", "ExecIDs"),
            *("HostConfig", "GraphDriver", "SizeRw", "SizeRootFs", "Mounts", "Config"),
            "NetworkSettings",
        ]
        assert (found["Path"], found["Args"]) == ("sleep", ["1000"])
        assert found["Name"] == "/web"
        assert found["State"]["Running"] is True
        assert found["State"]["Pid"] == container.state.pid
        assert found["GraphDriver"]["Name"] == driver
        if driver == "overlay2":
            assert set(found["GraphDriver"]["Data"]) == {
                *("LowerDir", "MergedDir", "UpperDir", "WorkDir")
            }
        assert found["Config"]["Labels"] == {"a": "b"}
        assert os.path.exists(found["LogPath"])


class TestFilters:
    def test_each_filter_finds_its_own(self, kit: Kit) -> None:
        one = kit.create("true", name="one", labels={"a": "1"})
        two = kit.started(*FOREVER, name="two", labels={"a": "2"})
        three = kit.started("sh", "-c", "exit 3", name="three")
        three.wait()

        def names(**filters: str) -> set[str]:
            wanted = {key.replace("_", "-"): value.split(",") for key, value in filters.items()}
            return {each.name for each in kit.engine.containers.list(all=True, filters=wanted)}

        assert names(name="^t") == {"two", "three"}
        assert names(label="a") == {"one", "two"}
        assert names(label="a=2") == {"two"}
        assert names(status="created,exited") == {"one", "three"}
        assert names(exited="3") == {"three"}
        assert names(id=one.id[:12]) == {"one"}
        assert names(ancestor="busybox") == {"one", "two", "three"}
        assert names(since="one") == {"two", "three"}
        assert names(before="two") == {"one"}
        assert [each.name for each in kit.engine.containers.list()] == ["two"]
        with pytest.raises(InvalidInput, match="invalid filter 'colour'"):
            names(colour="red")
        assert two.state.running


class TestCommandLine:
    """What only a process of its own shows: terminals, signals, and being killed."""

    @pytest.fixture
    def driver(self) -> str:
        return "overlay2"

    def test_a_terminal_has_its_size_and_follows_it(self, kit: Kit) -> None:
        script = "stty size; trap 'stty size' WINCH; echo ready; while read x; do stty size; done"
        terminal = Terminal(
            *(kit.engine.root.path, "run", "--rm", "-it", "--network", "host", "busybox"),
            *("sh", "-c", script),
            size=(33, 77),
        )
        terminal.expect(b"33 77")
        terminal.expect(b"ready")
        terminal.resize(44, 99)
        os.kill(terminal.pid, signal.SIGWINCH)
        wait_for(lambda: (terminal.type(b"\r"), terminal._read(), b"44 99" in terminal.text)[2])
        terminal.type(b"\x04")
        assert terminal.end() == 0

    def test_the_detach_keys_leave_it_running_and_it_can_be_attached_again(self, kit: Kit) -> None:
        path = kit.engine.root.path
        terminal = Terminal(
            path, "run", "-it", "--name", "web", "--network", "host", "busybox", "sh"
        )
        terminal.type(b"echo 1$((1))1\r")
        terminal.expect(b"111")
        terminal.type(b"\x10\x11")
        assert terminal.end() == 0
        container = kit.engine.containers.get("web")
        assert container.state.running
        container.kill()

    def test_exec_with_a_terminal_is_a_terminal(self, kit: Kit) -> None:
        container = kit.started(*FOREVER)
        terminal = Terminal(
            *(kit.engine.root.path, "exec", "-it", container.id, "sh", "-c"),
            "tty; stty size; read x; echo got-$x; exit 6",
            size=(20, 50),
        )
        terminal.expect(b"/dev/pts/")
        terminal.expect(b"20 50")
        terminal.type(b"word\r")
        terminal.expect(b"got-word")
        assert terminal.end() == 6
        sessions = kit.engine.root.run / "containers" / container.id / "exec"
        wait_for(lambda: not os.listdir(sessions))

    def test_a_root_of_a_strange_name_works(self, kit: Kit, engine_root: Path) -> None:
        strange = engine_root / "a:b c,é\\"
        with Engine(strange, storage_driver="overlay2") as engine:
            own = Kit(engine)
            found = own.run("sh", "-c", "echo x > /y; cat /y /etc/hostname", hostname="h")
            assert found.out == b"x\nh\n"
            (container,) = engine.containers.list(all=True)
            assert [line.text for line in container.logs()] == [b"x\n", b"h\n"]
            container.remove()

    def test_starting_what_runs_attaches_to_it(self, kit: Kit) -> None:
        container = kit.started("sh", "-c", "read x; echo got-$x", open_stdin=True)
        found = captured(container.start, stdin=b"word\n")
        assert found.out == b"got-word\n"
        assert found.code == 0

    def test_ctrl_c_reaches_a_container_without_a_terminal(self, kit: Kit) -> None:
        script = "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.05; done"
        process = subprocess.Popen(
            [
                *(*CLI, "--root", str(kit.engine.root.path), "run", "--rm"),
                *("--network", "host", "busybox", "sh", "-c", script),
            ],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"caught\n"
        assert process.wait() == 5
        process.stdout.close()

    def test_a_killed_caller_leaves_the_container_and_its_end_is_recorded(self, kit: Kit) -> None:
        process = subprocess.Popen(
            [
                *(*CLI, "--root", str(kit.engine.root.path), "run", "--name", "web"),
                *("--network", "host", "busybox", "sh", "-c", "echo up; read x; exit 3"),
            ],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.stdout.close()
        process.wait()
        container = kit.engine.containers.get("web")
        assert container.wait() == 3

    def test_the_terminal_is_as_before_afterwards(self, kit: Kit) -> None:
        import termios

        terminal = Terminal(
            *(kit.engine.root.path, "run", "--rm", "-it", "--network", "host"),
            *("busybox", "sh", "-c", "echo up; read x"),
        )
        before = termios.tcgetattr(terminal.fd)
        terminal.expect(b"up")
        wait_for(lambda: termios.tcgetattr(terminal.fd) != before)
        os.kill(
            terminal.pid, signal.SIGTERM
        )  # goes to the container, whose first process ignores it
        terminal.type(b"\r")
        wait_for(lambda: termios.tcgetattr(terminal.fd) == before)
        terminal.end()
