"""References mean what Docker takes them to mean."""

from __future__ import annotations

import pytest

from lamina.digests import Digest
from lamina.errors import InvalidInput
from lamina.images.reference import Reference, familiar_repository

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
        ("ubuntu:18.04", "docker.io/library/ubuntu:18.04", "ubuntu:18.04"),
        ("acme/base:1.0", "docker.io/acme/base:1.0", "acme/base:1.0"),
        ("docker.io/library/ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
        ("index.docker.io/ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
        ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
        ("localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest", "127.0.0.1:5000/a:latest"),
        ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
        ("quay.io/x/y@" + DIGEST, "quay.io/x/y@" + DIGEST, "quay.io/x/y@" + DIGEST),
        ("a:t@" + DIGEST, f"docker.io/library/a:t@{DIGEST}", f"a:t@{DIGEST}"),
        ("HOST/a", "HOST/a:latest", "HOST/a:latest"),
        ("a__b--c.d", "docker.io/library/a__b--c.d:latest", "a__b--c.d:latest"),
        ("docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest"),
    ],
)
def test_a_name_is_normalised_and_shown_again_as_people_write_it(
    text: str, full: str, familiar: str
) -> None:
    reference = Reference.parse(text)
    assert str(reference) == full
    assert reference.familiar() == familiar
    assert Reference.parse(familiar) == reference


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "a:", ":a", "a@", "a@b", "a@sha256:abc", "-a", "a/", "/a", "a//b", "a..b", "a_-b",
        "a:" + "t" * 129, "a:-t", "a:t:u", "a b", "a\nb", "ä", "a:ä", "a" * 5000, "é/a:b",
        "https://x/y", "a/" * 200 + "a", "a:t@" + DIGEST + "0" * 3 + "g",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Reference.parse(text)


def test_capitals_in_a_repository_are_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match=r"repository name \(library/FOO\) must be lowercase"):
        Reference.parse("FOO")


def test_an_image_id_is_no_name() -> None:
    with pytest.raises(InvalidInput, match="cannot specify 64-byte hexadecimal strings"):
        Reference.parse("a" * 64)


def test_other_digest_algorithms_are_refused() -> None:
    with pytest.raises(InvalidInput, match="sha256"):
        Reference.parse("a@sha512:" + "a" * 128)


def test_without_a_default_a_bare_name_has_no_tag() -> None:
    assert Reference.parse("ubuntu", default_tag=None).tag is None


def test_a_reference_can_be_tagged_and_pinned() -> None:
    reference = Reference.parse("acme/a:1")
    assert reference.tagged("2").familiar() == "acme/a:2"
    assert reference.pinned(Digest(DIGEST)).familiar() == f"acme/a@{DIGEST}"


def test_a_stored_repository_is_shown_short() -> None:
    assert familiar_repository("docker.io/library/ubuntu") == "ubuntu"
    assert familiar_repository("quay.io/a/b") == "quay.io/a/b"
