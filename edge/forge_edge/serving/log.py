"""The access log: one line of JSON a request on standard output. What could be a secret is left out: no query, no
header but the agent, of a token only its id."""

import sys
import time
from typing import Final, TextIO

import msgspec

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
    """Written to `file` at once, line by line; `None`: nowhere."""

    def __init__(self, file: TextIO | None = sys.stdout) -> None:
        self._file = file

    def write(
        self, client: str, who: str, method: str, path: str, status: int, size: int, seconds: float, agent: str
    ) -> None:
        if self._file is None:
            return
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
        self._file.write(msgspec.json.encode(line).decode() + "\n")
