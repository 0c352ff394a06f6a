"""Answers that are ready, by what was asked and by whose right: a hit costs one look into a dictionary.

What may be read can change, so an answer is ready only for a while.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from forge_edge.content.recent import Recent
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


class Answers(Recent[Key, Answer]):
    """`limit` bytes of them; 0 keeps none."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, lambda answer: len(answer.body) + _OVERHEAD)

    def put(self, key: Key, value: Answer, seconds: float) -> None:
        """Keeps an answer for that long, if there is room for it."""
        if len(value.body) <= ANSWER_MAX:
            super().put(key, value, seconds)
