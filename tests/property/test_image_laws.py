"""Laws of references, configurations and archive names."""

from __future__ import annotations

import io
import tarfile
import tempfile

from hypothesis import given
from hypothesis import strategies as st

from lamina.digests import Digest
from lamina.errors import InvalidInput, LaminaError
from lamina.images.archives.source import TarArchive, clean_name, read_member
from lamina.images.config import HistoryEntry, ImageConfig, RunConfig
from lamina.images.reference import Reference
from lamina.images.times import parse_rfc3339, rfc3339

words = st.from_regex(r"[a-z0-9]+(?:(?:\.|_|__|-{1,3})[a-z0-9]+){0,2}", fullmatch=True)
domains = st.one_of(
    st.just("docker.io"),
    st.just("localhost"),
    st.from_regex(r"[a-z0-9]{1,8}\.[a-zA-Z0-9]{1,8}(?::[0-9]{1,5})?", fullmatch=True),
)
tags = st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
digests = st.none() | st.binary(max_size=4).map(Digest.of)
references = st.builds(
    lambda domain, parts, tag, digest: Reference(
        domain,
        f"library/{parts[0]}" if domain == "docker.io" and len(parts) == 1 else "/".join(parts),
        tag if tag or digest else "latest",
        digest,
    ),
    domains,
    st.lists(words, min_size=1, max_size=3),
    tags,
    digests,
)


@given(references)
def test_what_is_shown_to_people_means_the_same_when_they_type_it(reference: Reference) -> None:
    assert Reference.parse(reference.familiar()) == reference
    assert Reference.parse(str(reference)) == reference


@given(st.text())
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidInput:
        return
    assert Reference.parse(str(reference)) == reference


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
optional_words = st.none() | st.lists(texts, max_size=3).map(tuple)
runs = st.builds(
    RunConfig,
    user=texts,
    env=st.lists(texts, max_size=3).map(tuple),
    entrypoint=optional_words,
    cmd=optional_words,
    volumes=st.sets(texts, max_size=3).map(lambda paths: tuple(sorted(paths))),
    working_dir=texts,
    labels=st.dictionaries(texts, texts, max_size=3),
)


@given(runs, texts, st.lists(st.builds(HistoryEntry, created_by=texts), max_size=3).map(tuple))
def test_a_configuration_is_what_its_encoding_says(
    run: RunConfig, author: str, history: tuple[HistoryEntry, ...]
) -> None:
    config = ImageConfig("amd64", "linux", run=run, author=author, history=history)
    again = ImageConfig.parse(config.encode())
    assert again == config
    assert again.id == config.id
    assert again.encode() == config.encode()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_configuration_or_refused(raw: bytes) -> None:
    try:
        config = ImageConfig.parse(raw)
    except InvalidInput:
        return
    assert config.raw == raw


@given(st.text(alphabet="./ab", max_size=30))
def test_a_cleaned_name_stays_within_the_archive(name: str) -> None:
    cleaned = clean_name(name)
    if cleaned is None:
        return
    assert not cleaned.startswith("/")
    assert not {"..", "."} & set(cleaned.split("/"))
    assert clean_name(cleaned) == cleaned


@given(
    st.dictionaries(
        st.text("abcdefghij", min_size=1, max_size=90), st.binary(max_size=1500), max_size=5
    ),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.sampled_from(["", "./", "d/", "long" * 20 + "/", "very/long/" * 20]),
)
def test_an_archive_holds_what_another_writer_put_there(
    members: dict[str, bytes], format: int, folder: str
) -> None:
    if format == tarfile.USTAR_FORMAT and len(folder) > 100:
        folder = "d/"
    with tempfile.TemporaryFile() as out:
        with tarfile.open(fileobj=out, mode="w", format=format) as tar:
            for name, data in members.items():
                info = tarfile.TarInfo(folder + name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        out.flush()
        archive = TarArchive(out.fileno())
        try:
            found = {name: read_member(archive, folder + name) for name in members}
        finally:
            archive.close()
    assert found == members


@given(st.binary(max_size=3000))
def test_any_bytes_are_an_archive_or_refused(data: bytes) -> None:
    with tempfile.TemporaryFile() as out:
        out.write(data)
        out.flush()
        try:
            TarArchive(out.fileno()).close()
        except LaminaError:
            return


@given(st.integers(0, 253_402_300_799 * 10**9))
def test_a_moment_is_read_as_it_is_written(moment_ns: int) -> None:
    assert parse_rfc3339(rfc3339(moment_ns)) == moment_ns
