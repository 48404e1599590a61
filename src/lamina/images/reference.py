"""References: the names people give to images, parsed and normalised as Docker does.

    [domain/]path[:tag][@digest]

`ubuntu` means `docker.io/library/ubuntu:latest`. The first component is a domain only when it has a
dot, a colon or a capital, or is `localhost`. Source: distribution/reference, the grammar in its
package comment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache

from lamina.digests import Digest
from lamina.errors import InvalidInput

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"

_OFFICIAL = "library/"
_NAME_LIMIT = 255
_TEXT_LIMIT = 4096


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """A normalised name of an image: where it would come from, which of them, and how pinned."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str, *, default_tag: str | None = DEFAULT_TAG) -> Reference:
        """The reference that `text` means; without a tag or digest it gets `default_tag`."""
        if len(text) > _TEXT_LIMIT:
            raise InvalidInput("invalid reference format: too long")
        domain, remainder = _split_domain(text)
        repository = remainder.partition("@")[0].partition(":")[0]
        if repository != repository.lower():
            raise InvalidInput(
                f"invalid reference format: repository name ({repository}) must be lowercase"
            )
        match = _grammar().fullmatch(f"{domain}/{remainder}")
        if match is None:
            raise InvalidInput("invalid reference format")
        name, tag, digest = match.group("name", "tag", "digest")
        if len(name) - len(domain) - 1 > _NAME_LIMIT:
            raise InvalidInput(
                f"invalid reference format: repository name must not be more than "
                f"{_NAME_LIMIT} characters"
            )
        if digest is not None and not digest.startswith("sha256:"):
            raise InvalidInput(f"unsupported digest algorithm in {text!r}: only sha256 is kept")
        if tag is None and digest is None:
            tag = default_tag
        return cls(
            domain=domain,
            path=name[len(domain) + 1 :],
            tag=tag,
            digest=None if digest is None else Digest(digest),
        )

    @property
    def name(self) -> str:
        """The repository in full: `docker.io/library/ubuntu`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as people write it: `ubuntu`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_OFFICIAL)
        if "/" not in short:
            return short
        # `docker.io/a.b/c` must not be shortened to `a.b/c`, whose domain would be `a.b`.
        return self.name if _looks_like_domain(self.path.partition("/")[0]) else self.path

    def familiar(self) -> str:
        """The whole reference as people write it: `ubuntu:18.04`."""
        return self.familiar_name + self._suffix

    def tagged(self, tag: str) -> Reference:
        """The same repository with another tag and no digest."""
        return replace(self, tag=tag, digest=None)

    def pinned(self, digest: Digest) -> Reference:
        """The same repository named by digest alone."""
        return replace(self, tag=None, digest=digest)

    @property
    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        return tag + (f"@{self.digest}" if self.digest is not None else "")

    def __str__(self) -> str:
        return self.name + self._suffix


def familiar_repository(repository: str) -> str:
    """A stored repository name (`docker.io/library/ubuntu`) as people write it (`ubuntu`)."""
    domain, _, path = repository.partition("/")
    return Reference(domain, path).familiar_name


def _split_domain(text: str) -> tuple[str, str]:
    if not text:
        raise InvalidInput(
            "invalid reference format: repository name must have at least one component"
        )
    if len(text) == 64 and not text.strip("0123456789abcdef"):
        raise InvalidInput(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    first, slash, rest = text.partition("/")
    if slash and _looks_like_domain(first):
        domain, remainder = first, rest
    else:
        domain, remainder = DEFAULT_DOMAIN, text
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = _OFFICIAL + remainder
    return domain, remainder


def _looks_like_domain(component: str) -> bool:
    return (
        "." in component
        or ":" in component
        or component == "localhost"
        or component != component.lower()
    )


@cache
def _grammar() -> re.Pattern[str]:
    label = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)"
    host = rf"(?:{label}(?:\.{label})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?"
    component = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
    return re.compile(
        rf"(?P<name>{host}/{component}(?:/{component})*)"
        r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
        r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
        re.ASCII,
    )
