"""The frame of the command line: which commands there are, and how each run ends."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import click
import pytest

from lamina.cli import main
from lamina.cli.command import Command
from lamina.cli.context import App
from lamina.cli.errors import describe, report
from lamina.cli.settings import resolve
from lamina.errors import Cancelled, Conflict, InvalidInput, NotFound, RuntimeFailure


def lamina(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main.run(args, App({}))
    out, err = capsys.readouterr()
    return code, out, err


SHOWN = [
    entry for entry in main.ENTRIES.values() if entry.summary and entry.module in main.available()
]
TELL = "(run with --debug for the traceback)"
MAKE_SPACE = "free some space, or remove what is unused with 'lamina image prune'"


@pytest.mark.parametrize("entry", SHOWN, ids=lambda entry: entry.path)
def test_every_command_of_the_table_is_a_command_with_help(
    entry: main.Entry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(main.load(entry), Command)
    code, out, _ = lamina(capsys, *entry.path.split(), "--help")
    assert code == 0
    assert out.startswith(f"Usage:  lamina {entry.path}")
    assert f"\n\n{entry.summary}" in out


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = lamina(capsys, "--help")
    assert code == 0
    assert "\nCommon Commands:\n  run  " in out
    assert "\nManagement Commands:\n" in out
    assert all(len(line) <= 100 for line in out.splitlines())
    assert lamina(capsys) == (0, out, "")
    assert lamina(capsys, "help") == (0, out, "")


def test_help_of_a_group_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = lamina(capsys, "image")
    assert code == 0
    assert "\n  ls  " in out
    assert "\n  list  " not in out


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["nope"], 1, "lamina: unknown command: lamina nope"),
        (["image", "nope"], 1, "lamina: unknown command: lamina image nope"),
        (["--nope", "ps"], 125, "unknown flag: --nope"),
        (["-Z"], 125, "unknown shorthand flag: 'Z' in -Z"),
        (["--root"], 125, "flag needs an argument: --root"),
        (["image", "--nope"], 125, "unknown flag: --nope"),
        (["version", "x"], 1, "lamina: 'lamina version' accepts no arguments"),
        (["version", "--nope"], 125, "unknown flag: --nope"),
    ],
)
def test_a_wrong_command_line_is_told_as_docker_tells_it(
    args: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended, out, err = lamina(capsys, *args)
    assert (ended, out) == (code, "")
    assert err.splitlines()[0] == told
    assert err.splitlines()[-1].startswith("Run 'lamina")


@pytest.mark.parametrize("command", ["inspect", "image inspect", "container inspect"])
def test_an_inspect_by_what_is_no_template_has_dockers_exit_code(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = command.split()
    code, out, err = lamina(capsys, "--root", str(tmp_path), *words, "-f", "{{.Name", "nosuch")
    assert (code, out) == (64, "")
    assert err == "Error: template parsing error: template: :1: unclosed action\n"


@pytest.mark.parametrize("flag", ["-v", "--version"])
def test_the_version_is_one_line(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = lamina(capsys, flag)
    assert code == 0
    assert out.startswith("Lamina version 0.1.0, build ")


def test_a_command_that_is_not_there_is_a_clean_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = main.Entry("hoist", "hoist", "Hoist", False)
    monkeypatch.setitem(main.ENTRIES, "hoist", entry)
    code, out, err = lamina(capsys, "hoist")
    assert (code, out) == (1, "")
    assert err == "Error: 'lamina hoist' is not part of this version of Lamina\n"


@pytest.mark.parametrize("path", ["pull", "plugin", "image push", "container stats", "compose"])
def test_a_command_of_dockers_that_lamina_lacks_is_told_as_such(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = lamina(capsys, *path.split(), "x")
    assert (code, out) == (1, "")
    assert err == f"Error: 'lamina {path}' is not part of this version of Lamina\n"


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (NotFound("No such image: x"), "Error: No such image: x", 1),
        (Conflict("in use", remedy="stop it"), "Error: in use: stop it", 1),
        (InvalidInput("two\nlines"), "Error: two lines", 1),
        (RuntimeFailure("no such file", exit_code=127), "Error: no such file", 127),
        (RuntimeFailure("runc failed"), "Error: runc failed", 1),
        (Cancelled("stopped"), "Error: stopped", 130),
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/x"),
            f"Error: /data/x: no space left on device: {MAKE_SPACE}",
            1,
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", b"/data"),
            "Error: /data: permission denied: run as root",
            1,
        ),
        (
            ZeroDivisionError("division by zero"),
            f"Error: internal error: ZeroDivisionError: division by zero {TELL}",
            1,
        ),
        (
            sqlite3.OperationalError("database or disk is full"),
            "Error: no space left on device: the data root's database cannot grow",
            1,
        ),
    ],
)
def test_an_error_is_one_line(
    error: Exception, line: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(error) == code
    assert capsys.readouterr().err == f"{line}\n"


def test_run_fails_with_125_but_keeps_what_the_command_says() -> None:
    assert describe(NotFound("x"), 125)[1] == 125
    assert describe(RuntimeFailure("x"), 125)[1] == 125
    assert describe(RuntimeFailure("x", exit_code=126), 125)[1] == 126


def test_an_interruption_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(KeyboardInterrupt()) == 130
    assert report(click.exceptions.Abort()) == 130
    assert capsys.readouterr().err == ""


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise NotFound("x")
    except NotFound as error:
        report(error, debug=True)
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        program = [sys.executable, "-c", "from lamina.cli.main import main; main()", "--help"]
        ended = subprocess.run(program, stdout=write_end, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(write_end)
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.parametrize("command", ["--help", "version --help", "ps --help"])
def test_help_imports_no_other_command(command: str) -> None:
    code = (
        "import sys; from lamina.cli import main; main.run(sys.argv[1:]);"
        "print(*(m for m in sys.modules if m.startswith('lamina')), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *command.split()], capture_output=True, check=True, text=True
    )
    modules = set(ended.stderr.split())
    others = {f"lamina.cli.{entry.module}" for entry in main.ENTRIES.values()}
    assert modules & others <= {"lamina.cli.version", "lamina.cli.ps"}
    assert "lamina.engine" not in modules


# Settings


def app(environment: dict[str, str], **flags: str) -> App:
    made = App(environment)
    for name, value in flags.items():
        setattr(made, name, value)
    return made


def test_a_flag_beats_the_environment_and_that_the_file(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"data-root": "/file", "storage-driver": "vfs"}))
    environment = {"LAMINA_CONFIG": str(config)}
    assert resolve(app(environment)).root == "/file"
    environment |= {"LAMINA_ROOT": "/environment", "LAMINA_DRIVER": "overlay2"}
    assert resolve(app(environment)).root == "/environment"
    assert resolve(app(environment)).storage_driver == "overlay2"
    found = resolve(app(environment, root="/flag", storage_driver="vfs"))
    assert (found.root, found.storage_driver) == ("/flag", "vfs")


def test_without_anything_the_defaults_hold(tmp_path: Path) -> None:
    found = resolve(app({}))
    assert (found.root, found.storage_driver, found.runtime) == ("/var/lib/lamina", None, None)


def test_storage_options_are_keys_with_values(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"storage-opts": ["a.b=1", "c=d=e"]}))
    assert resolve(app({}, config=str(config))).storage_options == {"a.b": "1", "c": "d=e"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"data_root": "/x"}', "unknown key 'data_root'"),
        ('{"data-root": 3}', "'data-root' must be a string"),
        ('{"storage-opts": "x"}', "'storage-opts' must be a list of strings"),
        ('{"storage-opts": [1]}', "'storage-opts' must be a list of strings"),
        ("{", "is not JSON"),
        ("[]", "holds no JSON object"),
        ('{"storage-opts": ["x"]}', "invalid storage option 'x'"),
    ],
)
def test_a_bad_configuration_file_is_refused_by_name(text: str, told: str, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(text)
    with pytest.raises(InvalidInput, match=told):
        resolve(app({"LAMINA_CONFIG": str(config)}))


def test_a_configuration_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no configuration file"):
        resolve(app({}, config=str(tmp_path / "none.json")))


def test_output_is_utf_8_in_every_locale_and_odd_names_come_out_as_they_went_in() -> None:
    program = [sys.executable, "-c", "from lamina.cli.main import main; main()"]
    ended = subprocess.run(
        [*program, "version", "--format", b"\xff\xe2\x80\xa6"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1:strict"},
        capture_output=True,
        check=True,
    )
    assert ended.stdout == b"\xff\xe2\x80\xa6\n"
