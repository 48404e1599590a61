"""Image configurations: kept verbatim, read strictly, written canonically."""

from __future__ import annotations

import hashlib
import json

import pytest

from lamina.digests import DiffID
from lamina.errors import InvalidInput
from lamina.images.config import SIZE_LIMIT_BYTES, HistoryEntry, ImageConfig, RunConfig

DIFF_ID = DiffID("sha256:" + "1" * 64)


def test_the_id_is_the_digest_of_the_bytes_as_they_came() -> None:
    raw = b'{ "os":"linux",\n "architecture":"amd64", "rootfs":{"type":"layers"}, "x":[1.50] }'
    config = ImageConfig.parse(raw)
    assert config.id == "sha256:" + hashlib.sha256(raw).hexdigest()
    assert config.raw == raw


def test_what_is_encoded_is_read_back_equal() -> None:
    config = ImageConfig(
        architecture="arm64",
        os="linux",
        variant="v8",
        diff_ids=(DIFF_ID,),
        run=RunConfig(
            user="1:2",
            exposed_ports=("80/tcp",),
            env=("A=b", "C="),
            entrypoint=(),
            cmd=("sh", "-c", "ü"),
            volumes=("/v",),
            working_dir="/w",
            labels={"b": "2", "a": "1"},
            stop_signal="SIGINT",
            on_build=("RUN x",),
            shell=("/bin/bash", "-c"),
        ),
        history=(HistoryEntry(created="2020-01-01T00:00:00Z", created_by="x", empty_layer=True),),
        created="2020-01-01T00:00:00.5Z",
        author="me",
    )
    raw = config.encode()
    assert ImageConfig.parse(raw) == config
    assert ImageConfig.parse(raw).encode() == raw
    assert list(json.loads(raw)) == sorted(json.loads(raw))


def test_an_empty_entrypoint_is_not_the_same_as_none() -> None:
    assert RunConfig.from_json({"Entrypoint": []}).entrypoint == ()
    assert RunConfig.from_json({"Entrypoint": None}).entrypoint is None
    assert "Entrypoint" in RunConfig(entrypoint=()).to_json()
    assert "Entrypoint" not in RunConfig().to_json()


def test_the_chain_id_is_that_of_the_image_specification() -> None:
    other = DiffID("sha256:" + "2" * 64)
    config = ImageConfig(architecture="amd64", os="linux", diff_ids=(DIFF_ID, other))
    expected = hashlib.sha256(f"{DIFF_ID} {other}".encode()).hexdigest()
    assert config.chain == f"sha256:{expected}"
    assert ImageConfig(architecture="amd64", os="linux").chain is None


@pytest.mark.parametrize(
    "document",
    [
        "[]", "1", '"x"', "{", "", "\xff", "null x", '{"os": NaN}', '{"os": 1}', '{"os": true}',
        '{"rootfs": []}', '{"rootfs": {"type": "squash"}}', '{"rootfs": {"diff_ids": "x"}}',
        '{"rootfs": {"diff_ids": ["sha256:xyz"]}}', '{"rootfs": {"diff_ids": [null]}}',
        '{"config": "x"}', '{"config": {"Env": "A=b"}}', '{"config": {"Env": [1]}}',
        '{"config": {"Labels": {"a": 1}}}', '{"config": {"Labels": ["a"]}}',
        '{"config": {"Healthcheck": {"Interval": "1s"}}}', '{"config": {"StopTimeout": true}}',
        '{"history": {}}', '{"history": [1]}', '{"history": [{"empty_layer": "yes"}]}',
        '{"created": "yesterday"}', '{"history": [{"created": "2020-13-01T00:00:00Z"}]}',
        '{"author": "\\ud800"}', "[" * 100_000,
    ],
)  # fmt: skip
def test_a_configuration_that_breaks_its_specification_is_refused(document: str) -> None:
    with pytest.raises(InvalidInput, match="invalid"):
        ImageConfig.parse(document.encode("latin-1"))


def test_null_counts_as_absent() -> None:
    config = ImageConfig.parse(
        b'{"config": null, "history": null, "rootfs": null, "author": null, "os": "linux"}'
    )
    assert (config.run, config.history, config.diff_ids) == (RunConfig(), (), ())


def test_a_configuration_larger_than_the_limit_is_refused_unread() -> None:
    with pytest.raises(InvalidInput, match="more than the limit"):
        ImageConfig.parse(b" " * (SIZE_LIMIT_BYTES + 1))
