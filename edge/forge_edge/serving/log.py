"""The access log: one line of JSON a request on standard output. What could be a secret is left out: no query, no
header but the agent, of a token only its id."""

import sys
import time
from typing import Final

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


def log_request(
    client: str, who: str, method: str, path: str, status: int, size: int, seconds: float, agent: str
) -> None:
    """Writes its line."""
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
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
