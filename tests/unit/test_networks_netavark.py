"""What is said where netavark is missing or fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.errors import RuntimeFailure, Unsupported
from lamina.networks.netavark import Netavark, explain, find_netavark


def test_a_missing_netavark_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"install the package netavark, or use --network host"):
        find_netavark([str(tmp_path)])


def test_netavark_is_found_where_it_is(tmp_path: Path) -> None:
    program = tmp_path / "netavark"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(Unsupported):
        find_netavark([str(tmp_path)])
    program.chmod(0o755)
    assert find_netavark([str(tmp_path / "absent"), str(tmp_path)]) == program


@pytest.mark.parametrize(
    ("words", "kind", "remedy"),
    [
        ("code: 3, msg: iptables v1.8.9: can't initialize", Unsupported, "install iptables"),
        ("No such file or directory (os error 2)", Unsupported, "install iptables"),
        ("invalid version number", Unsupported, "no usable firewall for network bridge"),
        ("Netlink error: Operation not permitted (os error 1)", Unsupported, "CAP_NET_ADMIN"),
        ("Sysctl error: Read-only file system (os error 30)", Unsupported, "/proc/sys writable"),
        ("something else", RuntimeFailure, "netavark setup: something else"),
    ],
)
def test_its_words_become_an_error_with_a_remedy(
    words: str, kind: type[Exception], remedy: str
) -> None:
    error = explain("setup", f'{{"error": "{words}"}}'.encode(), b"")
    assert type(error) is kind
    assert remedy in str(error)


def test_words_that_are_no_json_are_passed_on() -> None:
    assert "thread panicked" in str(explain("setup", b"", b"thread\n panicked\n"))


def test_a_failing_program_is_told_by_its_own_words(tmp_path: Path) -> None:
    program = tmp_path / "netavark"
    program.write_text(
        '#!/bin/sh\ncat >/dev/null\necho "{\\"error\\": \\"no $1 of $5\\"}"\nexit 1\n'
    )
    program.chmod(0o755)
    with pytest.raises(RuntimeFailure, match="netavark setup: no --config"):
        Netavark(program, tmp_path).setup(tmp_path, {})
