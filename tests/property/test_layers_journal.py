"""The journal's law: whatever a reader told it, the same bytes come back, or Corrupt does."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.digests import DiffID, Digest
from lamina.errors import Corrupt
from lamina.layers.journal import JournalWriter, write_tar

RAW = st.binary(max_size=3000)
FILE = st.tuples(
    st.sampled_from([b"a", b"folder/b", b"folder/\xff odd\nname"]),
    st.one_of(st.binary(min_size=1, max_size=3000), st.integers(60_000, 70_000).map(bytes)),
)
EVENTS = st.lists(st.one_of(RAW, FILE), max_size=25)


def _recorded(folder: Path, events: list[bytes | tuple[bytes, bytes]]) -> bytes:
    """Do as a reader and an extractor do; the bytes of the archive."""
    root = folder / "root"
    (root / "folder").mkdir(parents=True)
    whole = []
    with JournalWriter(folder / "x.journal") as journal:
        for event in events:
            if isinstance(event, bytes):
                journal.raw(event)
                whole.append(event)
                continue
            path, content = event
            place = Path(os.fsdecode(os.fsencode(root) + b"/" + path))
            if place.exists():
                with place.open("rb") as old:
                    journal.replaced(path, old.fileno())
            place.write_bytes(content)
            journal.payload(path, len(content), crc32(content))
            whole.append(content)
        journal.finish()
    return b"".join(whole)


@settings(deadline=None)
@given(EVENTS)
def test_what_was_told_comes_back(events: list[bytes | tuple[bytes, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = _recorded(folder, events)
        out = io.BytesIO()
        write_tar(folder / "x.journal", folder / "root", DiffID(Digest.of(whole)), out)
        assert out.getvalue() == whole
        assert sorted(os.listdir(folder)) == ["root", "x.journal"]


@settings(deadline=None)
@given(EVENTS, st.data())
def test_a_flipped_bit_gives_the_same_bytes_or_corrupt(
    events: list[bytes | tuple[bytes, bytes]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = _recorded(folder, events)
        journal = folder / "x.journal"
        damaged = bytearray(journal.read_bytes())
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        journal.write_bytes(damaged)
        out = io.BytesIO()
        try:
            write_tar(journal, folder / "root", DiffID(Digest.of(whole)), out)
        except Corrupt:
            return
        assert out.getvalue() == whole


@settings(deadline=None)
@given(EVENTS.filter(lambda events: any(isinstance(event, tuple) for event in events)))
def test_a_file_that_has_changed_is_named(events: list[bytes | tuple[bytes, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = _recorded(folder, events)
        path = next(event[0] for event in reversed(events) if isinstance(event, tuple))
        place = os.fsencode(folder / "root") + b"/" + path
        with open(place, "ab") as file:
            file.write(b"!")
        with pytest.raises(Corrupt) as caught:
            write_tar(folder / "x.journal", folder / "root", DiffID(Digest.of(whole)), io.BytesIO())
        assert "content of" in str(caught.value)
        assert "\n" not in str(caught.value)
