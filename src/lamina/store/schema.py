"""Every table of a data root's database, in one place.

All tables of all rooms stand here, because one transaction over several of them is what makes an
operation visible. `VERSION` is kept in the database's `user_version`; a root of a newer version is
refused, one of an older version is migrated by `MIGRATIONS`.

Words: an *operation* is work under way, its owner holds a lock that the kernel drops at death;
what it is about to create is *staged* (a row) before it exists; a *lease* keeps a layer from being
collected until its operation ends. *contents* are what drivers hold for layers: several layers
(rows, by chain id) may share one. `contents.boot_id` is the boot under which the content was
written, and NULL once a flush has covered it.
"""

from __future__ import annotations

VERSION = 1

TABLES = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE operations (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    started_ns INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE staged (
    operation TEXT NOT NULL REFERENCES operations(id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    driver TEXT NOT NULL,
    name TEXT NOT NULL,
    scratch INTEGER NOT NULL,
    PRIMARY KEY (operation, kind, driver, name)
) WITHOUT ROWID;

CREATE TABLE contents (
    driver TEXT NOT NULL,
    cache_id TEXT NOT NULL,
    diff_id TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    inodes INTEGER NOT NULL,
    implied TEXT NOT NULL,
    hides_all_below INTEGER NOT NULL DEFAULT 0,
    boot_id TEXT,
    PRIMARY KEY (driver, cache_id)
) WITHOUT ROWID;
CREATE INDEX contents_by_diff_id ON contents(driver, diff_id);
CREATE INDEX contents_uncovered ON contents(boot_id) WHERE boot_id IS NOT NULL;

CREATE TABLE layers (
    driver TEXT NOT NULL,
    chain_id TEXT NOT NULL,
    parent TEXT,
    diff_id TEXT NOT NULL,
    cache_id TEXT NOT NULL,
    depth INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    hides_all_below INTEGER NOT NULL DEFAULT 0,
    kind TEXT NOT NULL DEFAULT 'image' CHECK (kind IN ('image', 'init')),
    created_ns INTEGER NOT NULL,
    PRIMARY KEY (driver, chain_id),
    FOREIGN KEY (driver, parent) REFERENCES layers(driver, chain_id),
    FOREIGN KEY (driver, cache_id) REFERENCES contents(driver, cache_id) ON UPDATE CASCADE
) WITHOUT ROWID;
CREATE INDEX layers_by_parent ON layers(driver, parent);
CREATE INDEX layers_by_content ON layers(driver, cache_id);

CREATE TABLE leases (
    operation TEXT NOT NULL REFERENCES operations(id) ON DELETE CASCADE,
    driver TEXT NOT NULL,
    chain_id TEXT NOT NULL,
    PRIMARY KEY (operation, driver, chain_id),
    FOREIGN KEY (driver, chain_id) REFERENCES layers(driver, chain_id)
) WITHOUT ROWID;
CREATE INDEX leases_by_layer ON leases(driver, chain_id);

CREATE TABLE snapshots (
    driver TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('container', 'init', 'build')),
    parent TEXT,
    created_ns INTEGER NOT NULL,
    PRIMARY KEY (driver, id),
    FOREIGN KEY (driver, parent) REFERENCES layers(driver, chain_id)
) WITHOUT ROWID;
CREATE INDEX snapshots_by_parent ON snapshots(driver, parent);

CREATE TABLE blobs (
    digest TEXT PRIMARY KEY,
    size_bytes INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE images (
    id TEXT PRIMARY KEY,
    chain_id TEXT,
    size_bytes INTEGER NOT NULL,
    created_ns INTEGER NOT NULL,
    added_ns INTEGER NOT NULL,
    parent_image TEXT
) WITHOUT ROWID;
CREATE INDEX images_by_chain ON images(chain_id);

CREATE TABLE tags (
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    tagged_ns INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (repository, tag)
) WITHOUT ROWID;
CREATE INDEX tags_by_image ON tags(image);

CREATE TABLE repo_digests (
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE INDEX repo_digests_by_image ON repo_digests(image);

CREATE TABLE containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    image TEXT,
    snapshot TEXT,
    driver TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    status TEXT NOT NULL,
    pid INTEGER,
    pid_start INTEGER,
    exit_code INTEGER,
    started_ns INTEGER,
    finished_ns INTEGER,
    boot_id TEXT,
    auto_remove INTEGER NOT NULL DEFAULT 0,
    document TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX containers_by_image ON containers(image);

CREATE TABLE execs (
    id TEXT PRIMARY KEY,
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    created_ns INTEGER NOT NULL,
    status TEXT NOT NULL,
    pid INTEGER,
    pid_start INTEGER,
    exit_code INTEGER,
    document TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX execs_by_container ON execs(container);

CREATE TABLE volumes (
    name TEXT PRIMARY KEY,
    driver TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    labels TEXT NOT NULL DEFAULT '{}',
    anonymous INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE volume_uses (
    volume TEXT NOT NULL REFERENCES volumes(name),
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    PRIMARY KEY (volume, container)
) WITHOUT ROWID;
CREATE INDEX volume_uses_by_container ON volume_uses(container);

CREATE TABLE build_cache (
    key TEXT NOT NULL,
    driver TEXT NOT NULL,
    chain_id TEXT,
    value TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    created_ns INTEGER NOT NULL,
    used_ns INTEGER NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (key, driver),
    FOREIGN KEY (driver, chain_id) REFERENCES layers(driver, chain_id)
) WITHOUT ROWID;
CREATE INDEX build_cache_by_layer ON build_cache(driver, chain_id);
"""

MIGRATIONS: dict[int, str] = {}
"""What brings a database of this version to the next one."""
