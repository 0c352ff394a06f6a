"""What Forge says of a repository, waited for as long as somebody else can be asked instead."""

from collections.abc import Callable
from threading import Thread
from typing import Final

from forge_p2p.errors import ForgeError, PeerError
from forge_p2p.git.calls import Published

PATIENCE: Final = 5.0
"""Seconds that Forge has to say what a repository is, where somebody else can be asked."""


class Question:
    """Asked from the beginning, by `read`."""

    def __init__(self, read: Callable[[], Published]) -> None:
        self._read = read
        self._found: list[Published | ForgeError] = []
        self._asking = Thread(target=self._ask, daemon=True)
        self._asking.start()

    def answer(self, seconds: float | None = PATIENCE) -> Published:
        """Waits for it, however long without `seconds`; may be called again. Raises `PeerError` if it takes longer, and
        what `read` does."""
        self._asking.join(seconds)
        answer = self._found[0] if self._found else PeerError(f"Forge does not answer within {seconds:g} s")
        if isinstance(answer, ForgeError):
            raise answer
        return answer

    def _ask(self) -> None:
        try:
            self._found.append(self._read())
        except ForgeError as error:
            self._found.append(error)
