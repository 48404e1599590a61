"""Time Lamina against the engines installed here.

    .venv/bin/python benchmarks/bench.py [--rounds N] [NAME …]

Every figure is of whole processes, peers and Lamina taking turns in one run on one fresh ext4; what
counts is the ratio of the medians. Names: run, import, load, startup (default: all).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from peers import Peer, installed, scratch_ext4

OCI = "application/vnd.oci.image"

Action = Callable[[Peer], None]


def alternating(
    peers: Iterable[Peer], rounds: int, action: Action, undo: Action = lambda peer: None
) -> dict[str, list[float]]:
    """Seconds of `action` per peer, in turns; one uncounted round first; `undo` is not timed."""
    peers = list(peers)
    seconds: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for turn in range(rounds + 1):
        for peer in peers:
            os.sync()
            begin = time.perf_counter()
            action(peer)
            took = time.perf_counter() - begin
            undo(peer)
            if turn:
                seconds[peer.name].append(took)
    return seconds


def report(title: str, seconds: dict[str, list[float]]) -> None:
    """A table: median, smallest and largest, and Lamina's median over the peer's."""
    print(f"\n{title}")
    print(f"{'':10}{'median':>10}{'min':>10}{'max':>10}  lamina takes")
    own = statistics.median(seconds["lamina"])
    for name, values in seconds.items():
        median = statistics.median(values)
        ratio = "" if name == "lamina" else f"{own / median:.2f} of {name}'s time"
        cells = "".join(f"{value * 1000:>7.0f} ms" for value in (median, min(values), max(values)))
        print(f"{name:10}{cells}  {ratio}", flush=True)


def busybox_tar(folder: Path) -> Path:
    """A root filesystem of one static busybox and its links."""
    root = folder / "busybox"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for applet in ("sh", "true", "sleep"):
        (root / "bin" / applet).symlink_to("busybox")
    subprocess.run(["tar", "-cf", folder / "busybox.tar", "-C", root, "."], check=True)
    return folder / "busybox.tar"


def debian_tar(folder: Path) -> Path:
    """A Debian root filesystem from the package sources that this machine is set up for."""
    tar = folder / "debian.tar"
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=important", "bookworm", str(tar)], check=True
    )
    return tar


# Packages with many files, and with large ones, a layer each.
LAYERS = (
    ("golang-1.19-src", "unicode-cldr-core", "python3-scipy"),
    ("openjdk-17-jre-headless", "libreoffice-common", "r-base-core"),
    ("ocaml", "git", "vim-runtime", "perl-modules-5.36", "tzdata"),
    ("gcc-12", "cpp-12", "libllvm14", "texlive-base"),
)


def gzip_archive(folder: Path) -> Path:
    """An OCI archive (with Docker's manifest.json) of an image of several large gzip layers."""
    packages, root = folder / "packages", folder / "archive"
    blobs = root / "blobs" / "sha256"
    packages.mkdir()
    blobs.mkdir(parents=True)

    def blob(data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    diff_ids, layers = [], []
    for number, names in enumerate(LAYERS):
        tree = folder / f"layer{number}"
        subprocess.run(["apt-get", "download", "-qq", *names], cwd=packages, check=True)
        for package in packages.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, tree], check=True)
            package.unlink()
        tar = folder / f"layer{number}.tar"
        subprocess.run(["tar", "--sort=name", "-cf", tar, "-C", tree, "."], check=True)
        diff_ids.append("sha256:" + hashlib.sha256(tar.read_bytes()).hexdigest())
        packed = subprocess.run(["gzip", "-6nc", tar], stdout=subprocess.PIPE, check=True).stdout
        layers.append({"mediaType": f"{OCI}.layer.v1.tar+gzip", **blob(packed)})
        shutil.rmtree(tree)
        tar.unlink()
    config = {"architecture": "amd64", "os": "linux", "config": {}}
    config["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
    stored = {"mediaType": f"{OCI}.config.v1+json", **blob(json.dumps(config).encode())}
    manifest = {"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json"}
    manifest |= {"config": stored, "layers": layers}
    entry = {"mediaType": f"{OCI}.manifest.v1+json", **blob(json.dumps(manifest).encode())}
    entry["annotations"] = {"io.containerd.image.name": "docker.io/library/layered:latest"}
    paths = [f"blobs/sha256/{str(each['digest'])[7:]}" for each in (stored, *layers)]
    docker = [{"Config": paths[0], "RepoTags": ["layered:latest"], "Layers": paths[1:]}]
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (root / "manifest.json").write_text(json.dumps(docker))
    subprocess.run(["tar", "-cf", folder / "layered.tar", "-C", root, "."], check=True)
    shutil.rmtree(root)
    return folder / "layered.tar"


def bench_run(peers: list[Peer], folder: Path, rounds: int) -> None:
    tar = busybox_tar(folder)
    for peer in peers:
        peer.call("import", str(tar), "bench")
    # podman raises hard limits, which not every machine allows, unless it is told lower ones.
    limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]

    def run(peer: Peer) -> None:
        extra = limits if peer.name == "podman" else ()
        peer.call("run", "--rm", "--network", "host", *extra, "bench", "true")

    report("run --rm --network host IMAGE true", alternating(peers, rounds, run))


def bench_startup(peers: list[Peer], folder: Path, rounds: int) -> None:
    for arguments in (("--help",), ("ps",)):
        timed = alternating(peers, rounds, lambda peer, words=arguments: ignore(peer.call(*words)))
        report(" ".join(arguments), timed)


def bench_import(peers: list[Peer], folder: Path, rounds: int) -> None:
    """docker load, podman load, lamina load of one archive, and lamina import of the same tar."""
    tar = debian_tar(folder)
    own = peers[0]
    own.call("import", str(tar), "debian")
    archive = folder / "debian-archive.tar"
    own.call("save", "-o", str(archive), "debian")
    own.call("rmi", "debian")
    size = tar.stat().st_size / 1e6

    def load(peer: Peer) -> None:
        peer.call("load", "-i", str(archive))

    def remove(peer: Peer) -> None:
        peer.call("rmi", "debian" if peer.name != "podman" else "docker.io/library/debian")

    report(f"load of a Debian root ({size:.0f} MB)", alternating(peers, rounds, load, remove))

    def bring(peer: Peer) -> None:
        if peer is own:
            peer.call("import", str(tar), "debian")
        else:
            load(peer)

    timed = alternating(peers, rounds, bring, remove)
    report(f"lamina import of the same root against the others' load ({size:.0f} MB)", timed)


def bench_load(peers: list[Peer], folder: Path, rounds: int) -> None:
    archive = gzip_archive(folder)
    size = archive.stat().st_size / 1e6

    def load(peer: Peer) -> None:
        peer.call("load", "-i", str(archive))

    def remove(peer: Peer) -> None:
        peer.call("rmi", "layered" if peer.name != "podman" else "docker.io/library/layered")

    title = f"load of an image of {len(LAYERS)} gzip layers ({size:.0f} MB)"
    report(title, alternating(peers, rounds, load, remove))


def ignore(_: object) -> None:
    """Drop a value."""


BENCHES = {"startup": bench_startup, "run": bench_run, "import": bench_import, "load": bench_load}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    unknown = set(asked.names) - set(BENCHES)
    if unknown:
        sys.exit(f"unknown benchmark {', '.join(sorted(unknown))}: want {', '.join(BENCHES)}")
    with scratch_ext4() as disk, installed(disk) as peers:
        for peer in peers:
            print(f"{peer.name}: {peer.version}")
        for name, bench in BENCHES.items():
            if not asked.names or name in asked.names:
                folder = disk / f"bench-{name}"
                folder.mkdir()
                bench(peers, folder, asked.rounds)


if __name__ == "__main__":
    main()
