"""The access log: one line of JSON a request on standard output. What could be a secret is left out: no query, no
header but the agent, of a token only its id."""

import asyncio
import time
from typing import Final, TextIO

import msgspec

FLUSH: Final = 0.1
"""Seconds until a line is written."""

_LINES_MAX: Final = 1000
"""Lines that are held at most: a second's worth of much traffic would be some hundred KB."""

_TEXT_MAX: Final = 512
"""Characters of a path or an agent."""


class Line(msgspec.Struct, frozen=True):
    """`time` in Unix seconds, `seconds` until the end of the answer, `bytes` of its body."""

    time: float
    client: str
    who: str
    method: str
    path: str
    status: int
    bytes: int
    seconds: float
    agent: str


class AccessLog:
    """Lines for `stream`, written together once in `FLUSH` seconds: a call of the system for each would cost as much
    as finding its answer. What a crash takes is at most these. Belongs to the loop's thread."""

    def __init__(self, stream: TextIO, loop: asyncio.AbstractEventLoop) -> None:
        self._stream = stream
        self._loop = loop
        self._lines: list[bytes] = []
        self._encode = msgspec.json.Encoder().encode

    def write(
        self, client: str, who: str, method: str, path: str, status: int, size: int, seconds: float, agent: str
    ) -> None:
        """Adds the line of a request."""
        if not self._lines:
            self._loop.call_later(FLUSH, self.flush)
        line = Line(
            round(time.time(), 3),
            client,
            who,
            method[:16],
            path[:_TEXT_MAX],
            status,
            size,
            round(seconds, 6),
            agent[:_TEXT_MAX],
        )
        self._lines.append(self._encode(line))
        if len(self._lines) >= _LINES_MAX:
            self.flush()

    def flush(self) -> None:
        """Writes what there is."""
        if self._lines:
            text = b"\n".join(self._lines).decode()
            self._lines.clear()
            self._stream.write(text + "\n")
            self._stream.flush()
