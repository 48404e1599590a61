"""The network files that a container sees: `/etc/resolv.conf` and `/etc/hosts`. Pure.

A resolver on the host's loopback cannot be reached from a namespace of the container's own, so
such lines are left out, and public resolvers stand in when none remains: Docker's rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_PUBLIC_RESOLVERS = ("8.8.8.8", "8.8.4.4")
_STUB = "127.0.0.53"
_LOCAL_NAMES = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "ff00::0\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)


def only_stub_resolver(host: str) -> bool:
    """Whether systemd-resolved's stub is all that this resolv.conf names."""
    return list(_nameservers(host)) == [_STUB]


def resolv_conf(
    host: str,
    *,
    isolated: bool,
    servers: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
) -> str:
    """The container's resolv.conf, from the host's and from what `--dns…` asked.

    `isolated`: the container has a network namespace of its own, without IPv6.
    """
    kept = []
    for line in host.splitlines():
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        if words[0] == "nameserver":
            if servers or len(words) < 2:
                continue
            if isolated and (_loopback(words[1]) or ":" in words[1]):
                continue
        if (words[0] in ("search", "domain") and search) or (words[0] == "options" and options):
            continue
        kept.append(" ".join(words))
    if servers:
        kept += [f"nameserver {server}" for server in servers]
    elif isolated and not any(line.startswith("nameserver ") for line in kept):
        kept += [f"nameserver {server}" for server in _PUBLIC_RESOLVERS]
    if search and list(search) != ["."]:
        kept.append("search " + " ".join(search))
    if options:
        kept.append("options " + " ".join(options))
    return "".join(f"{line}\n" for line in kept)


def hosts_file(
    *, address: str = "", names: Iterable[str] = (), extra: Iterable[tuple[str, str]] = ()
) -> str:
    """The container's hosts file; `extra` are (name, address) pairs as of `--add-host`."""
    text = _LOCAL_NAMES
    text += "".join(f"{at}\t{name}\n" for name, at in extra)
    own = " ".join(name for name in names if name)
    if address and own:
        text += f"{address}\t{own}\n"
    return text


def _nameservers(text: str) -> Iterable[str]:
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            yield words[1]


def _loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"
