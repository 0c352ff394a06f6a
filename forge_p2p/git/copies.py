"""Bare repositories that a node keeps: copies of what names stand for, and mirrors of other servers.

They are ordinary repositories, brought up to date by plain `git fetch` from the first source that has something to say:
Forge, then the server. Nothing in them is ever pruned, because work trees were made from their packs; many small packs
are made few by git's geometric repacking, which leaves the large ones alone.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from forge_p2p.errors import NotFound
from forge_p2p.git.running import Git, GitFailed

_SPACES: Final = ("heads", "tags", "notes")
_REFSPECS: Final = tuple(f"+refs/{space}/*:refs/{space}/*" for space in _SPACES)

_SETTINGS: Final = (
    ("gc.auto", "0"),
    ("fetch.unpackLimit", "1"),
    ("uploadpack.allowAnySHA1InWant", "true"),
    ("pack.writeReverseIndex", "true"),
)
"""No pruning; packs rather than loose objects; work trees may ask for any commit."""

_MANY_PACKS: Final = 24
_HASH_SIZES: Final = (40, 64)


def copy_path(home: Path, kind: str, name: str) -> bytes:
    """Where a node keeps its copy of a repository, which may be called anything."""
    return os.fsencode(home / "git" / kind / f"{quote(name, safe='')}.git")


@dataclass(slots=True)
class Copy:
    """One bare repository at `path`, which need not exist yet. `sources`: URLs, the preferred first. `failures`: what
    sources said that gave nothing, since the last time. `source`: which one it came from at last."""

    path: bytes
    sources: Sequence[str]
    environment: Mapping[str, str]
    failures: list[str] = field(default_factory=list)
    source: str = ""

    @property
    def git(self) -> Git:
        return Git(self.path, self.environment)

    def refresh(self) -> None:
        """Brings it up to date. Raises `NotFound`, ending with what each source said."""
        self.failures.clear()
        with self._locked():
            self._first(self.sources)

    def commit(self, revision: str) -> str:
        """The commit that a revision names, in hexadecimal: asked of one source after the other, and of none if it is a
        commit's whole name and here. Raises `NotFound`."""
        whole = len(revision) in _HASH_SIZES and not revision.strip("0123456789abcdef")
        if whole and (found := self._resolve(revision)):
            return found
        self.failures.clear()
        with self._locked():
            for number in range(len(self.sources)):
                try:
                    source = self._first(self.sources[number:])
                except NotFound:
                    break
                if not (found := self._resolve(revision)) and whole:
                    self.git.attempt("fetch", "--quiet", "--no-write-fetch-head", "--", source, revision)
                    found = self._resolve(revision)
                if found:
                    return found
                self.failures.append(f"{source}: no {revision}")
        raise NotFound(f"{revision} is nowhere: {'; '.join(self.failures)}", hint="git ls-remote says what there is")

    def _resolve(self, revision: str) -> str:
        if not os.path.exists(self.path):
            return ""
        words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        return self.git.attempt(*words).stdout.decode().strip()

    def _first(self, sources: Sequence[str]) -> str:
        for source in sources:
            try:
                if os.path.exists(self.path):
                    words = ("--quiet", "--prune", "--no-write-fetch-head", "--no-auto-gc", "--", source)
                    self.git.run("fetch", *words, *_REFSPECS)
                    self._tidy()
                else:
                    self._clone(source)
            except GitFailed as error:
                self.failures.append(f"{source}: {error.message}")
            else:
                self.source = source
                return source
        raise NotFound(
            f"no source has the repository: {'; '.join(self.failures)}", hint="is a node up, is the URL right?"
        )

    def _clone(self, source: str) -> None:
        part = self.path + b".part"
        shutil.rmtree(part, ignore_errors=True)
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        settings = [word for setting in _SETTINGS for word in ("--config", "=".join(setting))]
        Git(part, self.environment).run("clone", "--quiet", "--bare", *settings, "--", source, part)
        if not Git(part, self.environment).refs(()):  # of an object format that nobody has decided yet
            raise GitFailed("there is nothing in it yet")
        os.rename(part, self.path)

    def follow_head(self) -> None:
        """Makes HEAD what it is at the source that it came from, where that says so."""
        done = self.git.attempt("ls-remote", "--symref", "--", self.source, "HEAD")
        for line in done.stdout.splitlines():
            if line.startswith(b"ref: refs/heads/") and line.endswith(b"\tHEAD"):
                self.git.run("symbolic-ref", "HEAD", line.removeprefix(b"ref: ").removesuffix(b"\tHEAD"))

    def _tidy(self) -> None:
        packs = [name for name in os.listdir(os.path.join(self.path, b"objects", b"pack")) if name.endswith(b".pack")]
        if len(packs) > _MANY_PACKS:
            self.git.attempt("repack", "--geometric=2", "-d", "-q")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time; the others wait, and find the work done."""
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        descriptor = os.open(self.path + b".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
