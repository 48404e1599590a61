"""What shells offer while a command line is typed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lamina.cli import main
from lamina.cli.complete import candidates
from lamina.cli.context import App


def offered(*words: str) -> list[str]:
    return [text for text, _ in candidates(App({}), words)]


def test_commands_and_groups_are_offered_first() -> None:
    everything = offered("")
    assert {"run", "image", "ps"} <= set(everything)
    assert "__complete" not in everything
    assert offered("im") == ["image", "images", "import"]


def test_a_group_offers_its_commands() -> None:
    assert offered("image", "l") == ["load", "ls"]


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (["ps", "--no"], ["--no-trunc"]),
        (["container", "ls", "--no"], ["--no-trunc"]),
        (["--root", "/nowhere", "ps", "--no"], ["--no-trunc"]),
        (["ps", "-a", "--no"], ["--no-trunc"]),
        (["run", "image", "--ti"], []),
        (["--ro"], ["--root"]),
        (["--storage-d"], ["--storage-driver"]),
        (["nope", ""], []),
        (["image", "nope", ""], []),
        (["--root", ""], []),
    ],
)
def test_flags_are_offered_where_they_may_stand(words: list[str], flags: list[str]) -> None:
    assert offered(*words) == flags


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["completion", shell], App({})) == 0
    assert "lamina __complete -- " in capsys.readouterr().out


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["completion", "tcsh"], App({})) == 1
    told = "Error: no completion for shell 'tcsh': choose bash, fish, zsh\n"
    assert capsys.readouterr().err == told


def test_bash_offers_what_fits(tmp_path: Path) -> None:
    program = tmp_path / "lamina"
    program.write_text(f"#!{sys.executable}\nfrom lamina.cli.main import main\nmain()\n")
    program.chmod(0o755)
    script = """
        source <(lamina completion bash)
        COMP_LINE="lamina ps --no" COMP_POINT=14; _lamina; echo "${COMPREPLY[*]}"
        COMP_LINE="lamina image " COMP_POINT=13; _lamina; echo "${#COMPREPLY[@]}"
    """
    ended = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    flag, count = ended.stdout.splitlines()
    assert flag == "--no-trunc"
    assert int(count) > 5
