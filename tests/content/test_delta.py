"""Deltas: what goes in comes out, hostile bytes raise one error, and nothing allocates more than it declares."""

import random
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.delta import (
    PIECE_HASH,
    SIGNATURE_MAX,
    DeltaChunk,
    DeltaForm,
    apply,
    from_base,
    from_signature,
    sign,
)
from forge_p2p.content.link import CHUNK_MAX, hash_bytes
from forge_p2p.errors import CorruptChunk, Malformed
from forge_p2p.ids import Hash

Make = Callable[[Hash, bytes, bytes], DeltaChunk]
MAKERS: dict[str, Make] = {
    "base": from_base,
    "pieces": lambda chunk, new, base: from_signature(chunk, new, sign(base)),
}
SIZES = [0, 1, 63, 64, 255, 256, 257, 16_384, 16_385, 98_304, 98_305, CHUNK_MAX - 1, CHUNK_MAX]


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@st.composite
def edited(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A base, and the same after some edits."""
    base = noise(draw(st.integers(0, 9)), draw(st.sampled_from(SIZES)))
    new = bytearray(base)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(new)))
        new[at : at + draw(st.integers(0, 300))] = draw(st.binary(max_size=300))
    return base, bytes(new[:CHUNK_MAX])


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@given(edited())
def test_what_goes_in_comes_out(make: Make, versions: tuple[bytes, bytes]) -> None:
    base, new = versions
    assert apply(make(hash_bytes(new), new, base), base) == new


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@given(st.binary(max_size=3000), st.binary(max_size=3000))
def test_versions_may_have_nothing_in_common(make: Make, base: bytes, new: bytes) -> None:
    assert apply(make(hash_bytes(new), new, base), memoryview(base)) == new


@pytest.mark.parametrize(("make", "most"), [(MAKERS["base"], 200), (MAKERS["pieces"], 10_000)], ids=MAKERS)
@pytest.mark.parametrize("size", [20_000, 65_536, 200_000])
def test_an_edit_is_small(make: Make, most: int, size: int) -> None:
    base = noise(1, size)
    new = base[: size // 2] + b"one more line" + base[size // 2 :]
    assert len(make(hash_bytes(new), new, base).data) < most
    assert len(sign(base)) <= 1 + PIECE_HASH * size // 128


@pytest.mark.parametrize("size", SIZES)
def test_signatures_keep_their_bounds(size: int) -> None:
    assert len(sign(noise(2, size))) <= SIGNATURE_MAX
    assert len(sign(bytes(size))) <= SIGNATURE_MAX


@given(st.binary(max_size=200))
def test_a_signature_is_taken_or_malformed(signature: bytes) -> None:
    new = noise(3, 5000)
    try:
        delta = from_signature(hash_bytes(new), new, signature)
    except Malformed:
        return
    assert len(delta.data) < 6000


def test_a_signature_that_names_one_piece_a_thousand_times() -> None:
    new = bytes(CHUNK_MAX)
    signature = sign(new)[:1] + sign(new)[1 : 1 + PIECE_HASH] * 1024
    assert len(from_signature(hash_bytes(new), new, signature).data) < 1000


@pytest.mark.parametrize("form", DeltaForm)
@given(st.binary(max_size=300), st.integers(0, CHUNK_MAX))
def test_any_bytes_are_a_delta_or_corrupt(form: DeltaForm, data: bytes, size: int) -> None:
    with pytest.raises(CorruptChunk):
        apply(DeltaChunk(hash_bytes(b"something else"), form, size, data), noise(1, 3000))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@given(st.data())
def test_a_flipped_bit_is_noticed(make: Make, data: st.DataObject) -> None:
    base, new = noise(1, 20_000), noise(1, 20_000) + b"more"
    delta = make(hash_bytes(new), new, base)
    broken = bytearray(delta.data)
    broken[data.draw(st.integers(0, len(broken) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        assert apply(DeltaChunk(delta.hash, delta.form, delta.size, bytes(broken)), base) == new
    except CorruptChunk:
        return


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_another_base_is_noticed(make: Make) -> None:
    base = noise(1, 50_000)
    new = base + b"more"
    with pytest.raises(CorruptChunk):
        apply(make(hash_bytes(new), new, base), noise(2, 50_000))


def test_bombs_are_refused() -> None:
    packed = zstandard.ZstdCompressor().compress(bytes(64 << 20))
    name = hash_bytes(b"")
    for size in (0, CHUNK_MAX, 64 << 20):
        with pytest.raises(CorruptChunk):
            apply(DeltaChunk(name, DeltaForm.BASE, size, packed), b"base")
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(CHUNK_MAX))
    with pytest.raises(CorruptChunk):
        apply(DeltaChunk(name, DeltaForm.BASE, CHUNK_MAX, unsized), b"base")
    skippable = b"\x50\x2a\x4d\x18\xff\xff\xff\xff"
    with pytest.raises(CorruptChunk):
        apply(DeltaChunk(name, DeltaForm.BASE, CHUNK_MAX, skippable), b"base")
