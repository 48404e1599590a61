"""What the kernel says is mounted."""

from __future__ import annotations

from lamina.linux.mounts import MountInfo, boot_id, mounted, mountinfo


def test_a_line_of_mountinfo_is_read_whole() -> None:
    line = (
        rb"36 35 98:0 /mnt1 /mnt\0402\134x rw,noatime master:1 propagate_from:2 - "
        rb"ext4 /dev/my\011root rw,errors=continue"
    )
    assert mountinfo(line) == [
        MountInfo(
            mount_id=36,
            parent_id=35,
            device="98:0",
            root="/mnt1",
            target="/mnt 2\\x",
            options=("rw", "noatime"),
            type="ext4",
            source="/dev/my\troot",
            super_options=("rw", "errors=continue"),
        )
    ]


def test_a_line_without_optional_fields_is_read() -> None:
    (info,) = mountinfo(b"1 0 0:1 / / rw - rootfs none rw")
    assert (info.target, info.type, info.source) == ("/", "rootfs", "none")


def test_the_root_and_proc_are_mounted_and_a_file_is_not() -> None:
    assert mounted("/proc")
    assert not mounted("/proc/version")
    assert not mounted("/nowhere/at/all")


def test_the_boot_has_a_name_that_stays() -> None:
    assert boot_id() == boot_id()
    assert len(boot_id()) == 36
