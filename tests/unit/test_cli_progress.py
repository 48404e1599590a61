"""How a build's progress is written and drawn, from its events alone."""

from __future__ import annotations

import io

from lamina.build.events import Event, Finished, Output, Started, Status
from lamina.cli.progress import Picture, Plain, Terminal, shown_line, transferred

DEFINITION = "[internal] load build definition from Dockerfile"
EVENTS: list[Event] = [
    Started(1, DEFINITION, 0.0),
    Status(1, "transferring dockerfile", 0.1, 0.1, 116),
    Finished(1, 0.4),
    Started(2, "[1/2] FROM docker.io/library/alpine:latest", 0.4),
    Finished(2, 0.4, cached=True),
    Started(3, "[2/2] RUN apk add --no-cache bash", 0.5),
    Output(3, b"fetch one\nfet", 0.75),
    Output(3, b"ch two\n", 1.0),
    Output(3, b"no end", 2.0),
    Finished(3, 3.6),
    Started(4, "exporting to image", 3.6),
    Status(4, "exporting layers", 3.6, 3.6, done=False),
    Status(4, "exporting layers", 3.6, 3.8),
    Status(4, "naming to docker.io/acme/x:1.0", 3.8, 3.8),
    Finished(4, 3.9),
]


def plain(events: list[Event]) -> str:
    out = io.StringIO()
    drawn = Plain(out)
    for event in events:
        drawn.hear(event)
    drawn.close()
    return out.getvalue()


def picture(events: list[Event], *, now_s: float, finished: bool, height: int = 40) -> list[str]:
    drawn = Picture()
    for event in events:
        drawn.hear(event)
    return [line.text for line in drawn.lines(now_s, 80, height, finished=finished)]


def test_plain_lines_are_buildkits() -> None:
    assert plain(EVENTS) == (
        f"#1 {DEFINITION}\n"
        "#1 transferring dockerfile: 116B done\n"
        "#1 DONE 0.4s\n"
        "\n"
        "#2 [1/2] FROM docker.io/library/alpine:latest\n"
        "#2 CACHED\n"
        "\n"
        "#3 [2/2] RUN apk add --no-cache bash\n"
        "#3 0.250 fetch one\n"
        "#3 0.500 fetch two\n"
        "#3 3.100 no end\n"
        "#3 DONE 3.1s\n"
        "\n"
        "#4 exporting to image\n"
        "#4 exporting layers 0.2s done\n"
        "#4 naming to docker.io/acme/x:1.0 done\n"
        "#4 DONE 0.3s\n"
    )


def test_plain_says_whose_lines_follow_when_steps_run_at_once() -> None:
    events: list[Event] = [
        Started(1, "a", 0.0),
        Started(2, "b", 0.0),
        Output(1, b"x\n", 1.0),
        Finished(2, 2.0, error="broke"),
        Finished(1, 3.0, cancelled=True),
    ]
    assert plain(events) == (
        "#1 a\n#1 ...\n\n#2 b\n#2 ...\n\n#1 a\n#1 1.000 x\n#1 ...\n\n"
        "#2 b\n#2 ERROR: broke\n\n#1 a\n#1 CANCELED\n"
    )


def test_the_finished_picture_is_buildkits() -> None:
    lines = picture(EVENTS, now_s=6.04, finished=True)
    assert all(len(line) <= 80 for line in lines)
    assert [line.rstrip() for line in lines] == [
        "[+] Building 6.0s (4/4) FINISHED",
        " => [internal] load build definition from Dockerfile".ljust(76) + "0.4s",
        " => => transferring dockerfile: 116B".ljust(76) + "0.0s",
        " => CACHED [1/2] FROM docker.io/library/alpine:latest".ljust(76) + "0.0s",
        " => [2/2] RUN apk add --no-cache bash".ljust(76) + "3.1s",
        " => exporting to image".ljust(76) + "0.3s",
        " => => exporting layers".ljust(76) + "0.2s",
        " => => naming to docker.io/acme/x:1.0".ljust(76) + "0.0s",
    ]


def test_a_running_step_shows_its_last_output_and_the_time_so_far() -> None:
    lines = picture(EVENTS[:8], now_s=2.5, finished=False)
    assert lines[0] == "[+] Building 2.5s (2/3)"
    assert lines[-3:] == [
        " => [2/2] RUN apk add --no-cache bash".ljust(76) + "2.0s",
        " => => # fetch one",
        " => => # fetch two",
    ]


def test_the_picture_fits_the_terminal_while_it_moves() -> None:
    many: list[Event] = [Started(number, f"step {number}", 0.0) for number in range(1, 101)]
    lines = picture(many, now_s=1.0, finished=False, height=10)
    assert len(lines) == 9
    assert lines[-1].startswith(" => step 100")


def test_long_and_wide_names_are_cut_to_the_width() -> None:
    lines = picture([Started(1, "RUN " + "字" * 200, 0.0)], now_s=0.0, finished=False)
    assert lines[1].endswith("… 0.0s") or lines[1].endswith("…  0.0s")
    assert sum(2 if char == "字" else 1 for char in lines[1]) == 80


def test_a_failed_step_is_marked_and_keeps_its_output() -> None:
    events: list[Event] = [
        Started(1, "RUN x", 0.0),
        Output(1, b"oh\n", 0.5),
        Finished(1, 1.0, error="e"),
    ]
    lines = picture(events, now_s=1.0, finished=True)
    assert lines[1].startswith(" => ERROR RUN x ")
    assert lines[2] == " => => # oh"


def test_output_cannot_command_the_terminal() -> None:
    assert shown_line(b"\x1b[31mred\x1b[0m\x1b]0;title\x07 \x07bell") == "red bell"
    assert shown_line(b"10%\r50%\r100%") == "100%"
    assert shown_line(b"a\tb") == "a       b"
    assert shown_line(b"\xff") == "�"


def test_the_terminal_draws_over_itself_and_leaves_the_last_picture() -> None:
    out = io.StringIO()
    drawn = Terminal(out, (80, 24), colours=False)
    for event in EVENTS:
        drawn.hear(event)
    drawn.close()
    last = out.getvalue().rpartition("\x1b[?25l")[2]
    assert "(4/4) FINISHED" in last
    assert "\x1b[34m" not in last
    assert out.getvalue().endswith("\x1b[?25h")


def test_sizes_are_written_as_buildkit_writes_them() -> None:
    sizes = (0, 116, 999, 1000, 2_349, 999_999, 20_000_000, 5 * 10**12, 10**17)
    assert [transferred(size) for size in sizes] == [
        *("0B", "116B", "999B", "1.00kB", "2.35kB", "1.00MB", "20.00MB", "5.00TB", "100000.00TB")
    ]
