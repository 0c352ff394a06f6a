"""git's own helper for http, which git talks to through this one where Forge has nothing: `git remote-https`.

What git says is passed on; the answers go to git without a way round. So a clone, a fetch or `git ls-remote` is what it
would be from that server: the same requests over the same connection, by the newest protocol, shallow or partial. What
is not passed on is a push.

git speaks in lines (gitremote-helpers(7)) until its `stateless-connect` is answered by an empty one, and in packets
from there on (gitprotocol-v2(5)). It reads an answer before it says more, so a read begins where a command does.

Imports next to nothing: it is begun before the rest of Forge is imported, and most often that is not needed.
"""

import os
import select
import time
from _signal import SIGPIPE, SIGTERM  # type: ignore[import-not-found]
from collections.abc import Callable, Mapping

from forge_p2p.git.spawning import spawn

SCHEMES = ("https://", "http://")
"""Those that git itself has a helper for."""

NEVER = ("forge", "ext")
"""Schemes that an upstream is not turned to by, whatever it is rewritten to by `url.….insteadOf`."""

CAPABILITIES = b"capabilities"

_CAPABILITIES = b"stateless-connect\noption\nfetch\npush\ncheck-connectivity\nobject-format\n\n"
"""With `push`, so that git asks for one, which then goes to Forge or fails."""

_PATIENCE = 5.0
"""Seconds that the other helper may take to end once git wants nothing more of it."""

_LOOK = 50
"""Milliseconds between two looks at whether it has ended, where the system has no descriptor that tells."""

_GIT_HAS_GONE = (-SIGPIPE, 128 + SIGPIPE)
"""Exit codes of who had nobody to say something to."""

_READ = 1 << 16
_CONNECT = b"stateless-connect "
_ASK, _FETCH = b"list", b"fetch"
_ASKING = (_ASK, _CONNECT + b"git-upload-pack", _CONNECT + b"git-upload-archive")
_PASSED = (b"option", _FETCH, b"")
_LENGTH = 4
"""Hexadecimal digits that begin a packet, and no line."""


class Relay:
    """To `url`, for what git calls `remote`. `hear` is told each option that git has set, as it says it. Before the
    server is asked for anything `before_asking` is called, and before objects are fetched `before_fetch`, once each."""

    def __init__(
        self,
        remote: str,
        url: str,
        environment: Mapping[str, str],
        hear: Callable[[bytes], object],
        before_asking: Callable[[], object],
        before_fetch: Callable[[], object],
    ) -> None:
        self._words = (f"remote-{url.partition(':')[0]}", remote, url)
        self._environment = without_detours(environment)
        self._hear = hear
        self._before = {_ASK: before_asking, _FETCH: before_fetch}
        self._line = b""
        """The beginning of one."""
        self._is_asked = False
        """Whether the beginning of what git says next tells if these are packets."""
        self._in_packets = False

    def run(self, source: int, sink: int) -> bytes | int:
        """Tells git what it can ask for, and is what answers, until git has what it wants, which is 0, or asks for what
        is not passed on: the line; or the helper fails: its exit code."""
        reading, self._stdin = os.pipe()
        helper = _Process(spawn(self._words, self._environment, reading, sink))
        os.close(reading)
        try:
            os.write(sink, _CAPABILITIES)
            outcome = self._relay(source, helper)
        except BaseException:
            helper.kill()
            raise
        finally:
            os.close(self._stdin)
            helper.end()
        if outcome is not None:
            return outcome
        return 0 if helper.code in _GIT_HAS_GONE else helper.code

    def _relay(self, source: int, helper: "_Process") -> bytes | int | None:
        """`None` when the helper has ended by itself."""
        while not helper.wait(source):
            data = os.read(source, _READ)
            if not data:
                return 0
            try:
                refused = self._pass_on(data)
            except BrokenPipeError:
                return None
            if refused:
                return refused
        return None

    def _pass_on(self, data: bytes) -> bytes:
        """Passes on what is to be; the first line that is not."""
        if self._is_asked:
            self._in_packets = all(digit in b"0123456789abcdef" for digit in data[:_LENGTH])
            self._is_asked = False
        if self._in_packets:
            if data.startswith(b"command=" + _FETCH, _LENGTH):
                self._begin(_FETCH)
            self._tell(data)
            return b""
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            if not self._see(line):
                return line
        self._tell(b"".join(line + b"\n" for line in lines))
        return b""

    def _see(self, line: bytes) -> bool:
        """Whether it is to be passed on; does what comes before that."""
        word, _, rest = line.partition(b" ")
        if word == b"option":
            self._hear(rest)
        elif line in _ASKING:
            self._begin(_ASK)
            self._is_asked = word != _ASK
        elif word == _FETCH:
            self._begin(_FETCH)
        return line in _ASKING or word in _PASSED

    def _begin(self, what: bytes) -> None:
        if before := self._before.pop(what, None):
            before()

    def _tell(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._stdin, left) :]


class _Process:
    """A child, waited for together with what git says. `code`: its exit code, once it has ended."""

    def __init__(self, process: int) -> None:
        self.code = 0
        self._process = process
        self._is_over = False
        self._waiting = select.poll()
        try:
            self._ending = os.pidfd_open(process)
            self._waiting.register(self._ending, select.POLLIN)
        except OSError:
            self._ending = -1

    def wait(self, source: int) -> bool:
        """Until there is something to read from `source`, or it has ended; whether it has."""
        self._waiting.register(source, select.POLLIN)
        said = False
        while not said and not self._has_ended():
            said = any(each == source for each, _ in self._waiting.poll(None if self._ending >= 0 else _LOOK))
        self._waiting.unregister(source)
        return self._has_ended()

    def end(self) -> None:
        """Waits for that, and kills it if it takes too long."""
        last = time.monotonic() + _PATIENCE
        while not self._has_ended() and time.monotonic() < last:
            self._waiting.poll(_LOOK)
        self.kill()
        self._has_ended(0)
        if self._ending >= 0:
            os.close(self._ending)

    def kill(self) -> None:
        """Ends it, and what it has started: `git` ends its helper then."""
        if not self._has_ended():
            os.kill(self._process, SIGTERM)

    def _has_ended(self, options: int = os.WNOHANG) -> bool:
        if not self._is_over:
            process, status = os.waitpid(self._process, options)
            self._is_over = process != 0
            self.code = os.waitstatus_to_exitcode(status) if process else 0
        return self._is_over


def without_password(url: str) -> str:
    """To show it."""
    scheme, separator, rest = url.partition("://")
    user, at, place = rest.partition("@")
    return f"{scheme}{separator}{place}" if at and "/" not in user else url


def turning(reason: str, url: str) -> str:
    """What the person is told when the server is asked instead of Forge."""
    return f"{reason}; turning to {without_password(url)}"


def nothing_either(url: str, code: int) -> str:
    """What the person is told when git has failed to get it there."""
    return f"{without_password(url)} gives nothing either (exit code {code})"


def without_detours(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of git's commands that ask a server: a list of schemes in it is above all settings."""
    kept = dict(environment)
    if allowed := kept.get("GIT_ALLOW_PROTOCOL"):
        kept["GIT_ALLOW_PROTOCOL"] = ":".join(each for each in allowed.split(":") if each not in NEVER)
    return kept
