"""git's own helper for http, which git talks to through this one where Forge has nothing: `git remote-https`.

What git says is passed on; the answers go to git without a way round. So a clone, a fetch or `git ls-remote` is what it
would be from that server: the same requests over the same connection, by the newest protocol, shallow or partial. What
is not passed on is a push.

git speaks in lines (gitremote-helpers(7)) until its `stateless-connect` is answered by an empty one, and in packets
from there on (gitprotocol-v2(5)). It reads an answer before it says more, so a read begins where a command does.
"""

import os
import re
import select
import subprocess
from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from types import TracebackType
from typing import Final, Self

from forge_p2p.git.remote.options import Options
from forge_p2p.git.running import git_there

CAPABILITIES: Final = (b"stateless-connect", b"option", b"fetch", b"push", b"check-connectivity", b"object-format")
"""With `push`, so that git asks for one, which then goes to Forge or fails."""

PATIENCE: Final = 5.0
"""Seconds that the other helper may take to end once git wants nothing more of it."""

_READ: Final = 1 << 16
_CONNECT: Final = b"stateless-connect "
_ASKING: Final = (b"list", _CONNECT + b"git-upload-pack", _CONNECT + b"git-upload-archive")
_PASSED: Final = (b"option", b"fetch", b"")
_PACKET: Final = re.compile(rb"[0-9a-f]{4}")
"""The length of a packet. No line begins like that."""
_FETCH: Final = re.compile(_PACKET.pattern + b"command=fetch")


class Relay:
    """A context manager: git's command `words` runs while it lasts. `options`: takes those that git tells it; `sink`:
    where git reads. `on_asking` is called before the server is asked for anything, `on_fetch` once before objects are
    fetched."""

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        options: Options,
        sink: int,
        on_asking: Callable[[], None],
        on_fetch: Callable[[], None],
    ) -> None:
        with git_there():
            self._process = subprocess.Popen(
                ["git", *words],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=sink,
                bufsize=0,
            )
        self._options = options
        self._on_asking = on_asking
        self._on_fetch = on_fetch
        self._is_fetching = False
        self._line = b""
        """The beginning of one."""
        self._is_asked = False
        """Whether the beginning of what git says next tells if these are packets."""
        self._in_packets = False
        self._ended, ending = os.pipe()
        self._waiting = Thread(target=self._wait, args=(ending,), daemon=True)
        self._waiting.start()

    def run(self, source: int) -> bytes | int:
        """Until git has what it wants, which is 0, or asks for what is not passed on: the line; or the helper fails:
        its exit code."""
        while not self._has_ended(source):
            data = os.read(source, _READ)
            if not data:
                return 0
            try:
                refused = self._pass_on(data)
            except BrokenPipeError:
                break
            if refused:
                return refused
        self._waiting.join()
        return self._process.returncode

    def _has_ended(self, source: int) -> bool:
        """Waits until git says something or the helper has ended; whether it has."""
        waiting = select.poll()
        for each in (source, self._ended):
            waiting.register(each, select.POLLIN)
        return self._ended in dict(waiting.poll())

    def _wait(self, ending: int) -> None:
        self._process.wait()
        os.close(ending)

    def _pass_on(self, data: bytes) -> bytes:
        """Passes on what is to be; the first line that is not."""
        if self._is_asked:
            self._in_packets = _PACKET.match(data) is not None
            self._is_asked = False
        if self._in_packets:
            if _FETCH.match(data):
                self._fetch()
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
            self._options.hear(rest)
        elif line in _ASKING:
            self._on_asking()
            self._is_asked = word != b"list"
        elif word == b"fetch":
            self._fetch()
        return line in _ASKING or word in _PASSED

    def _fetch(self) -> None:
        if not self._is_fetching:
            self._is_fetching = True
            self._on_fetch()

    def _tell(self, data: bytes) -> None:
        assert self._process.stdin is not None
        left = memoryview(data)
        while left:
            left = left[self._process.stdin.write(left) or 0 :]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if kind is not None:
            self._process.kill()
        self._waiting.join(PATIENCE)
        if self._waiting.is_alive():
            self._process.kill()
            self._waiting.join()
        os.close(self._ended)
