"""Answers that are ready, by what was asked and by whose right: a hit costs one look into a dictionary.

Bounded in bytes, least recently used out first. What may be read can change, so an answer is ready only for a while.
"""

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from forge_edge.http.head import head_of

ANSWER_MAX: Final = 512 * 1024
"""Bytes of one answer that is kept."""

_OVERHEAD: Final = 2048
"""Bytes that an answer costs beside its body: headers, keys, objects."""

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `head`: what `head_of` makes of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    head: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "head", head_of(self.status, self.headers, len(self.body)))


class Answers:
    """`limit` bytes of them; 0 keeps none."""

    def __init__(self, limit: int) -> None:
        self.size = 0
        self._limit = limit
        self._kept: OrderedDict[Key, tuple[float, Answer]] = OrderedDict()

    def get(self, key: Key) -> Answer | None:
        """The answer, if it is here and still good."""
        found = self._kept.get(key)
        if found is None:
            return None
        if found[0] <= time.monotonic():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return found[1]

    def put(self, key: Key, answer: Answer, seconds: float) -> None:
        """Keeps an answer for that long, if there is room for it."""
        if len(answer.body) > ANSWER_MAX:
            return
        self._drop(key)
        self._kept[key] = time.monotonic() + seconds, answer
        self.size += len(answer.body) + _OVERHEAD
        while self.size > self._limit:
            self._drop(next(iter(self._kept)))

    def clear(self) -> None:
        self._kept.clear()
        self.size = 0

    def _drop(self, key: Key) -> None:
        old = self._kept.pop(key, None)
        if old is not None:
            self.size -= len(old[1].body) + _OVERHEAD
