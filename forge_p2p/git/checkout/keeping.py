"""What is remembered of a checkout: which commit is in the directory, and git's index of it.

With a `.git` it is all in there, as git has it. Without one the directory holds the files and nothing else; index and
record are in the node's folder, by the directory's path, and count only as long as it is the same directory.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import sleep
from typing import Final

from forge_p2p.errors import UsageError
from forge_p2p.git.running import Git, find_repository

_PATIENCE: Final = 100
_PAUSE: Final = 0.1
"""Tries, and seconds between them."""

_UNFINISHED: Final = b"forge-unfinished"
SETTING: Final = "forge.repository"
"""In git's configuration of a `.git`: which repository it was checked out from."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A work tree: its directory, the git directory that serves it, its index, and where the marker of an unfinished
    checkout is. `name`: which repository it is of."""

    path: bytes
    name: str
    git_dir: bytes
    index: bytes
    marker: bytes

    def git(self, environment: Mapping[str, str]) -> Git:
        """git on this work tree."""
        places = {"GIT_WORK_TREE": os.fsdecode(self.path), "GIT_INDEX_FILE": os.fsdecode(self.index)}
        return Git(self.git_dir, {**environment, **places})

    @property
    def own(self) -> bool:
        """Whether it has a `.git` of its own."""
        return self.git_dir == own_git_dir(self.path)

    @property
    def unfinished(self) -> bool:
        """Whether a checkout began in this directory and did not end. A marker outside may be of one before it."""
        try:
            with open(self.marker, "rb") as file:
                return self.own or file.read() == self._identity()
        except FileNotFoundError:
            return False

    def _identity(self) -> bytes:
        there = os.stat(self.path)
        return b"%d %d" % (there.st_dev, there.st_ino)

    def commit(self, environment: Mapping[str, str]) -> str:
        """What is checked out; empty if nothing is. Raises `UsageError` where something else is in the directory."""
        return self._own_commit(environment) if self.own else self._recorded()

    def _own_commit(self, environment: Mapping[str, str]) -> str:
        if not os.path.exists(self.git_dir):
            return ""
        git = find_repository(self.path, environment)  # which refuses what is another user's (CVE-2022-24765)
        if git.git_dir != self.git_dir or git.settings.get(SETTING, "") != self.name:
            raise UsageError(
                f"{os.fsdecode(self.path)} is a repository that forge did not check out from {self.name}",
                hint="choose another directory, or use git there",
            )
        done = git.attempt("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        return done.stdout.decode().strip() if os.path.exists(self.index) else ""

    def _recorded(self) -> str:
        try:
            with open(self._record, "rb") as file:
                record = json.load(file)
            there = os.stat(self.path)
        except (OSError, ValueError):
            return ""
        same = record.get("directory") == [there.st_dev, there.st_ino] and record.get("name") == self.name
        return str(record["commit"]) if same and os.path.exists(self.index) else ""

    @property
    def _record(self) -> bytes:
        return self.index + b".json"

    def remember(self, commit: str, environment: Mapping[str, str]) -> None:
        """It is this commit now. Raises `OSError`, `GitFailed`."""
        if self.own:
            words = ("--no-deref", "-m", "forge git checkout", "HEAD", commit)
            Git(self.git_dir, environment).run("update-ref", *words)
        else:
            there = os.stat(self.path)
            record = {"directory": [there.st_dev, there.st_ino], "name": self.name, "commit": commit}
            replace_file(self._record, json.dumps(record).encode())
        with suppress(FileNotFoundError):
            os.unlink(self.marker)

    def begin(self) -> None:
        """Something is about to change. Takes away what a killed git has left. Raises `OSError`."""
        if self.unfinished:
            with suppress(FileNotFoundError):
                os.unlink(self.index + b".lock")
        else:
            replace_file(self.marker, self._identity())

    def forget(self) -> None:
        """Nothing is known of the directory any more. Raises `OSError`."""
        for path in (self.index, self._record, self.index + b".lock"):
            with suppress(FileNotFoundError):
                os.unlink(path)


def own_git_dir(path: bytes) -> bytes:
    return os.path.join(path, b".git")


def work_tree(path: bytes, name: str, cache: bytes, state: bytes, *, own: bool) -> Tree:
    """The work tree at the absolute `path`. `cache`: the bare repository; `state`: the folder of records."""
    if own:
        git_dir = own_git_dir(path)
        return Tree(path, name, git_dir, os.path.join(git_dir, b"index"), os.path.join(git_dir, _UNFINISHED))
    key = os.path.join(state, hashlib.blake2b(path, digest_size=16).hexdigest().encode())
    os.makedirs(state, mode=0o700, exist_ok=True)
    return Tree(path, name, cache, key + b".index", key + b".unfinished")


@contextmanager
def locked(path: bytes) -> Iterator[int]:
    """A descriptor of the directory, which nobody else checks out meanwhile. Raises `UsageError`, `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor, path)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: bytes) -> None:
    """Waits a little: what was killed holds its locks until the system has done away with its children."""
    for _ in range(_PATIENCE):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sleep(_PAUSE)
        else:
            return
    raise UsageError(
        f"another checkout into {os.fsdecode(path)} is under way", hint="wait for it, or choose another directory"
    )


def replace_file(path: bytes, content: bytes) -> None:
    """The new content or the old, whatever happens. Not forced to the disk. Raises `OSError`."""
    temporary = path + b".%d.tmp" % os.getpid()
    with open(temporary, "wb") as file:
        file.write(content)
    os.replace(temporary, path)
