"""A WANT of ours that names bases, and an answer to one of the peer's."""

from collections.abc import Sequence

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.content.delta import DeltaChunk
from forge_p2p.ids import HASH_SIZE, Hash
from forge_p2p.proto.asks import WantAsk
from forge_p2p.proto.hints import Answer, Hints, Lacking
from forge_p2p.proto.outputs import DeltasReceived, Event, RequestBaseless
from forge_p2p.proto.states import CHUNK_FRAMES, DELTA_FRAMES, Breach
from forge_p2p.wire import limits
from forge_p2p.wire.codes import Code
from forge_p2p.wire.data import split_batches
from forge_p2p.wire.deltas import Deltas
from forge_p2p.wire.frames import encode_data_frame, encode_delta_frame, encode_frame
from forge_p2p.wire.messages import Baseless, Message, Missing, Want

Buffers = list[bytes | memoryview]


class HintedAsk(WantAsk):
    """Chunks, and what this side has that is like them. Raises `ValueError` as `WantAsk`."""

    __slots__ = ("_hints",)

    frames = CHUNK_FRAMES | DELTA_FRAMES

    def __init__(
        self,
        stream_id: int,
        hashes: Sequence[Hash],
        priority: int,
        deadline: float,
        max_bytes: int,
        sparing: bool,
        hints: Hints,
    ) -> None:
        super().__init__(stream_id, hashes, priority, deadline, max_bytes, sparing)
        if max(len(hints.bases), len(hints.signatures)) > limits.BASES_MAX or _signed(hints) > limits.SIGNATURES_BYTES:
            raise ValueError(
                f"a request has at most {limits.BASES_MAX} bases and {limits.SIGNATURES_BYTES} bytes signed"
            )
        self._hints = hints

    @property
    def size(self) -> int:
        return super().size + len(self._hints.bases) * (HASH_SIZE + 6) + _signed(self._hints) + 8

    def request(self, now: float) -> Want:
        plain, hints = super().request(now), self._hints
        return Want(
            plain.hashes,
            plain.priority,
            plain.deadline_ms,
            plain.max_bytes,
            plain.sparing,
            tuple([(index, base) for index, base in hints.bases.items() if base is not None]),
            tuple(hints.signatures.items()),
            hints.signs,
        )

    def _event(self, message: Message) -> Event:
        if isinstance(message, Deltas):
            return self._deltas(message)
        if isinstance(message, Baseless):
            self._check_hinted(message.indexes)
            self._settle(message.indexes, 0)
            return RequestBaseless(self.stream_id, message.indexes)
        return super()._event(message)

    def _deltas(self, deltas: Deltas) -> DeltasReceived:
        indexes = [index for index, _, _, _ in deltas.rows]
        self._check_hinted(indexes)
        self._settle(indexes, sum([size for _, _, size, _ in deltas.rows]))
        chunks = [DeltaChunk(self._hashes[index], form, size, data) for index, form, size, data in deltas.rows]
        return DeltasReceived(self.stream_id, indexes, chunks)

    def _check_hinted(self, indexes: Sequence[int]) -> None:
        for index in indexes:
            if index not in self._hints:
                raise Breach(Code.UNSOLICITED, f"a delta for index {index}, for which no base was named")


def _signed(hints: Hints) -> int:
    """Bytes of signatures."""
    return sum([len(signature) for signature in hints.signatures.values()])


def hinted_buffers(indexes: Sequence[int], answers: Sequence[Answer]) -> Buffers:
    """The frames that say these answers, to who named bases."""
    deltas: list[tuple[int, DeltaChunk]] = []
    baseless: list[int] = []
    rest: list[tuple[int, EncodedChunk | None]] = []
    for index, answer in zip(indexes, answers, strict=True):
        if isinstance(answer, DeltaChunk):
            deltas.append((index, answer))
        elif answer is Lacking.BASE:
            baseless.append(index)
        else:
            rest.append((index, answer))
    buffers = plain_buffers([index for index, _ in rest], [chunk for _, chunk in rest])
    for batch in split_batches([delta for _, delta in deltas]):
        buffers += encode_delta_frame([index for index, _ in deltas[batch]], [delta for _, delta in deltas[batch]])
    if baseless:
        buffers.append(encode_frame(Baseless(tuple(baseless))))
    return buffers


def plain_buffers(indexes: Sequence[int], chunks: Sequence[EncodedChunk | None]) -> Buffers:
    """The frames that say these answers, to who named none."""
    found = [(index, chunk) for index, chunk in zip(indexes, chunks, strict=True) if chunk is not None]
    missing = [index for index, chunk in zip(indexes, chunks, strict=True) if chunk is None]
    buffers: Buffers = []
    for batch in split_batches([chunk for _, chunk in found]):
        buffers += encode_data_frame([index for index, _ in found[batch]], [chunk for _, chunk in found[batch]])
    if missing:
        buffers.append(encode_frame(Missing(tuple(missing))))
    return buffers
