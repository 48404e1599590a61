"""What a COPY or ADD copies: the members its sources name, and the digest the cache keys on.

The digest covers what ends up in the layer but times: names, kinds, modes, owners, links, contents,
extended attributes. So a file that was only touched, or checked out anew, is found in the cache.
"""

from __future__ import annotations

import json
import posixpath
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from lamina.build.steps import CopyStep
from lamina.build.tree import Member, Tree, is_pattern
from lamina.errors import InvalidInput, NotFound


@dataclass(frozen=True)
class Source:
    """One thing to copy, and all that is in it; `name` is what it is called in a folder."""

    name: str
    members: tuple[Member, ...]

    @property
    def top(self) -> Member:
        """The thing itself."""
        return self.members[0]


@dataclass(frozen=True)
class Gathered:
    """The sources of one step, and the tree that they are in."""

    tree: Tree
    sources: tuple[Source, ...]
    digest: str


@dataclass
class Gatherer:
    """Finds and digests the sources of steps in one tree; each file is read once."""

    tree: Tree
    keeps_owner: bool
    """Whether the tree's owners count: in a stage's filesystem; in a context they do not."""
    label: str
    """What names the tree in an error."""
    told: Callable[[int], None] = lambda size: None
    _digests: dict[str, str] = field(default_factory=dict)

    def gather(self, step: CopyStep) -> Gathered:
        """The sources of this step; NotFound, in BuildKit's words, where one is missing."""
        sources: list[Source] = []
        for written in step.sources:
            found = self.tree.glob(written)
            if not found and not is_pattern(written):  # a pattern may match nothing
                raise self._missing(written)
            for path in found:
                member = self.tree.find(path)
                if member is None:
                    raise self._missing(path)
                name = posixpath.basename(posixpath.normpath(path))
                sources.append(Source(name, tuple(self.tree.walk(member))))
        if len(sources) + len(step.inline) > 1 and not step.destination_is_folder:
            raise InvalidInput(
                f"When using {step.keyword} with more than one source file, the destination must "
                "be a directory and end with a /"
            )
        return Gathered(self.tree, tuple(sources), self._digest(sources))

    def _missing(self, path: str) -> NotFound:
        return NotFound(
            f"failed to compute cache key: failed to calculate checksum of ref {self.label}: "
            f'"{posixpath.normpath("/" + path.lstrip("/"))}": not found'
        )

    def _digest(self, sources: list[Source]) -> str:
        whole = sha256()
        for source in sources:
            # A folder's own name does not matter: its content is copied.
            name = "" if source.top.is_folder else source.name
            for member in source.members:
                facts = [name, *self._facts(member)]
                whole.update(json.dumps(facts).encode() + b"\n")
        return whole.hexdigest()

    def _facts(self, member: Member) -> list[object]:
        status = member.status
        facts: list[object] = [member.below, stat.S_IFMT(status.st_mode)]
        if member.path == "" and not self.keeps_owner:
            return facts  # the context's own folder says nothing
        if not stat.S_ISLNK(status.st_mode):
            facts.append(stat.S_IMODE(status.st_mode))
        if self.keeps_owner:
            facts += [status.st_uid, status.st_gid]
        if member.is_file:
            facts.append(self._content(member.path))
            attributes = self.tree.attributes(member.path)
            facts.append({name: value.hex() for name, value in attributes.items()})
        elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            facts.append(status.st_rdev)
        else:
            facts.append(member.link)
        return facts

    def _content(self, path: str) -> str:
        if path not in self._digests:
            self._digests[path] = self.tree.digest(path, self.told)
        return self._digests[path]
