"""What is overlay2's own: Docker's layout on disk, ways of mounting, lost links, its probe."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from driver_builders import add_layer, build_layer, edit, file, folder, names

from lamina.drivers import overlay_mount
from lamina.drivers.contract import Usage
from lamina.drivers.deletion import delete_tree
from lamina.drivers.overlay2 import Overlay2Driver
from lamina.drivers.overlay_probe import probe_overlay
from lamina.drivers.usage import tree_usage
from lamina.errors import Corrupt, PermissionDenied, Unsupported
from lamina.linux import syscalls
from lamina.linux.mounts import Mount, mount, unmount


@pytest.fixture
def home(engine_root: Path) -> Path:
    return engine_root / "overlay2"


@pytest.fixture
def driver(home: Path) -> Overlay2Driver:
    return Overlay2Driver(home, {})


@pytest.fixture
def chain(driver: Overlay2Driver) -> list[str]:
    add_layer(driver, "base", [], folder("d"), file("d/a", "1"), file("b", "2"))
    add_layer(driver, "top", ["base"], file(".wh.b"), folder("d"), file("d/.wh..wh..opq"))
    return ["base", "top"]


def test_the_folders_are_laid_out_as_docker_lays_them_out(
    driver: Overlay2Driver, home: Path, chain: list[str]
) -> None:
    driver.prepare("w", chain)
    assert sorted(os.listdir(home)) == ["base", "l", "top", "w"]
    assert sorted(os.listdir(home / "w")) == ["diff", "link", "lower", "merged", "work"]
    assert sorted(os.listdir(home / "base")) == ["committed", "diff", "link", "merged", "work"]
    links = {id: (home / id / "link").read_text() for id in ("base", "top", "w")}
    assert all(
        len(link) == 26 and link.isalnum() and link.upper() == link for link in links.values()
    )
    assert sorted(os.listdir(home / "l")) == sorted(links.values())
    for id, link in links.items():
        assert os.readlink(home / "l" / link) == f"../{id}/diff"
    assert (home / "w/lower").read_text() == f"l/{links['top']}:l/{links['base']}"
    assert oct(home.stat().st_mode) == "0o40710"


def test_deletions_are_the_kernels_own_marks(
    driver: Overlay2Driver, home: Path, chain: list[str]
) -> None:
    mark = os.lstat(home / "top/diff/b")
    assert stat.S_ISCHR(mark.st_mode)
    assert mark.st_rdev == 0
    assert os.getxattr(home / "top/diff/d", "trusted.overlay.opaque") == b"y"


def test_nothing_below_the_home_holds_its_path(
    driver: Overlay2Driver, home: Path, chain: list[str]
) -> None:
    driver.prepare("w", chain)
    driver.mount("w")
    driver.unmount("w")
    for folder_name, _, files in os.walk(home):
        for name in files:
            path = Path(folder_name, name)
            if stat.S_ISREG(path.lstat().st_mode):
                assert str(home).encode() not in path.read_bytes()
            elif path.is_symlink():
                assert not os.readlink(path).startswith("/")


def test_inspection_names_the_folders_as_docker_does(
    driver: Overlay2Driver, home: Path, chain: list[str]
) -> None:
    driver.prepare("w", chain)
    assert driver.metadata("w", chain) == {
        "LowerDir": f"{home}/top/diff:{home}/base/diff",
        "MergedDir": f"{home}/w/merged",
        "UpperDir": f"{home}/w/diff",
        "WorkDir": f"{home}/w/work",
    }


def _no_fsopen(fstype: object) -> int:
    raise OSError(38, os.strerror(38))


def _no_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    real = syscalls.fsconfig

    def fsconfig(fs_fd: int, command: int, key: object, value: object, aux: int = 0) -> None:
        if command == syscalls.FSCONFIG_SET_FD:
            raise OSError(22, os.strerror(22))
        real(fs_fd, command, key, value, aux)  # type: ignore[arg-type]

    monkeypatch.setattr(syscalls, "fsconfig", fsconfig)


WAYS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "Linux 6.13": lambda patch: None,
    "Linux 6.8": _no_descriptors,
    "Linux 5.1": lambda patch: patch.setattr(syscalls, "fsopen", _no_fsopen),
}


@pytest.mark.parametrize("kernel", WAYS)
def test_older_kernels_mount_the_same(
    driver: Overlay2Driver, chain: list[str], kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a kernel of old: this one, asked as those must be asked."""
    WAYS[kernel](monkeypatch)
    driver.prepare("w", chain)
    edit(driver, "w", lambda root: ((root / "new").touch(), (root / "d/c").touch()))
    assert names(driver.mount("w")) == ["d", "d/c", "new"]
    driver.unmount("w")
    here = os.getcwd()
    for seen in (["base"], chain):
        with driver.view(seen) as root:
            assert (root / "d").is_dir()
            with pytest.raises(OSError):
                (root / "x").touch()
    assert os.getcwd() == here
    assert driver.leftovers() == []
    assert driver.list() == ["base", "top", "w"]


@pytest.mark.parametrize(("kernel", "layers"), [("Linux 6.8", 500), ("Linux 5.1", 127)])
def test_older_kernels_mount_as_many_layers_as_they_can(
    driver: Overlay2Driver, kernel: str, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    WAYS[kernel](monkeypatch)
    chain: list[str] = []
    for number in range(layers):
        add_layer(driver, f"c{number}", [], file(f"f{number}"))
        chain.append(f"c{number}")
    driver.prepare("w", chain)
    assert len(os.listdir(driver.mount("w"))) == layers
    driver.unmount("w")
    if kernel == "Linux 5.1":
        add_layer(driver, "one-more", [], file("f"))
        driver.prepare("v", [*chain, "one-more"])
        with pytest.raises(Unsupported, match="127"):
            driver.mount("v")


def test_five_hundred_layers_are_mounted(driver: Overlay2Driver) -> None:
    chain: list[str] = []
    for number in range(driver.capabilities.max_chain):
        add_layer(driver, f"c{number}", [], file(f"f{number}"))
        chain.append(f"c{number}")
    driver.prepare("w", chain)
    assert len(os.listdir(driver.mount("w"))) == 500
    driver.unmount("w")


def test_a_long_path_of_the_home_costs_no_layers(engine_root: Path) -> None:
    home = engine_root.joinpath(*["long" * 50] * 8, "overlay2")
    home.parent.mkdir(parents=True)
    driver = Overlay2Driver(home, {})
    chain: list[str] = []
    for number in range(130):
        add_layer(driver, f"c{number}", [], file(f"f{number}"))
        chain.append(f"c{number}")
    driver.prepare("w", chain)
    assert len(os.listdir(driver.mount("w"))) == 130
    driver.unmount("w")


def test_a_refused_mount_says_what_the_kernel_says(engine_root: Path) -> None:
    for name in ("low", "up", "work", "merged"):
        (engine_root / name).mkdir()
    overlay = overlay_mount.Overlay(str(engine_root), ("low",) * 501, "up", "work")
    with pytest.raises(Unsupported, match="too many lower directories, limit is 500"):
        overlay.attach(str(engine_root / "merged"))


def test_lost_short_links_are_made_again(
    driver: Overlay2Driver, home: Path, chain: list[str]
) -> None:
    driver.prepare("w", chain)
    for link in os.listdir(home / "l"):
        os.unlink(home / "l" / link)
    assert names(driver.mount("w")) == ["d"]
    driver.unmount("w")
    (home / "base/link").unlink()
    os.truncate(home / "top/link", 0)
    driver.prepare("v", chain)
    assert names(driver.mount("v")) == ["d"]
    driver.unmount("v")


def test_a_lost_mount_point_or_work_folder_is_made_again(
    driver: Overlay2Driver, home: Path, chain: list[str]
) -> None:
    driver.prepare("w", chain)
    (home / "w/merged").rmdir()
    (home / "w/work").rmdir()
    assert names(driver.mount("w")) == ["d"]
    driver.unmount("w")


def test_a_link_that_a_power_cut_emptied_never_stands_for_the_folder_of_links(
    driver: Overlay2Driver, home: Path, chain: list[str]
) -> None:
    driver.prepare("w", chain)
    os.truncate(home / "w/link", 0)
    driver.remove("w")
    assert driver.list() == ["base", "top"]
    driver.sweep()
    assert len(os.listdir(home / "l")) == 2
    os.truncate(home / "top/lower", 0)
    driver.prepare("v", chain)
    os.truncate(home / "v/lower", 0)
    with pytest.raises(Corrupt):
        driver.mount("v")


def test_a_layer_missing_from_the_disk_is_told_with_what_to_do(
    driver: Overlay2Driver, home: Path, chain: list[str]
) -> None:
    driver.prepare("w", chain)
    shutil.rmtree(home / "base")
    with pytest.raises(Corrupt, match="load or pull"):
        driver.mount("w")


def test_no_feature_that_puts_content_elsewhere_is_on_whatever_the_kernels_default(
    driver: Overlay2Driver, chain: list[str]
) -> None:
    driver.prepare("w", chain)
    root = driver.mount("w")
    (root / "d/x").write_text("x")
    options = next(
        line.split()[-1]
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[4] == str(root)
    )
    assert "redirect_dir=on" not in options
    assert "metacopy=on" not in options
    assert "index=on" not in options
    driver.unmount("w")


def test_the_probe_passes_where_the_suite_runs_and_leaves_nothing(engine_root: Path) -> None:
    probe = probe_overlay(engine_root / "not" / "there" / "yet")
    assert probe.ok, probe.reason
    assert probe.facts["Backing Filesystem"] == "extfs"
    assert probe.facts["Supports d_type"] == "true"
    assert os.listdir(engine_root) == []


def test_the_probe_refuses_an_overlay_as_backing_filesystem(engine_root: Path) -> None:
    driver = Overlay2Driver(engine_root / "overlay2", {})
    build_layer(driver, "base", [], lambda root: (root / "a").touch())
    driver.prepare("w", ["base"])
    root = driver.mount("w")
    probe = probe_overlay(root / "overlay2")
    assert not probe.ok
    assert "another filesystem" in probe.reason
    assert os.listdir(root) == ["a"]
    driver.unmount("w")


def test_the_probe_refuses_a_read_only_place(engine_root: Path) -> None:
    place = engine_root / "ro"
    place.mkdir()
    mount(Mount("tmpfs", "tmpfs", str(place), ("ro",)))
    try:
        probe = probe_overlay(place / "overlay2")
        assert not probe.ok
        assert "Read-only" in probe.reason
    finally:
        unmount(place)


def test_lacking_rights_are_told_as_such(
    driver: Overlay2Driver, chain: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object, **named: object) -> None:
        raise OSError(1, os.strerror(1))

    monkeypatch.setattr(syscalls, "fsopen", refused)
    monkeypatch.setattr(syscalls, "mount", refused)
    driver.prepare("w", chain)
    with pytest.raises(PermissionDenied, match="root"):
        driver.mount("w")


def test_a_tree_deeper_than_any_path_is_counted(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(5000):
        os.mkdir("deep", dir_fd=fd)
        below = os.open("deep", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    with open(os.open("end", os.O_WRONLY | os.O_CREAT, dir_fd=fd), "w") as file:
        file.write("hello")
    os.close(fd)
    try:
        assert tree_usage(str(tmp_path)) == Usage(size_bytes=5, inodes=5001)
    finally:
        delete_tree(str(tmp_path))
