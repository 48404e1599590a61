"""The resolv.conf and hosts files of containers."""

from __future__ import annotations

from lamina.networks.files import hosts_file, only_stub_resolver, resolv_conf

HOST = """\
# written by something
nameserver 127.0.0.53
nameserver 192.0.2.53
nameserver fe80::1
search example.com
options edns0
"""


def test_resolvers_that_a_container_cannot_reach_are_left_out() -> None:
    assert resolv_conf(HOST, isolated=True) == (
        "nameserver 192.0.2.53\nsearch example.com\noptions edns0\n"
    )


def test_the_hosts_namespace_keeps_the_hosts_resolvers() -> None:
    assert "nameserver 127.0.0.53\n" in resolv_conf(HOST, isolated=False)


def test_public_resolvers_stand_in_when_none_remains() -> None:
    text = resolv_conf("nameserver 127.0.0.1\n", isolated=True)
    assert text == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_what_is_asked_for_replaces_the_hosts() -> None:
    text = resolv_conf(
        HOST, isolated=True, servers=["192.0.2.1"], search=["a.test", "b.test"], options=["ndots:1"]
    )
    assert text == "nameserver 192.0.2.1\nsearch a.test b.test\noptions ndots:1\n"


def test_a_dot_asks_for_no_search_domain() -> None:
    assert "search" not in resolv_conf(HOST, isolated=True, search=["."])


def test_the_stub_alone_is_recognised() -> None:
    assert only_stub_resolver("nameserver 127.0.0.53\noptions edns0\n")
    assert not only_stub_resolver(HOST)


def test_a_container_finds_itself_by_its_name() -> None:
    text = hosts_file(address="172.17.0.2", names=["abc"], extra=[("db", "192.0.2.9")])
    assert text.startswith("127.0.0.1\tlocalhost\n")
    assert text.endswith("ff02::2\tip6-allrouters\n192.0.2.9\tdb\n172.17.0.2\tabc\n")


def test_without_an_address_there_is_no_line_of_its_own() -> None:
    assert hosts_file(names=["abc"]).endswith("ip6-allrouters\n")
