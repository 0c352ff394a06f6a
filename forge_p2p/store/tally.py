"""Counters of what is stored, by codec, kept in the transactions that change it, so that status never scans."""

from struct import Struct

from forge_p2p.store.base import Tallied
from forge_p2p.store.records import CODECS

_TALLY = Struct(f"<{3 * len(CODECS)}q")


class Tally:
    """Chunks, raw bytes and stored bytes of each codec."""

    __slots__ = ("_counts",)

    def __init__(self, packed: bytes | None = None) -> None:
        self._counts = list(_TALLY.unpack(packed)) if packed else [0] * (3 * len(CODECS))

    def add(self, codec: int, raw: int, stored: int, chunks: int = 1) -> None:
        """One more chunk, or with `chunks=-1` one less."""
        counts, at = self._counts, 3 * codec
        counts[at] += chunks
        counts[at + 1] += chunks * raw
        counts[at + 2] += chunks * stored

    def plus(self, other: "Tally") -> "Tally":
        return Tally(_TALLY.pack(*(mine + its for mine, its in zip(self.counts, other.counts, strict=True))))

    def pack(self) -> bytes:
        return _TALLY.pack(*self._counts)

    def of(self, codec: int) -> Tallied:
        return Tallied(*self._counts[3 * codec : 3 * codec + 3])

    def of_all(self) -> Tallied:
        return Tallied(self.chunks, sum(self._counts[1::3]), self.stored)

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(self._counts)

    @property
    def chunks(self) -> int:
        return sum(self._counts[0::3])

    @property
    def stored(self) -> int:
        return sum(self._counts[2::3])
