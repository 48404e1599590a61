"""What containers/ computes without touching the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.containers import capabilities, names, users
from lamina.containers.config import (
    ContainerConfig,
    HostConfig,
    PortBinding,
    merge_environment,
)
from lamina.containers.console import DetachKeys, parse_detach_keys
from lamina.containers.logs import parse_line, parse_time, read_log
from lamina.containers.runtime import exit_code, plain_message
from lamina.containers.seccomp import ALLOWED, BY_CAPABILITY, default_profile
from lamina.containers.spec import DeviceNode, ProcessUser, RuntimePlan, SpecMount, runtime_spec
from lamina.containers.waiting import signal_number
from lamina.errors import InvalidInput, NotFound

PASSWD = [
    "root:x:0:0:root:/root:/bin/sh".split(":"),
    "ann:x:1000:1001:Ann:/home/ann:/bin/sh".split(":"),
    "1234:x:77:78::/odd:".split(":"),
]
GROUP = ["root:x:0:".split(":"), "wheel:x:10:bob,ann".split(":"), "ann:x:1001:".split(":")]


class TestConfiguration:
    def test_both_halves_survive_dockers_json(self) -> None:
        config = ContainerConfig(
            image="alpine",
            cmd=("sh", "-c", "x"),
            entrypoint=("/e",),
            env=("A=1",),
            tty=True,
            labels={"a": "b"},
            volumes=("/data",),
            exposed_ports=("80/tcp",),
            stop_signal="SIGQUIT",
            stop_timeout_s=3,
        )
        host = HostConfig(
            binds=("/a:/b:ro",),
            network_mode="host",
            port_bindings={"80/tcp": (PortBinding("127.0.0.1", "8080"), PortBinding())},
            auto_remove=True,
            cap_add=("NET_ADMIN",),
            tmpfs={"/t": "size=1m"},
            ulimits=(("nofile", 10, 20),),
            pids_limit=5,
        )
        assert ContainerConfig.from_json(config.to_json()) == config
        assert HostConfig.from_json(host.to_json()) == host

    def test_what_the_command_line_left_open_comes_from_the_image(self) -> None:
        image = ContainerConfig(
            cmd=("bash",), env=("PATH=/bin", "A=1"), working_dir="/w", user="ann", stop_signal="INT"
        )
        merged = ContainerConfig(env=("A=2", "B=3")).merged(image)
        assert merged.command_line == ("bash",)
        assert merged.env == ("PATH=/bin", "A=2", "B=3")
        assert (merged.working_dir, merged.user, merged.stop_signal) == ("/w", "ann", "INT")

    def test_a_given_entrypoint_drops_the_images_command(self) -> None:
        image = ContainerConfig(entrypoint=("/e",), cmd=("x",))
        assert ContainerConfig(cmd=("y",)).merged(image).command_line == ("/e", "y")
        assert ContainerConfig(entrypoint=("/f",)).merged(image).command_line == ("/f",)
        assert ContainerConfig(entrypoint=(), cmd=("z",)).merged(image).command_line == ("z",)

    def test_a_variable_without_a_value_is_removed(self) -> None:
        assert merge_environment(("A=1", "B=2"), ("A",)) == ("B=2",)


class TestNames:
    @pytest.mark.parametrize("name", ["a", "", "-x", "a b", "a/b", "é1", "."])
    def test_bad_names_are_refused_in_dockers_words(self, name: str) -> None:
        with pytest.raises(InvalidInput, match="only \\[a-zA-Z0-9\\]"):
            names.check_name(name)

    def test_a_leading_slash_is_dropped(self) -> None:
        assert names.check_name("/web_1.a-b") == "web_1.a-b"

    def test_a_generated_name_is_two_words_and_not_taken(self) -> None:
        seen: set[str] = set()
        for _ in range(200):
            name = names.generated_name(seen.__contains__)
            assert name not in seen
            assert names.check_name(name) == name
            assert name.count("_") == 1
            seen.add(name)


class TestUsers:
    def test_a_name_gives_its_numbers_home_and_groups(self) -> None:
        found = users.find_user("ann", passwd=PASSWD, group=GROUP)
        assert found == ProcessUser(1000, 1001, (10,), "/home/ann")

    def test_a_number_needs_no_entry(self) -> None:
        assert users.find_user("4242", passwd=PASSWD, group=GROUP) == ProcessUser(4242, 0, (), "/")

    def test_a_number_with_an_entry_takes_its_group(self) -> None:
        assert users.find_user("1000", passwd=PASSWD, group=GROUP).gid == 1001

    def test_a_group_by_name_or_number_replaces_the_entrys(self) -> None:
        assert users.find_user("ann:wheel", passwd=PASSWD, group=GROUP).gid == 10
        assert users.find_user("0:55", passwd=PASSWD, group=GROUP).gid == 55

    def test_no_user_means_root(self) -> None:
        assert users.find_user("", passwd=PASSWD, group=GROUP) == ProcessUser(0, 0, (), "/root")

    def test_unknown_names_are_errors_that_name_them(self) -> None:
        with pytest.raises(NotFound, match="unable to find user bob"):
            users.find_user("bob", passwd=PASSWD, group=GROUP)
        with pytest.raises(NotFound, match="unable to find group staff"):
            users.find_user("ann:staff", passwd=PASSWD, group=GROUP)

    def test_a_number_out_of_range_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match="range"):
            users.find_user("4294967296", passwd=PASSWD, group=GROUP)


class TestCapabilities:
    def test_the_default_set_is_dockers_fourteen(self) -> None:
        assert len(capabilities.chosen((), ())) == 14

    def test_names_come_with_or_without_their_prefix(self) -> None:
        assert "CAP_NET_ADMIN" in capabilities.chosen(("net_admin",), ())
        assert "CAP_CHOWN" not in capabilities.chosen((), ("CAP_CHOWN",))

    def test_drop_all_leaves_what_is_added(self) -> None:
        assert capabilities.chosen(("CHOWN",), ("ALL",)) == ("CAP_CHOWN",)

    def test_add_all_is_limited_to_what_is_available(self) -> None:
        available = capabilities.from_mask(0b1011)
        assert capabilities.chosen(("ALL",), (), available) == available

    def test_an_unknown_name_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match='invalid capability: "fly"'):
            capabilities.chosen(("fly",), ())


class TestSeccomp:
    def test_no_name_is_both_free_and_tied_to_a_capability_it_needs(self) -> None:
        # ptrace and its kin are free since Linux 4.8; the rest of CAP_SYS_ADMIN's must not be.
        assert not set(ALLOWED) & set(BY_CAPABILITY["CAP_SYS_ADMIN"])
        assert not set(ALLOWED) & set(BY_CAPABILITY["CAP_SYS_MODULE"])
        assert not {"kexec_load", "keyctl", "add_key", "userfaultfd", "swapon"} & set(ALLOWED)

    def test_new_namespaces_need_sys_admin(self) -> None:
        rules = default_profile((), "x86_64")["syscalls"]
        clone = [rule for rule in rules if rule["names"] == ["clone"]]
        assert clone[0]["args"][0]["value"] == 0x7E020000
        assert [rule["errnoRet"] for rule in rules if rule["names"] == ["clone3"]] == [38]
        with_rights = default_profile(("CAP_SYS_ADMIN",), "x86_64")["syscalls"]
        assert {"clone", "clone3", "mount", "unshare"} <= set(with_rights[0]["names"])
        assert not [rule for rule in with_rights[1:] if rule["names"][0].startswith("clone")]

    def test_vsock_and_strange_personalities_are_refused(self) -> None:
        rules = default_profile((), "x86_64")["syscalls"]
        assert "socket" not in ALLOWED
        assert "personality" not in ALLOWED
        socket = [rule for rule in rules if rule["names"] == ["socket"]]
        assert socket[0]["args"][0] == {
            "index": 0,
            "value": 40,
            "valueTwo": 0,
            "op": "SCMP_CMP_NE",
        }
        assert len([rule for rule in rules if rule["names"] == ["personality"]]) == 5


class TestSpec:
    PLAN = RuntimePlan(rootfs="/r", args=("sh",), hostname="h", cgroup_path="/lamina/x")

    def test_a_plain_container_has_every_namespace_of_its_own(self) -> None:
        spec = runtime_spec(self.PLAN)
        kinds = [space["type"] for space in spec["linux"]["namespaces"]]
        assert sorted(kinds) == ["ipc", "mount", "network", "pid", "uts"]
        assert "/proc/kcore" in spec["linux"]["maskedPaths"]
        assert "/proc/sys" in spec["linux"]["readonlyPaths"]
        assert spec["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"

    def test_the_network_is_the_hosts_a_given_one_or_a_new_one(self) -> None:
        def network(value: str) -> list[dict[str, str]]:
            plan = RuntimePlan(rootfs="/r", args=("x",), network=value)
            spaces = runtime_spec(plan)["linux"]["namespaces"]
            return [space for space in spaces if space["type"] == "network"]

        assert network("host") == []
        assert network("") == [{"type": "network"}]
        assert network("/n") == [{"type": "network", "path": "/n"}]

    def test_a_mount_of_the_callers_replaces_a_default_one(self) -> None:
        shm = SpecMount("/dev/shm", "bind", "/host", ("rbind",))
        plan = RuntimePlan(rootfs="/r", args=("x",), mounts=(shm,))
        found = [m for m in runtime_spec(plan)["mounts"] if m["destination"] == "/dev/shm"]
        assert [mount["source"] for mount in found] == ["/host"]

    def test_mounts_come_parents_first(self) -> None:
        mounts = (SpecMount("/a/b/c", "bind", "/1"), SpecMount("/a", "bind", "/2"))
        plan = RuntimePlan(rootfs="/r", args=("x",), mounts=mounts)
        places = [mount["destination"] for mount in runtime_spec(plan)["mounts"]]
        assert places.index("/a") < places.index("/a/b/c")

    def test_another_user_holds_no_capability_but_may_gain_them(self) -> None:
        plan = RuntimePlan(rootfs="/r", args=("x",), user=ProcessUser(1000, 1000))
        found = runtime_spec(plan)["process"]["capabilities"]
        assert found["effective"] == []
        assert "CAP_CHOWN" in found["bounding"]

    def test_privileged_means_all_rights_no_filter_nothing_masked(self) -> None:
        plan = RuntimePlan(rootfs="/r", args=("x",), privileged=True)
        spec = runtime_spec(plan, available_capabilities=("CAP_CHOWN", "CAP_SYS_ADMIN"))
        assert "seccomp" not in spec["linux"]
        assert spec["linux"]["maskedPaths"] == []
        assert spec["process"]["capabilities"]["effective"] == ["CAP_CHOWN", "CAP_SYS_ADMIN"]

    def test_devices_and_a_cgroup_namespace_are_there_when_asked(self) -> None:
        node = DeviceNode("/dev/x", "c", 10, 20, 0o660, 0, 5)
        plan = RuntimePlan(rootfs="/r", args=("x",), cgroup_private=True, devices=(node,))
        linux = runtime_spec(plan)["linux"]
        assert {"type": "cgroup"} in linux["namespaces"]
        assert linux["devices"][0]["fileMode"] == 0o660

    def test_limits_become_resources(self) -> None:
        plan = RuntimePlan(
            rootfs="/r", args=("x",), memory_bytes=1 << 20, nano_cpus=1_500_000_000, pids_limit=7
        )
        resources = runtime_spec(plan)["linux"]["resources"]
        assert resources["memory"] == {"limit": 1 << 20, "swap": 2 << 20}
        assert resources["cpu"] == {"quota": 150_000, "period": 100_000}
        assert resources["pids"] == {"limit": 7}


class TestDetachKeys:
    KEYS = parse_detach_keys("ctrl-p,ctrl-q")

    def test_the_usual_keys_are_control_bytes(self) -> None:
        assert self.KEYS == b"\x10\x11"
        assert parse_detach_keys("a,ctrl-[") == b"a\x1b"
        assert parse_detach_keys("") == b""

    @pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "shift-a", "ab", ","])
    def test_unknown_keys_are_refused(self, text: str) -> None:
        with pytest.raises(InvalidInput, match="detach keys"):
            parse_detach_keys(text)

    def test_the_sequence_is_found_across_pieces(self) -> None:
        keys = DetachKeys(self.KEYS)
        assert keys.passed(b"ls\x10") == (b"ls", False)
        assert keys.passed(b"\x11more") == (b"", True)

    def test_a_broken_sequence_reaches_the_container_whole(self) -> None:
        keys = DetachKeys(self.KEYS)
        assert keys.passed(b"\x10") == (b"", False)
        assert keys.passed(b"a") == (b"\x10a", False)
        assert keys.passed(b"\x10\x10x") == (b"\x10\x10x", False)
        assert keys.passed(b"\x10\x10\x11") == (b"\x10", True)


class TestLogLines:
    def test_a_line_has_its_stream_time_and_end(self) -> None:
        line = parse_line(b"2026-11-23T22:45:00.123456789+00:00 stderr F two words")
        assert line is not None
        assert (line.stream, line.text) == ("stderr", b"two words\n")
        assert line.time_ns % 1_000_000_000 == 123_456_789

    def test_a_piece_has_no_end(self) -> None:
        line = parse_line(b"2026-11-23T22:45:00.1+00:00 stdout P half ")
        assert line is not None
        assert line.text == b"half "

    @pytest.mark.parametrize(
        ("count", "told"),
        [
            (0, []),
            (1, ["3"]),
            (2, ["2\n", "3"]),
            (3, ["1\n", "2\n", "3"]),
            (9, ["1\n", "2\n", "3"]),
        ],
    )
    def test_the_tail_counts_a_line_whose_pieces_surround_others_once(
        self, tmp_path: Path, count: int, told: list[str]
    ) -> None:
        log = tmp_path / "log"
        records = ("stdout F 1", "stdout P 3", "stderr F 2")
        log.write_text("".join(f"2026-11-23T22:45:00.1+00:00 {each}\n" for each in records))
        assert [line.text.decode() for line in read_log(log, tail=count)] == told

    def test_torn_lines_are_passed_over(self) -> None:
        assert parse_line(b"") is None
        assert parse_line(b"2026-11-23T22:45:00.1+00:00 std") is None
        assert parse_line(b"x stdout F y") is None

    def test_times_in_other_zones_are_the_same_moments(self) -> None:
        assert parse_time("1970-01-01T01:00:01.5+01:00") == 1_500_000_000
        assert parse_time("1970-01-01T00:00:01Z") == 1_000_000_000
        assert parse_time("1969-12-31T19:00:00-05:00") == 0


class TestRuntimeWords:
    def test_the_reason_is_found_in_log_lines_and_plain_text(self) -> None:
        logged = (
            'time="x" level=warning msg="odd"\n'
            'time="x" level=error msg="exec failed: exec: \\"x\\": not found"\n'
        )
        assert plain_message(logged) == 'exec failed: exec: "x": not found'
        assert plain_message('{"level":"error","msg":"bad"}') == "bad"
        assert plain_message("runc create failed: y\n") == "runc create failed: y"

    def test_exit_codes_are_dockers(self) -> None:
        assert exit_code('exec: "x": executable file not found in $PATH') == 127
        assert exit_code('exec: "/x": stat /x: no such file or directory') == 127
        assert exit_code('exec: "/etc": permission denied') == 126
        assert exit_code("cgroup trouble") == 125


class TestSignals:
    @pytest.mark.parametrize(
        ("name", "number"),
        [("TERM", 15), ("sigterm", 15), ("9", 9), ("RTMIN+3", 37), ("SIGRTMAX-1", 63)],
    )
    def test_names_and_numbers(self, name: str, number: int) -> None:
        assert signal_number(name) == number

    @pytest.mark.parametrize("name", ["FOO", "0", "65", "", "RTMIN+99", "_DFL"])
    def test_others_are_refused(self, name: str) -> None:
        with pytest.raises(InvalidInput, match="Invalid signal"):
            signal_number(name)
