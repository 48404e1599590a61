"""The README's example in Python, run as it stands there."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("driver", ["overlay2", "vfs"])
def test_the_readmes_python_example_does_what_it_says(
    engine_root: Path, tmp_path: Path, driver: str
) -> None:
    readme = (REPOSITORY / "README.md").read_text()
    found = re.search(r"<!-- python:begin -->\n```python\n(.*?)```", readme, re.DOTALL)
    assert found is not None
    context = shutil.copytree(REPOSITORY / "examples/cow-test", tmp_path / "cow-test")
    shutil.copy2("/bin/bash-static", context / "bash")
    given = {
        "root": engine_root,
        "driver": driver,
        "rootfs_tar": busybox_tar(tmp_path),
        "context": context,
    }
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(found[1], "README.md", "exec"), given)
    rows = [line.split() for line in printed.getvalue().splitlines()]
    assert [(name, int(size)) for name, size, _ in rows] == [
        ("my_container_5", 0),
        ("my_container_4", 0),
        ("my_container_3", 5),
        ("my_container_2", 5),
        ("my_container_1", 5),
    ]
    image_bytes = int(rows[0][2])
    assert [int(virtual) for _, _, virtual in rows] == [image_bytes] * 2 + [image_bytes + 5] * 3


def busybox_tar(folder: Path) -> Path:
    """A root filesystem of one static program and its names."""
    root = folder / "rootfs"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for applet in ("sh", "chmod", "printf"):
        (root / "bin" / applet).symlink_to("busybox")
    subprocess.run(["tar", "-C", root, "-cf", folder / "rootfs.tar", "."], check=True)
    return folder / "rootfs.tar"
