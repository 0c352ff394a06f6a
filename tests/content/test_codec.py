"""Stored forms: adaptive encoding, and decoding that a hostile form can neither fool nor make allocate."""

import random
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import lz4.block
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from forge_p2p.content.codec import Codec, Effort, EncodedChunk, decode, encode
from forge_p2p.content.link import CHUNK_MAX, hash_bytes
from forge_p2p.errors import CorruptChunk
from tests.content.inputs import noise, prose

SIZES = [0, 1, 2, 15, 16, 17, 4096, 65536, CHUNK_MAX - 1, CHUNK_MAX]


def encoded(raw: bytes, effort: Effort = Effort.WARM) -> EncodedChunk:
    return encode(hash_bytes(raw), raw, effort)


@pytest.mark.parametrize("effort", Effort)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [noise, prose, bytes], ids=["noise", "prose", "zeros"])
def test_round_trip(make: type[bytes], size: int, effort: Effort) -> None:
    raw = make(size)
    chunk = encoded(raw, effort)
    assert chunk.size == size
    assert len(chunk.data) <= size
    assert decode(chunk) == raw
    assert decode(replace(chunk, data=memoryview(chunk.data))) == raw


@given(st.binary(max_size=2000), st.sampled_from(Effort), st.sampled_from([bytes, bytearray, memoryview]))
def test_round_trip_of_any_buffer(raw: bytes, effort: Effort, kind: type[bytes]) -> None:
    assert decode(encode(hash_bytes(raw), kind(raw), effort)) == raw


@pytest.mark.parametrize(
    ("effort", "codec"), [(Effort.HOT, Codec.LZ4), (Effort.WARM, Codec.ZSTD), (Effort.COLD, Codec.ZSTD)]
)
def test_what_compresses_is_compressed(effort: Effort, codec: Codec) -> None:
    chunk = encoded(prose(100_000), effort)
    assert chunk.codec is codec
    assert len(chunk.data) < 70_000


@pytest.mark.parametrize("effort", Effort)
def test_what_does_not_compress_stays_as_it_is_without_a_copy(effort: Effort) -> None:
    raw = noise(100_000)
    chunk = encoded(raw, effort)
    assert chunk.codec is Codec.RAW
    assert chunk.data is raw


def test_a_saving_of_less_than_a_sixteenth_is_not_taken() -> None:
    def form(zeros: int) -> Codec:
        return encoded(noise(64_000 - zeros) + bytes(zeros)).codec

    assert form(64_000 // 16 - 200) is Codec.RAW
    assert form(64_000 // 16 + 400) is Codec.ZSTD


def test_colder_is_smaller() -> None:
    raw = prose(200_000)
    hot, warm, cold = (len(encoded(raw, effort).data) for effort in Effort)
    assert cold < warm < hot


def test_threads_do_not_disturb_each_other() -> None:
    raws = [prose(50_000 + i, seed=i) for i in range(24)]

    def there_and_back(raw: bytes) -> bool:
        return all(decode(encoded(raw, effort)) == raw for effort in (Effort.HOT, Effort.WARM))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(there_and_back, raws * 4))


@pytest.mark.parametrize("effort", Effort)
@pytest.mark.parametrize("raw", [b"x", noise(5000), prose(5000)], ids=["one", "noise", "prose"])
def test_any_damage_is_refused(raw: bytes, effort: Effort) -> None:
    chunk = encoded(raw, effort)
    data = bytes(chunk.data)
    damaged = [data[:-1], data[1:], data + b"\0", data + data, b"", data + zstandard.compress(b"")]
    for changed in damaged:
        with pytest.raises(CorruptChunk):
            decode(replace(chunk, data=changed))
    with pytest.raises(CorruptChunk, match=r"chunk [0-9a-f]{16} does not match its hash"):
        decode(replace(chunk, hash=hash_bytes(b"other")))
    for size in (chunk.size - 1, chunk.size + 1, 0, -1, CHUNK_MAX + 1, 1 << 60):
        with pytest.raises(CorruptChunk):
            decode(replace(chunk, size=size))


@given(st.integers(0, 2**32), st.sampled_from(Effort))
def test_random_mutation_is_refused(seed: int, effort: Effort) -> None:
    source = random.Random(seed)
    raw = prose(3000, seed % 5)
    chunk = encoded(raw, effort)
    data = bytearray(chunk.data)
    for _ in range(source.randrange(1, 4)):
        data[source.randrange(len(data))] ^= source.randrange(1, 256)
    with suppress(CorruptChunk):
        assert decode(replace(chunk, data=bytes(data))) == raw  # a bit that the format ignores


@given(st.binary(max_size=300), st.sampled_from(Codec), st.integers(0, CHUNK_MAX))
def test_any_bytes_as_a_form(data: bytes, codec: Codec, size: int) -> None:
    with pytest.raises(CorruptChunk):
        decode(EncodedChunk(hash_bytes(b"never this"), codec, size, data))


def bombs() -> dict[str, EncodedChunk]:
    huge = 256 << 20
    name = hash_bytes(b"")
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(huge))
    sized = zstandard.compress(bytes(huge))
    # A frame header of RFC 8878, 3.1.1.1: single segment, 8 byte content size, and no block.
    claim = bytes.fromhex("28b52ffd") + b"\xe0" + (1 << 60).to_bytes(8, "little")
    return {
        "zstd with its size": EncodedChunk(name, Codec.ZSTD, CHUNK_MAX, sized),
        "zstd without size": EncodedChunk(name, Codec.ZSTD, CHUNK_MAX, unsized),
        "zstd that claims 2^60": EncodedChunk(name, Codec.ZSTD, CHUNK_MAX, claim),
        "declared 2^60": EncodedChunk(name, Codec.ZSTD, 1 << 60, claim),
        "lz4": EncodedChunk(name, Codec.LZ4, CHUNK_MAX, lz4.block.compress(bytes(huge), store_size=False)),
        "lz4 declared 2^60": EncodedChunk(name, Codec.LZ4, 1 << 60, b"\0"),
        "two frames": EncodedChunk(name, Codec.ZSTD, 1, zstandard.compress(b"x") + sized),
        "skippable frame": EncodedChunk(name, Codec.ZSTD, 0, b"\x50\x2a\x4d\x18\xff\xff\xff\x7f"),
    }


@pytest.mark.parametrize("name", bombs())
def test_bombs_are_refused_without_memory(name: str) -> None:
    bomb = bombs()[name]
    tracemalloc.start()
    with pytest.raises(CorruptChunk):
        decode(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * CHUNK_MAX


def test_unknown_codec() -> None:
    with pytest.raises(CorruptChunk, match="codec 9"):
        decode(replace(encoded(b"x"), codec=9))  # as a record on disk could say
