"""What `-v` means, and what it refuses in Docker's words."""

from __future__ import annotations

import pytest

from lamina.errors import InvalidInput
from lamina.volumes.specification import MountPoint, parse_volume


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/cache", MountPoint("/cache", anonymous=True)),
        ("data:/srv", MountPoint("/srv", name="data")),
        ("data:/srv/", MountPoint("/srv", name="data")),
        ("data:/srv:ro", MountPoint("/srv", name="data", read_only=True, mode="ro")),
        ("data:/srv:nocopy", MountPoint("/srv", name="data", mode="nocopy", copy=False)),
        ("/a:/b", MountPoint("/b", source="/a", propagation="rprivate")),
        ("//a/../b/:/c", MountPoint("/c", source="/b", propagation="rprivate")),
        (
            "/a:/b:ro,rslave",
            MountPoint("/b", source="/a", read_only=True, mode="ro,rslave", propagation="rslave"),
        ),
        ("/a:/b:z", MountPoint("/b", source="/a", mode="z", propagation="rprivate")),
    ],
)
def test_accepts_what_docker_accepts(text: str, expected: MountPoint) -> None:
    assert parse_volume(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty section between colons"),
        (":/x", "invalid spec: :/x: empty section between colons"),
        ("data:", "invalid spec: data:: empty section between colons"),
        ("data:/x:", "empty section between colons"),
        ("a:/b:ro:c", "invalid volume specification: 'a:/b:ro:c'"),
        ("data", "invalid mount path: 'data' mount path must be absolute"),
        ("/a:data", "invalid volume specification: '/a:data'"),
        ("/a:/", "destination can't be '/'"),
        ("/a:/x/..", "destination can't be '/'"),
        ("/a:/b:rx", "invalid mode: rx"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:/b:nocopy", "invalid mode: nocopy"),
        ("data:/b:rslave", "invalid mode: rslave"),
        ("a/b:/c", 'create a/b: "a/b" includes invalid characters for a local volume name'),
        ("../x:/c", "includes invalid characters"),
        ("x:/c", "volume name is too short"),
        ("n" * 300 + ":/c", "longer than 255 characters"),
        ("-ab:/c", "includes invalid characters"),
    ],
)
def test_refuses_a_bad_volume_by_name(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_volume(text)
    assert problem in str(caught.value)


def test_a_mount_survives_its_document() -> None:
    mount = parse_volume("data:/srv:ro")
    assert MountPoint.from_json(mount.to_json()) == mount


def test_a_folder_of_the_host_is_a_bind_and_a_name_is_a_volume() -> None:
    assert parse_volume("/a:/b").type == "bind"
    assert parse_volume("data:/b").type == "volume"
