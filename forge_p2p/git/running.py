"""Running git on one repository, and where its things are.

What git is asked is asked by plumbing commands, with names on standard input wherever it takes them: a ref or a path
may be called anything.
"""

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Final

from forge_p2p.errors import ForgeError, NotFound, UsageError
from forge_p2p.git.batch import Batch
from forge_p2p.git.layout import common_folder
from forge_p2p.git.packs.formats import OBJECT_FORMATS
from forge_p2p.git.settings import SETTINGS, settings_in
from forge_p2p.git.urls import SCHEMES, named

_OBJECT_FORMAT = "extensions.objectformat"

_OBJECTS = ("cat-file", "--batch-check=%(objectname) %(objecttype)")


class GitFailed(ForgeError):
    """A git command has failed; the message ends with what it said."""


@contextmanager
def git_there() -> Iterator[None]:
    """While git is started. Raises `GitFailed` where there is none."""
    try:
        yield
    except FileNotFoundError as error:
        raise GitFailed("git is not installed, or not on the PATH", hint="apt-get install git") from error


@dataclass(frozen=True, slots=True)
class Places:
    """Absolute paths. `common`: the folder that all worktrees share; `packs`: where its own packs are."""

    common: bytes
    packs: bytes
    object_format: str
    shallow: bool

    @property
    def state(self) -> bytes:
        """What Forge keeps in the repository."""
        return os.path.join(self.common, b"forge")

    @property
    def objects(self) -> bytes:
        """Where objects are, and what git knows about them."""
        return os.path.dirname(self.packs)

    @property
    def oid_size(self) -> int:
        return OBJECT_FORMATS[self.object_format].size


_ALTERNATES: Final = "GIT_ALTERNATE_OBJECT_DIRECTORIES"


class Git:
    """git on the repository `git_dir`; `environment` is what its commands run with."""

    def __init__(self, git_dir: bytes, environment: Mapping[str, str]) -> None:
        self.git_dir = os.path.abspath(git_dir)
        self._environment = {
            **environment,
            "GIT_DIR": os.fsdecode(self.git_dir),
            "LC_ALL": "C",
            "GIT_NO_REPLACE_OBJECTS": "1",
        }
        self._batch: Batch | None = None
        self._begun: dict[tuple[str | bytes, ...], subprocess.Popen[bytes]] = {}

    @contextmanager
    def answering(self) -> Iterator[None]:
        """One process answers about objects while this lasts."""
        pipe, nobody = subprocess.PIPE, subprocess.DEVNULL
        self._batch = Batch(self.start(*_OBJECTS, stdin=pipe, stdout=pipe, stderr=nobody))
        try:
            yield
        finally:
            self._batch.close()
            self._batch = None

    def ask_settings_again(self) -> None:
        """For a clone: git has written to the configuration since it was asked for."""
        self.__dict__.pop("settings", None)
        if (begun := self._begun.pop(SETTINGS, None)) is not None:
            begun.communicate()
        self.begin(*SETTINGS)

    def begin(self, *words: str | bytes) -> None:
        """A command whose outcome `run` or `attempt` is going to be asked for, by the same words."""
        pipe = subprocess.PIPE
        self._begun[words] = self.start(*words, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)

    @cached_property
    def places(self) -> Places:
        """Where things are. Raises `UsageError` for an object format that is not known."""
        object_format = self.settings.get(_OBJECT_FORMAT, "sha1")
        if object_format not in OBJECT_FORMATS:
            raise UsageError(f"object format {object_format!r} is not known here")
        common = self._environment.get("GIT_COMMON_DIR") or common_folder(self.git_dir)
        common = os.path.realpath(os.fsencode(common))
        objects = self._environment.get("GIT_OBJECT_DIRECTORY") or os.path.join(common, b"objects")
        packs = os.path.join(os.path.realpath(os.fsencode(objects)), b"pack")
        return Places(common, packs, object_format, os.path.exists(os.path.join(common, b"shallow")))

    def run(self, *words: str | bytes, feed: bytes | Iterable[bytes] = b"") -> bytes:
        """What a command prints. Raises `GitFailed`."""
        done = self.attempt(*words, feed=feed)
        if done.returncode:
            raise GitFailed(f"git {os.fsdecode(words[0])} failed: {said(done.stderr, done.returncode)}")
        return done.stdout

    def attempt(self, *words: str | bytes, feed: bytes | Iterable[bytes] = b"") -> "subprocess.CompletedProcess[bytes]":
        """A command, to its end, whatever that is."""
        begun = self._begun.pop(words, None)
        if begun is not None:
            output, stderr = begun.communicate()
            return subprocess.CompletedProcess(begun.args, begun.returncode, output, stderr)
        data = feed if isinstance(feed, bytes) else b"".join(feed)
        with git_there():
            return subprocess.run(
                self._words(words), input=data, env=self._environment, capture_output=True, check=False
            )

    def beside(self, objects: bytes) -> "Git":
        """The same repository, for commands that write to the folder `objects` and read its own objects as well."""
        escaped = self.places.objects.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
        others = self._environment.get(_ALTERNATES, "")
        return self._over(objects, f'"{os.fsdecode(escaped)}"{others and os.pathsep}{others}')

    def without_objects(self, objects: bytes) -> "Git":
        """The same repository, for commands that find objects in the folder `objects` only."""
        return self._over(objects, "")

    def _over(self, objects: bytes, alternates: str) -> "Git":
        where = {"GIT_OBJECT_DIRECTORY": os.fsdecode(objects), _ALTERNATES: alternates}
        return Git(self.git_dir, {**self._environment, **where})

    def complaint(self, *words: str | bytes) -> str:
        """What a command that checks something has found; empty for nothing."""
        done = self.attempt(*words)
        return said(done.stderr, done.returncode) if done.returncode else ""

    def start(
        self, *words: str | bytes, stdin: int | IO[bytes] | None, stdout: int | None, stderr: int | None = None
    ) -> "subprocess.Popen[bytes]":
        """A command under way."""
        with git_there():
            return subprocess.Popen(
                self._words(words), env=self._environment, stdin=stdin, stdout=stdout, stderr=stderr
            )

    def _words(self, words: Iterable[str | bytes]) -> list[bytes]:
        return [b"git", *(os.fsencode(word) for word in words)]

    def forge_remotes(self) -> list[str]:
        """Names and tickets that the repository's remotes are for."""
        said = self.attempt("config", "--null", "--get-regexp", r"^remote\..*\.url$").stdout
        urls = [each.partition(b"\n")[2].decode(errors="replace") for each in said.split(b"\0")]
        return list(dict.fromkeys(named(url) for url in urls if url.startswith(SCHEMES)))

    @cached_property
    def settings(self) -> Mapping[str, str]:
        """What git's configuration says, of `SETTINGS`, by names such as `forge.trust`."""
        return settings_in(self.attempt(*SETTINGS).stdout)

    def present(self, oids: Iterable[bytes]) -> set[bytes]:
        """Those of these objects that are here, themselves."""
        wanted = list(dict.fromkeys(oids))
        if not wanted:
            return set()
        lines = self._asked([oid.hex().encode() for oid in wanted])
        return {oid for oid, line in zip(wanted, lines, strict=True) if not line.endswith(b"missing")}

    def kinds(self, oids: Iterable[bytes]) -> list[bytes]:
        """What each of these objects is: `commit`, `tree`, `blob`, `tag`; `missing` if it is not here."""
        return [line.split()[-1] for line in self._asked([oid.hex().encode() for oid in oids])]

    def peeled(self, oids: Iterable[bytes]) -> list[bytes]:
        """What each of these points to in the end: itself, if it is no tag."""
        lines = self._asked([oid.hex().encode() + b"^{}" for oid in oids])
        return [bytes.fromhex(line.split()[0].decode()) for line in lines]

    def _asked(self, names: Sequence[bytes]) -> list[bytes]:
        """Name and type of what each of these names, or the name and what is wrong with it. Raises `GitFailed`."""
        if not names:
            return []
        if self._batch is None:
            return self.run(*_OBJECTS, feed=(name + b"\n" for name in names)).splitlines()
        try:
            return self._batch.ask(names)
        except EOFError:
            raise GitFailed("git cat-file failed", hint="git fsck says whether the repository is whole") from None

    def head(self) -> bytes:
        """The ref that HEAD points to; empty if it points to none."""
        return self.attempt("symbolic-ref", "--quiet", "HEAD").stdout.strip()

    def refs(self, spaces: Sequence[str]) -> dict[bytes, bytes]:
        """The refs below `spaces`, such as `refs/heads`, in order. Symbolic ones are what they point to."""
        lines = self.run("for-each-ref", "--format=%(objectname) %(refname)", *spaces).splitlines()
        return {name: bytes.fromhex(oid.decode()) for oid, _, name in (line.partition(b" ") for line in lines)}

    def resolve(self, names: Sequence[bytes]) -> list[bytes]:
        """The objects that revisions name. Raises `NotFound`."""
        lines = self._asked(names)
        for name, line in zip(names, lines, strict=True):
            if line.endswith((b" missing", b" ambiguous")):
                raise NotFound(f"{name.decode(errors='replace')} names nothing here")
        return [bytes.fromhex(line.split()[0].decode()) for line in lines]

    def is_connected(self, oids: Iterable[bytes]) -> bool:
        """Whether all that these objects need is here."""
        words = ("rev-list", "--objects", "--stdin", "--quiet", "--not", "--all")
        return self.attempt(*words, feed=hex_lines(oids)).returncode == 0

    def contains(self, new: bytes, old: bytes) -> bool:
        """Whether the commit `new` has the commit `old` behind it; false for what are no commits."""
        return self.attempt("merge-base", "--is-ancestor", old.hex(), new.hex()).returncode == 0


def hex_lines(oids: Iterable[bytes]) -> Iterable[bytes]:
    """One line for each object, as git reads them."""
    return (oid.hex().encode() + b"\n" for oid in oids)


def said(stderr: bytes, code: int) -> str:
    """The last line that a command has said before it ended with `code`."""
    lines = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {code}"


def find_repository(path: bytes, environment: Mapping[str, str]) -> Git:
    """The repository at or above `path`, as git finds it. Raises `UsageError`."""
    with git_there():
        done = subprocess.run(
            [b"git", b"-C", path, b"rev-parse", b"--path-format=absolute", b"--git-dir"],
            env={**environment, "LC_ALL": "C"},
            capture_output=True,
            check=False,
        )
    if done.returncode:
        raise UsageError(f"{os.fsdecode(path)} is no git repository: {said(done.stderr, done.returncode)}")
    return Git(done.stdout.removesuffix(b"\n"), environment)
