"""The helper's side of gitremote-helpers(7): lines in, lines out, nothing else on standard output."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from forge_p2p.content.gitmanifest import GitManifest
from forge_p2p.errors import ForgeError, Malformed, NotFound, UsageError
from forge_p2p.git.calls import Node, Published
from forge_p2p.git.layout import is_being_cloned
from forge_p2p.git.remote.options import Options
from forge_p2p.git.remote.question import PATIENCE, Question
from forge_p2p.git.remote.standing import SERVICES, turning
from forge_p2p.git.running import Git

if TYPE_CHECKING:
    from forge_p2p.git.landing import Landing
    from forge_p2p.git.remote.fetch import Fetched
    from forge_p2p.git.remote.standing import StandIn
    from forge_p2p.git.remote.upstream import Upstream

CAPABILITIES = (b"option", b"fetch", b"push", b"connect", b"check-connectivity", b"object-format")

Serve = Callable[[Node, Published, str, Callable[[], None]], int]
"""Runs a service of git's on the repository as it was published, and says so just before; its exit code."""


class Helper:
    """One run of it. `git` is the repository that it was started for, `None` outside of any (`git ls-remote`);
    `upstream`: who else is asked, for what is read; `cache`: the node's folder for what can be made again."""

    def __init__(
        self,
        node: Node,
        git: Git | None,
        streams: tuple[BinaryIO, BinaryIO],
        options: Options,
        serve: Serve,
        upstream: "Upstream",
        cache: Path,
    ) -> None:
        self.options = options
        self.exit_code = 0
        self.landed = False
        """Whether packs were taken as they came."""
        self.pushed_upon = 0
        """How many packs there were when something was pushed, at last."""
        self._node = node
        self._git = git
        self._source, self._sink = streams
        self._serve = serve
        self._upstream = upstream
        self._cache = cache
        self._turned = False
        self._is_answering = False
        self._question: Question | None = None
        """What the node was asked before git has asked for it."""
        self._fault: ForgeError | None = None
        """Why the upstream is asked."""
        self._published: Published | None = None
        self._over = False
        self._stack = ExitStack()
        self._landing: Landing | None = None

    def run(self, options: Sequence[bytes] = (), first: bytes = b"") -> None:
        """Answers until git says that it is done, or goes. Raises what ends the whole. `options`, `first`: what it has
        said to who told it what can be done here, and what it has no answer to."""
        for option in options:
            self.options.hear(option)
        with self._stack:
            for line in chain((first,) if first else (), self._lines()):
                if not line:
                    return
                self._answer(line)
                self._sink.flush()
                if self._over:
                    return

    def _answer(self, line: bytes) -> None:
        word, _, rest = line.partition(b" ")
        answer = _COMMANDS.get(word)
        if answer is None:
            raise Malformed(f"git asked for something unknown: {line[:60].decode(errors='replace')}")
        answer(self, rest)

    def _lines(self) -> Iterator[bytes]:
        while line := self._source.readline():
            yield line.removesuffix(b"\n")

    def _batch(self, first: bytes) -> list[bytes]:
        """The rest of this line, and of those after it up to an empty one, which begin with the same word."""
        rests = [first]
        for line in self._lines():
            if not line:
                break
            rests.append(line.partition(b" ")[2])
        return rests

    def _say(self, *lines: bytes) -> None:
        self._sink.writelines(line + b"\n" for line in lines)

    def capabilities(self, rest: bytes) -> None:
        """What the helper can do; or the one that git has for the upstream, where Forge has nothing."""
        other = self._upstream.stand_in(self.options.hear, self._say_turning, self._before_relayed_fetch)
        if other is not None:
            self._question = Question(self._node.read)
            try:
                _readable(self._question.answer())
            except ForgeError as error:
                self._fault = error
                self._stand_aside(other)
                return
        self._say(*CAPABILITIES, b"")

    def _stand_aside(self, other: "StandIn") -> None:
        """From here on git talks to the other one, until it has what it wants, or pushes."""
        self._sink.flush()
        ended = other.run(self._source.fileno(), self._sink.fileno())
        if isinstance(ended, bytes):
            self._answer(ended)
            return
        self._over = True
        if ended:
            raise self._upstream.failed(ended)

    def _before_relayed_fetch(self) -> None:
        from forge_p2p.git.remote.cloning import checked_out_in_parallel

        if self.options.cloning or is_being_cloned(self._repository.git_dir):
            with checked_out_in_parallel(self._repository):
                pass

    def option(self, rest: bytes) -> None:
        """Takes an option."""
        self._say(self.options.hear(rest).encode())

    def list(self, rest: bytes) -> None:
        """Lists the refs."""
        pushing = rest == b"for-push"
        if pushing and self._git is not None:
            self._have_answers(self._git)
        if not self._turned or pushing:
            try:
                manifest = self._listed(anew=True, pushing=pushing).manifest
            except ForgeError as error:
                if pushing:
                    raise
                self._turn_upstream(error)
            else:
                with_format = self.options.object_format
                self._say(*(advertised(manifest, with_format=with_format, pushing=pushing) if manifest else ()), b"")
                return
        self._say(*self._upstream.advertised(self.options), b"")

    def connect(self, rest: bytes) -> None:
        """Lets git talk to a service of its own, where whole packs are not what it wants."""
        archive = rest == b"git-upload-archive"
        if self._turned or rest not in SERVICES or not (archive or self.options.partial):
            self._say(b"fallback")
            return
        try:
            self.exit_code = self._serve(self._node, self._listed(), rest.decode(), self._connected)
        except ForgeError as error:
            if self._over:
                raise
            self._turn_upstream(error)
            self._say(b"fallback")

    def _connected(self) -> None:
        """From here on git talks to its service."""
        self._over = True
        self._say(b"")
        self._sink.flush()

    def fetch(self, rest: bytes) -> None:
        """Fetches a batch of refs."""
        from forge_p2p.git.landing import Landing
        from forge_p2p.git.state import State

        batch = [bytes.fromhex(line.partition(b" ")[0].decode()) for line in self._batch(rest)]
        wanted = list(dict.fromkeys(batch))
        if self.options.cloning:
            self._repository.ask_settings_again()
        if self._landing is None:
            self._landing = self._stack.enter_context(Landing(self._repository.places.packs))
        for fault in State(self._repository.places).damaged():
            self.note(f"warning: {fault}")
        try:
            fetched = self._fetched(self._landing, wanted)
        except ForgeError as error:
            self._turn_upstream(error)
            fetched = self._fetched(self._landing, wanted)
        self.landed |= not self._turned
        if fetched.lock and b"\n" not in fetched.lock:
            self._say(b"lock " + fetched.lock)
            if fetched.connected and self.options.check_connectivity:
                self._say(b"connectivity-ok")
        self._say(b"")

    def _fetched(self, landing: "Landing", wanted: Sequence[bytes]) -> "Fetched":
        """What is wanted, and what a clone needs besides."""
        if not self.options.cloning:
            return self._brought(landing, wanted)
        from forge_p2p.git.remote.cloning import checked_out_in_parallel, have_contents_at_hand

        with checked_out_in_parallel(self._repository):
            fetched = self._brought(landing, wanted)
            if not self._turned:
                have_contents_at_hand(self._repository, landing, fetched.lock, self._listed().about, self._cache)
            return fetched

    def _brought(self, landing: "Landing", wanted: Sequence[bytes]) -> "Fetched":
        """What is wanted, from who told of it."""
        if self._turned:
            return self._upstream.fetch(wanted, self.options, landing)
        from forge_p2p.git.remote.fetch import Fetch

        fetch = Fetch(self._node, self._repository, landing, self._listed())
        return fetch.run(wanted, everything=self.options.cloning or self.options.refetch)

    def _turn_upstream(self, error: ForgeError) -> None:
        """From here on the upstream is asked instead. Raises `error` where there is none, or it was asked already."""
        if self._turned or not self._upstream.url:
            raise error
        self._turned = True
        self._fault = error
        self._say_turning()

    def _say_turning(self) -> None:
        assert self._fault is not None
        self.note(turning(self._fault.message, self._upstream.url))

    def push(self, rest: bytes) -> None:
        """Pushes a batch of refs."""
        from forge_p2p.git.remote.push import Push
        from forge_p2p.git.remote.rules import Refspec

        specs = [Refspec.parse(line) for line in self._batch(rest)]
        push = Push(self._node, self._repository, self._listed(pushing=True), self.options)
        self._have_answers(self._repository)
        faults = push.run(specs)
        for ref, fault in faults.items():
            self._say(b"error " + ref + b" " + fault.encode() if fault else b"ok " + ref)
        for note in push.notes:
            self.note(note)
        self.pushed_upon = push.pushed_upon
        self.options.leases.clear()
        self._published = None
        self._say(b"")

    def _listed(self, *, anew: bool = False, pushing: bool = False) -> Published:
        """What git was told that the repository is. Raises `NotFound` where nothing is that could be read."""
        if self._published is None or anew:
            self._published = self._read(pushing=pushing)
            for note in self._published.about.notes:
                self.note(note)
        return self._published if pushing else _readable(self._published)

    def _read(self, *, pushing: bool) -> Published:
        """What the node says now: in a while, or as long as it takes where nobody else can be asked."""
        question, self._question = self._question, None
        if question is None and (pushing or not self._upstream.url):
            return self._node.read()
        return (question or Question(self._node.read)).answer(None if pushing else PATIENCE)

    def _have_answers(self, git: Git) -> None:
        """Starts what is going to be asked about the repository, if that has not been done: while the node asks for a
        list, and it ends after git has its answer."""
        if not self._is_answering:
            self._is_answering = True
            self._stack.enter_context(git.answering())

    @property
    def _repository(self) -> Git:
        if self._git is None:
            raise UsageError("this needs a repository", hint="run it in one")
        return self._git

    def note(self, text: str) -> None:
        """Says something to the person, unless they want quiet."""
        if self.options.verbosity:
            sys.stderr.write(f"forge: {text}\n")
            sys.stderr.flush()


_COMMANDS: Mapping[bytes, Callable[[Helper, bytes], None]] = {
    b"capabilities": Helper.capabilities,
    b"option": Helper.option,
    b"list": Helper.list,
    b"fetch": Helper.fetch,
    b"push": Helper.push,
    b"connect": Helper.connect,
}


def advertised(manifest: GitManifest, *, with_format: bool, pushing: bool) -> Iterator[bytes]:
    """The lines of `list`: the object format where git has asked for it, HEAD, refs, what tags point to.
    Who pushes is told of refs alone, as by any server: `--mirror` would delete the rest."""
    if with_format:
        yield b":object-format " + manifest.object_format.encode()
    if not pushing and any(ref.name == manifest.head for ref in manifest.refs):
        yield b"@" + manifest.head + b" HEAD"
    for ref in manifest.refs:
        yield ref.oid.hex().encode() + b" " + ref.name
        if ref.peeled and not pushing:
            yield ref.peeled.hex().encode() + b" " + ref.name + b"^{}"


def _readable(published: Published) -> Published:
    """Raises `NotFound` where nothing is that could be read."""
    if published.manifest is None:
        name = published.about.name
        raise NotFound(f"nothing is published as {name!r}", hint="forge git list says what is; git push makes it")
    return published


def failure(error: ForgeError) -> str:
    """An error as a person reads it below git's own lines."""
    hint = f"forge: hint: {error.hint}{os.linesep}" if error.hint else ""
    return f"forge: error: {error.message}{os.linesep}{hint}"
