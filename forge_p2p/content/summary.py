"""Bloom summaries: what a node certainly lacks, in ten bits a chunk.

A summary only ever saves a question. What it does not name is not there; what it names is there in all likelihood, and
only the answer to a WANT is the truth. Each node salts its own, so that a chunk that one of them names wrongly is not
named wrongly by all.

A summary can grow and cannot shrink. So it has a *generation*: before anything is deleted the generation ends, and the
next one is made anew from what is left. Whoever holds a summary of an older generation drops it.

    format      u8       1
    generation  u64
    salt        u64
    capacity    u32      chunks it is made for, 1024 to 4,194,304
    bits        zstd frame of: u64 little-endian, how many bits a chunk sets; then the bits, as rbloom 1.5 lays them out

Big-endian but for the bits.
"""

from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from typing import Final

import zstandard
from rbloom import Bloom
from xxhash import xxh3_128_intdigest

from forge_p2p.errors import Malformed
from forge_p2p.ids import Hash

FORMAT: Final = 1

ERROR_RATE: Final = 0.01
"""Of what is not there one in a hundred is asked for in vain. Ten times rarer would cost half as many bits again."""

CAPACITY_MIN: Final = 1024
CAPACITY_MAX: Final = 1 << 22
"""Chunks: 256 GB at the usual size, 5 MB of bits."""

_HEAD = Struct(">BQQI")
_SIGNED = 1 << 127


class Summary:
    """One node's chunks, about. Raises `ValueError` for a capacity out of bounds."""

    def __init__(self, salt: int, capacity: int, generation: int = 0, bits: bytes = b"") -> None:
        """`salt`: 64 random bits. `bits`: as `encode` has them, to be of exactly the size that `capacity` asks for."""
        if not CAPACITY_MIN <= capacity <= CAPACITY_MAX:
            raise ValueError(f"a summary is made for {CAPACITY_MIN} to {CAPACITY_MAX} chunks, not {capacity}")
        self.generation = generation
        self.capacity = capacity
        self._salt = salt

        def salted(chunk: bytes) -> int:
            return xxh3_128_intdigest(chunk, salt) - _SIGNED

        self._bits = Bloom(capacity, ERROR_RATE, salted)
        if bits:
            fresh = self._bits.save_bytes()
            if len(bits) != len(fresh) or bits[:8] != fresh[:8]:
                raise ValueError(f"{len(bits)} bytes of bits, for {capacity} chunks there have to be {len(fresh)}")
            self._bits = Bloom.load_bytes(bits, salted)

    def add(self, chunks: Iterable[Hash]) -> None:
        """These are there now."""
        self._bits.update(chunks)

    def lacks(self, chunks: Sequence[Hash]) -> list[Hash]:
        """Those of `chunks` that are certainly not there. Measured: 10,000 in 3 ms."""
        bits = self._bits
        return [chunk for chunk in chunks if chunk not in bits]

    @property
    def count(self) -> int:
        """About how many chunks it holds."""
        return int(self._bits.approx_items)

    def encode(self) -> bytes:
        """As it travels."""
        head = _HEAD.pack(FORMAT, self.generation, self._salt, self.capacity)
        return head + zstandard.ZstdCompressor(write_content_size=True).compress(self._bits.save_bytes())


def decode_summary(data: bytes | memoryview) -> Summary:
    """A stranger's summary. Never allocates more than its capacity asks for. Raises `Malformed`."""
    if len(data) < _HEAD.size:
        raise Malformed("a summary is too short for its head")
    form, generation, salt, capacity = _HEAD.unpack_from(data)
    if form != FORMAT or not CAPACITY_MIN <= capacity <= CAPACITY_MAX:
        raise Malformed(f"a summary of format {form} for {capacity} chunks")
    frame = memoryview(data)[_HEAD.size :]
    try:
        # As in `codec`: the library allocates what the header claims, so that is checked first.
        if frame[: len(zstandard.FRAME_HEADER)] != zstandard.FRAME_HEADER:
            raise Malformed("a summary whose bits are no zstd frame")
        claimed = zstandard.frame_content_size(frame)
        if not 0 < claimed <= 2 * capacity + 64:
            raise Malformed(f"a summary of {claimed} bytes for {capacity} chunks")
        bits = zstandard.ZstdDecompressor().decompress(
            frame, max_output_size=claimed, read_across_frames=False, allow_extra_data=False
        )
        return Summary(salt, capacity, generation, bits)
    except (zstandard.ZstdError, ValueError) as error:
        raise Malformed(f"a summary cannot be read: {error}") from error


class OwnSummary:
    """The summary of what is here, kept up to date as chunks come and go. `everything` names all chunks; it is asked
    when a generation begins. For one thread."""

    def __init__(self, salt: int, everything: Callable[[], Iterable[Hash]], generation: int = 0) -> None:
        """`generation`: above any that this node has told of before; seconds since 1970 will do."""
        self._salt = salt
        self._everything = everything
        self._generation = generation
        self._summary: Summary | None = None
        self._room = 0

    @property
    def generation(self) -> int:
        """Of the summary that `current` gives."""
        return self._generation

    def arrived(self, chunks: Sequence[Hash]) -> None:
        """These are here now. When they are more than the summary was made for, the next generation is larger."""
        if self._summary is None:
            return
        self._room -= len(chunks)
        if self._room < 0:
            self.leaving()
        else:
            self._summary.add(chunks)

    def leaving(self) -> None:
        """To be called before anything is deleted: the summary is void, here and, by its generation, elsewhere."""
        if self._summary is not None:
            self._summary = None
            self._generation += 1

    def current(self) -> Summary:
        """What is here, in the present generation."""
        if self._summary is None:
            chunks = list(self._everything())
            capacity = min(max(2 * len(chunks), CAPACITY_MIN), CAPACITY_MAX)
            self._summary = Summary(self._salt, capacity, self._generation)
            self._summary.add(chunks)
            self._room = capacity - len(chunks) if capacity < CAPACITY_MAX else CAPACITY_MAX
        return self._summary
