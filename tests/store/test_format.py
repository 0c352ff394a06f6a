"""The bytes on disk, exactly as `docs/storage.md` gives them: another version of Forge has to read them."""

import struct
from pathlib import Path

import lmdb
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_hexdigest, xxh3_64_intdigest

from forge_p2p.content.codec import Codec, EncodedChunk
from forge_p2p.content.link import CHUNK_MAX, Kind, Link, Root
from forge_p2p.ids import Hash
from forge_p2p.store.base import Keep, Pin
from forge_p2p.store.pinrecords import pack_pin, pin_at, unpack_pin
from forge_p2p.store.records import (
    JOURNAL_ROW,
    NOWHERE,
    JournalHead,
    Slice,
    inline_at,
    journal_rows,
    pack_inline,
    pack_journal_head,
    pack_journal_row,
    pack_slice,
    unpack_inline,
    unpack_journal_head,
    unpack_slice,
)
from tests.store.inputs import big, blob, encoded, fill, named, noise, open_bare

ROOT = Root(Kind.TREE, Link(Hash(bytes(range(32))), 1 << 40, 3))

chunks = st.builds(
    lambda raw, size, codec: EncodedChunk(named(raw)[0], codec, size, raw),
    st.binary(max_size=300),
    st.integers(0, CHUNK_MAX),
    st.sampled_from(Codec),
)


def check_of(chunk: EncodedChunk) -> int:
    """As documented: XXH3-64 with a seed of hash, size and codec."""
    return xxh3_64_intdigest(chunk.data, int.from_bytes(chunk.hash[:8], "little") ^ (chunk.size << 8 | chunk.codec))


def test_inline_record() -> None:
    (chunk,) = encoded([named(b"forge " * 1000)])
    assert chunk.codec == Codec.ZSTD
    expected = b"FgC1\x02\0\0\0" + struct.pack("<IIIQ", 6000, len(chunk.data), 1_700_000_000, check_of(chunk))
    assert pack_inline(chunk, 1_700_000_000) == expected + chunk.hash + chunk.data
    assert pack_inline(chunk, 0, cold=True)[5] == 1


def test_journal() -> None:
    head = JournalHead(0xAB00000000000001, 1_700_000_000, shared=True)
    assert pack_journal_head(head) == b"FgSlice1" + struct.pack("<QQB39x", head.file_id, head.created, 1)
    (chunk,) = encoded([named(noise(1, 100))])
    where = Slice(head.file_id, 1 << 33, 100, 100, 0, check_of(chunk))
    row = pack_journal_row(chunk.hash, where, 1_700_000_001)
    assert row == chunk.hash + struct.pack("<QIIIIQ", 1 << 33, 100, 100, 0, 1_700_000_001, where.check)
    assert len(row) == JOURNAL_ROW == 64


def test_identity_file(tmp_path: Path) -> None:
    open_bare(tmp_path / "store").close()
    first, second, third = (tmp_path / "store" / "identity").read_text().splitlines()
    assert first == "forge store 1"
    assert len(bytes.fromhex(second)) == 16
    assert third == xxh3_64_hexdigest(f"{first}\n{second}\n".encode())


def test_pin_record() -> None:
    pin = Pin("a name", ROOT, Keep.CACHED, 2e9, 1.7e9)
    value = pack_pin(pin)
    magic, size, check = struct.unpack_from("<6sHQ", value)
    assert (magic, size) == (b"FgPin1", len(value) - 16)
    assert check == xxh3_64_intdigest(value[16:])
    assert unpack_pin(value) == pin


def test_tables_and_files_of_a_store(tmp_path: Path) -> None:
    """Read with LMDB alone."""
    chunks = big(1, 4 * CHUNK_MAX)
    small = named(noise(5, 1000))
    store = open_bare(tmp_path / "store")
    fill(store, [*chunks, small], group=1)
    fill(store, [named(noise(6, 1000))])
    store.pin("ü", blob(small))
    store.close()
    with lmdb.open(str(tmp_path / "store" / "store.lmdb"), subdir=False, max_dbs=8) as database:
        tables = {name: database.open_db(name.encode(), create=False) for name in ("inline", "pins", "meta")}
        with database.begin() as transaction:
            ((key, value),) = transaction.cursor(tables["inline"])
            ((name, _),) = transaction.cursor(tables["pins"])
            identity = transaction.get(b"identity", b"", tables["meta"])
    assert key == named(noise(6, 1000))[0]
    assert value[28:60] == key
    assert value[60:] == noise(6, 1000)
    assert name == "ü".encode()
    assert (tmp_path / "store" / "identity").read_text().splitlines()[1] == identity.hex()
    with lmdb.open(str(tmp_path / "store" / "index.lmdb"), subdir=False, max_dbs=8) as database:
        tables = {name: database.open_db(name.encode(), create=False) for name in ("slices", "files", "meta")}
        with database.begin() as transaction:
            rows = dict(transaction.cursor(tables["slices"]))
            ((file_key, file_row),) = transaction.cursor(tables["files"])
            assert transaction.get(b"whole", db=tables["meta"]) == identity
    data = (tmp_path / "store" / "files" / file_key[:1].hex() / f"{file_key.hex()}.data").read_bytes()
    assert data == b"".join(raw for _, raw in chunks) + small[1]
    for chunk, raw in [*chunks, small]:
        file_id, offset, stored, size, codec, _ = struct.unpack("<QQIIBQ", rows[chunk])
        assert file_id == int.from_bytes(file_key)
        assert (data[offset : offset + stored], size, codec) == (raw, len(raw), 0)
    assert struct.unpack("<QIIQd?", file_row)[:4] == (len(data), 5, 5, len(data))


@given(chunks, st.integers(0, 2**32 - 1), st.booleans())
def test_inline_records_round_trip_anywhere(chunk: EncodedChunk, added: int, cold: bool) -> None:
    value = pack_inline(chunk, added, cold=cold)
    record = unpack_inline(value)
    assert record is not None
    assert (record.codec, record.size, record.added, record.cold) == (chunk.codec, chunk.size, added, cold)
    assert record.data == chunk.data
    assert inline_at(b"xyz" + value + b"rest", 3) == (chunk.hash, record)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_record_or_none(data: bytes) -> None:
    unpack_inline(data)
    inline_at(data, 0)
    pin_at(data, 0)
    unpack_slice(data)
    unpack_journal_head(data)
    list(journal_rows(data))


@given(st.integers(0, 2**64 - 1), st.integers(0, 1 << 48), st.integers(0, CHUNK_MAX), st.sampled_from(Codec))
def test_slices_round_trip(file_id: int, offset: int, stored: int, codec: Codec) -> None:
    where = Slice(file_id, offset, stored, stored, codec, 7)
    assert unpack_slice(pack_slice(where)) == where
    assert unpack_slice(pack_slice(where._replace(codec=3))) is NOWHERE
    assert unpack_slice(pack_slice(where._replace(stored=CHUNK_MAX + 1))) is NOWHERE
