"""Dockerfile text to typed instructions: a corpus of good and bad files, and what they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.build.dockerfile import DockerfileError, parse
from lamina.build.dockerfile.instructions import (
    Add,
    Arg,
    Command,
    Copy,
    Env,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Run,
    SetCommand,
    SetEntrypoint,
    Shell,
    Volume,
)
from lamina.build.dockerfile.nodes import Heredoc

CORPUS = Path(__file__).with_name("dockerfiles")
GOOD = sorted(path for path in (CORPUS / "good").iterdir())
BAD = sorted(path for path in (CORPUS / "bad").iterdir() if path.suffix != ".error")


def instructions(text: str) -> tuple[Instruction, ...]:
    return parse(b"FROM busybox\n" + text.encode()).stages[0].instructions


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_accepts(path: Path) -> None:
    dockerfile = parse(path.read_bytes())
    lines = path.read_bytes().count(b"\n")
    last = 0
    for stage in dockerfile.stages:
        for instruction in (stage.start, *stage.instructions):
            assert last < instruction.lines.first <= instruction.lines.last <= lines
            last = instruction.lines.last


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.name)
def test_refuses_in_words_that_name_the_line(path: Path) -> None:
    with pytest.raises(DockerfileError) as refused:
        parse(path.read_bytes())
    assert str(refused.value) == path.with_suffix(".error").read_text().rstrip("\n")


def test_joins_continued_lines_and_drops_the_comments_between() -> None:
    path = CORPUS / "good" / "comments-and-continuations"
    run, cmd = parse(path.read_bytes()).stages[0].instructions
    assert isinstance(run, Run)
    assert run.command == Command(("echo one     two     three",), shell=True)
    assert (run.lines.first, run.lines.last) == (5, 9)
    assert isinstance(cmd, SetCommand)
    assert cmd.command == Command(("a", "b"), shell=False)


def test_the_escape_directive_changes_what_continues_a_line() -> None:
    path = CORPUS / "good" / "backtick-escape-and-crlf"
    dockerfile = parse(path.read_bytes())
    run, copy = dockerfile.stages[0].instructions
    assert dockerfile.escape == "`"
    assert isinstance(run, Run)
    assert run.command.words == ("echo a   b",)
    assert isinstance(copy, Copy)
    assert copy.sources == (r"c:\\x",)


def test_a_syntax_directive_is_noted_and_nothing_is_fetched() -> None:
    assert parse(b"# syntax=docker/dockerfile:1\nFROM x\n").syntax == "docker/dockerfile:1"


def test_a_directive_below_a_comment_is_a_comment() -> None:
    assert parse(b"# hello\n# escape=`\nFROM x\n").escape == "\\"


def test_heredocs_are_read_with_name_content_and_whether_they_expand() -> None:
    first, second, copy, numbered = (
        parse((CORPUS / "good" / "heredocs").read_bytes()).stages[0].instructions
    )
    assert isinstance(first, Run)
    assert first.heredocs == (Heredoc("EOF", 'set -e\necho "one"\n', expand=True),)
    assert isinstance(second, Run)
    assert second.heredocs == (
        Heredoc("STOP", "tabs $stay\n", expand=False),
        Heredoc("OTHER", "second\n", expand=False),
    )
    assert isinstance(copy, Copy)
    assert [doc.name for doc in copy.heredocs] == ["one.txt", "two.txt"]
    assert copy.destination == "/files/"
    assert isinstance(numbered, Run)
    assert numbered.heredocs[0].file_descriptor == 3


def test_a_shell_here_string_is_no_heredoc() -> None:
    (run,) = instructions("RUN cat <<< word\n")
    assert isinstance(run, Run)
    assert run.heredocs == ()


def test_every_instruction_becomes_its_type() -> None:
    dockerfile = parse((CORPUS / "good" / "every-instruction").read_bytes())
    assert [arg.pairs for arg in dockerfile.global_args] == [(("BASE", "busybox"),)]
    first, _, last = dockerfile.stages
    assert (first.start.base, first.name, first.start.platform) == (
        "${BASE:-alpine}",
        "build",
        "linux/amd64",
    )
    found: dict[type, list[Instruction]] = {}
    for instruction in first.instructions:
        found.setdefault(type(instruction), []).append(instruction)
    (maintainer,) = found[Maintainer]
    assert isinstance(maintainer, Maintainer)
    assert maintainer.author == "someone <a@b>"
    labels = [label.pairs for label in found[Label] if isinstance(label, Label)]
    assert labels == [
        (("a", "b"), ('"c d"', '"e f"'), ("multi", '"x y"')),
        (("old", "style value"),),
    ]
    envs = [env.pairs for env in found[Env] if isinstance(env, Env)]
    assert envs == [
        (("A", "1"), ("B", '"two words"'), ("C", r"three\ words")),
        (("OLD", "the rest of the line"),),
    ]
    (arg,) = found[Arg]
    assert isinstance(arg, Arg)
    assert arg.pairs == (("X", None), ("Y", "2"))
    volumes = [volume.paths for volume in found[Volume] if isinstance(volume, Volume)]
    assert volumes == [("/a", "/b c"), ("/d", "/e")]
    (shell,) = found[Shell]
    assert isinstance(shell, Shell)
    assert shell.words == ("/bin/bash", "-c")
    (check,) = found[Healthcheck]
    assert isinstance(check, Healthcheck)
    assert check.test == ("CMD-SHELL", "curl -f http://localhost/ || exit 1")
    assert (check.interval_ns, check.timeout_ns, check.retries) == (30 * 10**9, 90 * 10**9, 3)
    plain, spaced = found[Copy]
    assert isinstance(plain, Copy)
    assert isinstance(spaced, Copy)
    assert (plain.sources, plain.destination) == (("a", "b"), "/dest/")
    assert (plain.owner, plain.mode) == ("1:2", "0755")
    assert (spaced.sources, spaced.destination) == (("with space",), "/dest dir/")
    (add,) = found[Add]
    assert isinstance(add, Add)
    assert add.owner == "root"
    exact, by_shell = found[Run]
    assert isinstance(exact, Run)
    assert isinstance(by_shell, Run)
    assert exact.command == Command(("/bin/true", "x"), shell=False)
    assert exact.network == "none"
    assert by_shell.command == Command(('echo $A "${B}"',), shell=True)
    (entrypoint,) = found[SetEntrypoint]
    assert isinstance(entrypoint, SetEntrypoint)
    assert entrypoint.command == Command(("exec top -b",), shell=True)
    from_build, from_first = (each for each in last.instructions if isinstance(each, Copy))
    assert (from_build.from_stage, from_build.link) == ("build", True)
    assert from_first.from_stage == "0"


def test_what_only_looks_like_json_is_for_the_shell() -> None:
    run, cmd = parse((CORPUS / "good" / "json-like-shell-form").read_bytes()).stages[0].instructions
    assert isinstance(run, Run)
    assert run.command == Command(("[ -d / ] && echo yes",), shell=True)
    assert isinstance(cmd, SetCommand)
    assert cmd.command.shell
