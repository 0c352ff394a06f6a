"""The git server that a person has named for what Forge cannot give: `git config forge.NAME.upstream URL`.

NAME is what stands behind `forge://`; one that ends in `/` is for all repositories below it, and the URL gets the rest
of the name. Nothing that comes over the network says where to turn: only git's configuration does, and only servers
that git itself would talk to are taken, never a command (`ext::`).

Where Forge has nothing from the beginning, git is given a `StandIn` for some servers. Beside that, and once Forge has
failed in the middle, a clone is git's own clone beside, whose pack is taken: so git resolves deltas and looks at what
objects link to in one pass, as in any clone. A later fetch is git's own fetch into the repository.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final

from forge_p2p.content.gitmanifest import SUFFIXES
from forge_p2p.errors import UsageError
from forge_p2p.git.packs.formats import OBJECT_FORMATS
from forge_p2p.git.remote.options import Options
from forge_p2p.git.remote.standing import NEVER, StandIn, nothing_either, stand_in, without_detours, without_password
from forge_p2p.git.running import Git, GitFailed, said
from forge_p2p.git.settings import SETTINGS, settings_in, upstream_in

if TYPE_CHECKING:
    from forge_p2p.git.landing import Landing
    from forge_p2p.git.remote.fetch import Fetched

SCHEMES: Final = ("https://", "http://", "ssh://", "git://", "file://")
_SCP: Final = re.compile(r"(?!-)[\w.@-]+:(?!:)[^\n]*")
"""`user@host:path`, which git takes for ssh."""


class Upstream:
    """For the repository called `name` in its URL, and `remote` by git. `environment`: what git is run with outside of
    any repository."""

    def __init__(self, name: str, remote: str, git: Git | None, environment: Mapping[str, str]) -> None:
        self._name = name
        self._remote = remote
        self._git = git
        self._environment = without_detours(environment)
        self._asking = Git(git.git_dir, self._environment) if git is not None else None
        """The same repository, for commands that ask the server."""

    @cached_property
    def url(self) -> str:
        """Where to turn to; empty if nobody has said. Raises `UsageError` for what is no git server."""
        best, url = upstream_in(self._settings(), self._name)
        if url and not (url.startswith(SCHEMES) or _SCP.fullmatch(url)):
            raise UsageError(f"git config forge.{best}.upstream is no git server: {url!r}", hint="https://HOST/PATH")
        return url

    def _settings(self) -> Mapping[str, str]:
        return self._git.settings if self._git is not None else settings_in(self._run(*SETTINGS).stdout)

    @property
    def shown(self) -> str:
        """The URL without what may be a password."""
        return without_password(self.url)

    def stand_in(
        self, hear: Callable[[bytes], object], before_asking: Callable[[], object], before_fetch: Callable[[], object]
    ) -> StandIn | None:
        """What git can be given in Forge's place from the beginning, if there is such a thing for this server."""
        with suppress(UsageError):  # who reads is told
            if found := stand_in(self.url, self._settings(), self._environment):
                return found(self._remote, self.url, self._environment, hear, before_asking, before_fetch)
        return None

    def failed(self, why: str) -> GitFailed:
        """The server was asked, and has failed."""
        return GitFailed(nothing_either(self.url, why))

    def advertised(self, options: Options) -> Iterator[bytes]:
        """The lines of `list`. Raises `GitFailed`."""
        done = self._run(*self._apart(), "ls-remote", "--quiet", "--symref", "--", self.url)
        if done.returncode:
            raise GitFailed(f"{self.shown}: {said(done.stderr, done.returncode)}")
        lines = [line.partition(b"\t")[::2] for line in done.stdout.splitlines()]
        sizes = {2 * form.size: name for name, form in OBJECT_FORMATS.items()}
        if options.object_format and lines:
            yield b":object-format " + sizes.get(len(lines[-1][0]), "sha1").encode()
        heads = [value.removeprefix(b"ref: ") for value, name in lines if name == b"HEAD" and value[:5] == b"ref: "]
        yield from (b"@" + head + b" HEAD" for head in heads)
        for value, name in lines:
            if value[:5] != b"ref: " and not (heads and name == b"HEAD"):
                yield value + b" " + name

    def fetch(self, wanted: Sequence[bytes], options: Options, landing: "Landing") -> "Fetched":
        """Brings what the objects `wanted` need. Raises `GitFailed`."""
        from forge_p2p.git.remote.fetch import Fetched

        assert self._git is not None
        assert self._asking is not None
        if options.cloning and not options.partial:
            fetched = self._clone(wanted, options, landing)
            if fetched.connected or self._git.present(wanted).issuperset(wanted):
                return fetched
        words = ["fetch", "--no-write-fetch-head", "--no-tags", "--no-auto-gc", "--no-recurse-submodules", "--stdin"]
        words += [*options.depth_words(), *_shown(options), "--", self.url]
        self._do(self._asking, [*self._apart(), *words], wanted)
        return Fetched()

    def _clone(self, wanted: Sequence[bytes], options: Options, landing: "Landing") -> "Fetched":
        """git's own clone of branches and tags, beside; its pack becomes the repository's."""
        from forge_p2p.git.lookup import IndexFile
        from forge_p2p.git.remote.fetch import Fetched

        assert self._git is not None
        beside = os.path.join(landing.folder, b"upstream.git")
        words = ["-c", "pack.writeReverseIndex=true", "clone", "--bare", "--template=", *_shown(options), "--"]
        self._do(Git(beside, self._environment), [*self._apart(), *words, self.url, beside], ())
        packs = os.path.join(beside, b"objects", b"pack")
        names = [name.removesuffix(b".idx") for name in os.listdir(packs) if name.endswith(b".idx")]
        for name in names:
            for suffix in SUFFIXES:
                os.rename(os.path.join(packs, name + suffix), os.path.join(landing.folder, name + suffix))
        hashes = [bytes.fromhex(name.removeprefix(b"pack-").decode()) for name in names]
        locks = [landing.land(pack, keep=len(hashes) == 1) for pack in hashes]
        if len(hashes) != 1 or not locks[0]:
            return Fetched()
        index = IndexFile(os.path.join(landing.packs, names[0] + b".idx"), self._git.places.oid_size)
        return Fetched(locks[0], index.has_all(wanted))

    def _apart(self) -> list[str]:
        """Settings under which git asks this server and nobody else: `insteadOf` may be what leads here."""
        settings = [f"url.{self.url}.insteadOf={self.url}", *(f"protocol.{each}.allow=never" for each in NEVER)]
        return [word for setting in settings for word in ("-c", setting)]

    def _do(self, git: Git, words: Sequence[str | bytes], wanted: Sequence[bytes]) -> None:
        """A command that shows its progress to the person. Raises `GitFailed`."""
        running = git.start(*words, stdin=subprocess.PIPE, stdout=sys.stderr.fileno())
        running.communicate(b"".join(oid.hex().encode() + b"\n" for oid in wanted))
        if running.returncode:
            raise self.failed(f"exit code {running.returncode}")

    def _run(self, *words: str) -> "subprocess.CompletedProcess[bytes]":
        if self._asking is not None:
            return self._asking.attempt(*words)
        environment = {**self._environment, "LC_ALL": "C"}
        return subprocess.run(
            ["git", *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )


def _shown(options: Options) -> list[str]:
    return ["--quiet", *(["--progress"] if options.progress else [])]
