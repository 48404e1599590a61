"""The walk-through, as scripts/tour.sh takes a person through it, on each storage driver."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BASE = "acme/my-base-image:1.0"
FINAL = "acme/my-final-image:1.0"
SIZE = r"\d+(\.\d+)?[kM]?B"


class Tour:
    """What the tour printed: the output of each command, by the command as typed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.outputs: dict[str, list[str]] = {}
        for block in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, output = block.partition("\n")
            self.outputs.setdefault(command, []).append(re.split("\n?\n# ", output)[0].rstrip("\n"))

    def lines(self, command: str, time: int = 0) -> list[str]:
        return self.outputs[command][time].splitlines()

    def layers(self, image: str) -> list[str]:
        command = f'lamina image inspect --format "{{{{json .RootFS.Layers}}}}" {image}'
        found = json.loads(self.outputs[command][0])
        assert isinstance(found, list)
        return found


@pytest.fixture(scope="module", params=["overlay2", "vfs"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def tour(driver: str, scratch_filesystem: Path) -> Tour:
    folder = scratch_filesystem / f"tour-{driver}"
    folder.mkdir()
    ended = subprocess.run(
        [REPOSITORY / "scripts/tour.sh", "--storage-driver", driver],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert not any(folder.iterdir()), "the tour left something"
    return Tour(ended.stdout)


def test_the_derived_image_has_the_layers_of_its_base_and_two_more(tour: Tour) -> None:
    base, final = tour.layers(BASE), tour.layers(FINAL)
    assert (len(base), len(final)) == (2, 4)
    assert final[:2] == base
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", layer) for layer in final)


def test_the_images_are_listed_with_the_sum_of_their_layers(tour: Tour) -> None:
    header, *rows = tour.lines("lamina image ls")
    assert header.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert [row.split()[:2] for row in rows] == [
        ["acme/my-final-image", "1.0"],
        ["acme/my-base-image", "1.0"],
        ["alpine", "latest"],
    ]
    assert all(re.fullmatch(r"\d\.\d\dMB", row.split()[-1]) for row in rows)


def test_history_shows_each_step_and_its_size(tour: Tour) -> None:
    header, *rows = tour.lines(f"lamina image history {FINAL}")
    assert header.split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    steps = [re.split(r"   +", row) for row in rows]
    assert re.fullmatch("[0-9a-f]{12}", steps[0][0])
    assert {step[0] for step in steps[1:]} == {"<missing>"}
    assert [step[2:] for step in steps[:3]] == [
        ['CMD ["/bin/sh" "-c" "/app/hello.sh"]', "0B", "buildkit.dockerfile.v0"],
        ["RUN /bin/sh -c chmod +x /app/hello.sh # buil…", "39B", "buildkit.dockerfile.v0"],
        ["COPY . /app # buildkit", steps[2][3], "buildkit.dockerfile.v0"],
    ]
    assert steps[-2][-1] == "buildkit.dockerfile.v0"
    base = tour.lines(f"lamina image history {BASE}")
    assert len(base) == 1 + 2


def test_the_root_has_one_folder_a_layer(tour: Tour, driver: str) -> None:
    folder = {"overlay2": "overlay2", "vfs": "vfs/dir"}[driver]
    names = [name for name in tour.lines(f"ls $LAMINA_ROOT/{folder}") if name != "l"]
    assert len(names) >= 4
    assert not {layer.removeprefix("sha256:") for layer in tour.layers(FINAL)} & set(names)
    left = tour.lines(f"ls $LAMINA_ROOT/{folder}", 1)
    assert [name for name in left if name != "l"] == []


def test_five_containers_start_with_nothing_of_their_own(tour: Tour) -> None:
    for number in range(1, 6):
        command = f"lamina run -dit --name my_container_{number} {FINAL} bash"
        assert re.fullmatch("[0-9a-f]{64}", tour.outputs[command][0])
    assert sizes(tour, 0) == ["0B"] * 5


def test_what_a_container_writes_is_its_own(tour: Tour) -> None:
    assert sizes(tour, 1) == ["0B", "0B", "5B", "5B", "5B"]
    loop = "for i in 1 2 3; do lamina exec my_container_$i sh -c 'printf hello > /out.txt'; done"
    assert tour.outputs[loop] == [""]
    assert tour.outputs["lamina exec my_container_1 cat /out.txt"][0] == "hello"


def sizes(tour: Tour, time: int) -> list[str]:
    """The writable layers' sizes in the rows of `ps --size`, newest first."""
    command = r'lamina ps --size --format "table {{.ID}}\t{{.Image}}\t{{.Names}}\t{{.Size}}"'
    header, *rows = tour.lines(command, time)
    assert re.split(r"   +", header) == ["CONTAINER ID", "IMAGE", "NAMES", "SIZE"]
    cells = [re.split(r"   +", row) for row in rows]
    assert [row[1:3] for row in cells] == [
        [FINAL, f"my_container_{number}"] for number in (5, 4, 3, 2, 1)
    ]
    assert all(re.fullmatch("[0-9a-f]{12}", row[0]) for row in cells)
    found = [re.fullmatch(rf"({SIZE}) \(virtual (\d\.\d\dMB)\)", row[3]) for row in cells]
    return [match[1] if match else "" for match in found]


def test_a_container_has_at_most_36_kilobytes_of_metadata(tour: Tour) -> None:
    rows = tour.lines("du -sh $LAMINA_ROOT/containers/*")
    assert len(rows) == 5
    assert all(int(row.split("\t")[0].removesuffix("K")) <= 36 for row in rows)


def test_everything_is_removed(tour: Tour) -> None:
    removed = tour.lines(f"lamina image rm {FINAL} {BASE} alpine")
    assert [line.split(":")[0] for line in removed] == ["Untagged", "Deleted"] * 3
    assert len(tour.lines("lamina image ls", 1)) == 1


def test_it_ends_in_a_picture_of_who_shares_what(tour: Tour) -> None:
    picture = tour.text[tour.text.index("# What it was") :]
    assert all(f"my_container_{number}" in picture for number in range(1, 6))
    assert re.search(rf"│ RUN chmod .* 39B +◀ {FINAL}", picture)
    assert re.search(rf"│ COPY bash .*◀ {BASE}", picture)
    assert "◀ alpine:latest" in picture
    widths = {len(line) for line in picture.splitlines() if line.startswith(("│", "├", "└"))}
    assert widths == {80}
