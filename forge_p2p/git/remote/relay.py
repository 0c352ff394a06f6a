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

from forge_p2p.git.remote.standing import SERVICES, StandIn, write_all
from forge_p2p.git.spawning import spawn

_CAPABILITIES = b"stateless-connect\noption\nfetch\npush\ncheck-connectivity\nobject-format\n\n"
"""With `push`, so that git asks for one, which then goes to Forge or fails."""

_PATIENCE = 5.0
"""Seconds that the other helper may take to end once git wants nothing more of it."""

_LOOK = 50
"""Milliseconds between two looks at whether it has ended, where the system has no descriptor that tells."""

_FINE = (0, -SIGPIPE, 128 + SIGPIPE, -SIGTERM, 128 + SIGTERM)
"""Exit codes that nobody needs to be told: of who was done, had nobody to answer any more, or was ended for that."""

_READ = 1 << 16
_CONNECT = b"stateless-connect "
_ASK, _FETCH = b"list", b"fetch"
_ASKING = (_ASK, *(_CONNECT + each for each in SERVICES))
_PASSED = (b"option", _FETCH, b"")
_LENGTH = 4
"""Hexadecimal digits that begin a packet, and no line."""


class Relay(StandIn):
    """By way of that helper."""

    _line = b""
    """The beginning of one."""
    _is_asked = False
    """Whether the beginning of what git says next tells if these are packets."""
    _in_packets = False
    _stdin = -1

    def run(self, source: int, sink: int) -> bytes | str:
        """See `StandIn`."""
        reading, self._stdin = os.pipe()
        words = (f"remote-{self.url.partition(':')[0]}", self.remote, self.url)
        helper = _Process(spawn(words, self.environment, reading, sink))
        os.close(reading)
        try:
            os.write(sink, _CAPABILITIES)
            refused = self._relay(source, helper)
            self._close()
            if not refused:  # git closes its end when it has said all, and listens on: for a whole pack
                helper.wait(sink, 0)
        except BaseException:
            helper.kill()
            raise
        finally:
            self._close()
            helper.end()
        return refused or ("" if helper.code in _FINE else f"exit code {helper.code}")

    def _close(self) -> None:
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

    def _relay(self, source: int, helper: "_Process") -> bytes:
        """The line that is not passed on; empty when git has said all, or the helper has ended by itself."""
        while not helper.wait(source, select.POLLIN):
            data = os.read(source, _READ)
            try:
                refused = self._pass_on(data)
            except BrokenPipeError:
                return b""
            if refused or not data:
                return refused
        return b""

    def _pass_on(self, data: bytes) -> bytes:
        """Passes on what is to be; the first line that is not."""
        if self._is_asked:
            self._in_packets = all(digit in b"0123456789abcdef" for digit in data[:_LENGTH])
            self._is_asked = False
        if self._in_packets:
            if data.startswith(b"command=" + _FETCH, _LENGTH):
                self.begin_fetching()
            write_all(self._stdin, data)
            return b""
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            if not self._see(line):
                return line
        write_all(self._stdin, b"".join(line + b"\n" for line in lines))
        return b""

    def _see(self, line: bytes) -> bool:
        """Whether it is to be passed on; does what comes before that."""
        word, _, rest = line.partition(b" ")
        if word == b"option":
            self.hear(rest)
        elif line in _ASKING:
            self.begin_asking()
            self._is_asked = word != _ASK
        elif word == _FETCH:
            self.begin_fetching()
        return line in _ASKING or word in _PASSED


class _Process:
    """A child, waited for together with git. `code`: its exit code, once it has ended."""

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

    def wait(self, other: int, events: int) -> bool:
        """Until it has ended, or there is one of these `select.poll` events at `other`, or nobody at its other end;
        whether it has ended."""
        self._waiting.register(other, events)
        told = False
        while not told and not self._has_ended():
            told = any(each == other for each, _ in self._waiting.poll(None if self._ending >= 0 else _LOOK))
        self._waiting.unregister(other)
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
