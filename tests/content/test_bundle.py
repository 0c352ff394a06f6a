"""Bundles, indexes and the catalogue's records: what goes in comes out, and what strangers wrote is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.bundle import (
    ROW_SIZE,
    TAIL_SIZE,
    Bundle,
    BundleBuilder,
    Held,
    checked_rows,
    decode_index,
    encode_index,
    rows_size,
)
from forge_p2p.content.catalogue import (
    BlobName,
    CatalogueRecord,
    Checkpoint,
    IndexEntry,
    PinEntry,
    State,
    decode_checkpoint,
    decode_step,
    encode,
)
from forge_p2p.content.codec import decode
from forge_p2p.content.codec import encode as encode_chunk
from forge_p2p.content.link import hash_bytes
from forge_p2p.errors import CorruptChunk, Malformed

NONCE = bytes(range(16))
CONTENTS = st.lists(st.binary(max_size=2000) | st.builds(bytes, st.integers(0, 5000)), min_size=1, max_size=20)


def bundled(contents: list[bytes], nonce: bytes = NONCE) -> Bundle:
    builder = BundleBuilder(nonce)
    for content in contents:
        builder.add(encode_chunk(hash_bytes(content), content))
    return builder.finish()


@given(CONTENTS)
def test_a_bundle_can_be_read_from_its_end(contents: list[bytes]) -> None:
    bundle = bundled(contents)
    assert bundle.name == hash_bytes(bundle.data)
    size = len(bundle.data)
    tail = bundle.data[-TAIL_SIZE:]
    rows = checked_rows(size, bundle.data[size - TAIL_SIZE - rows_size(size, tail) : -TAIL_SIZE], tail)
    found = [
        decode(each.chunk(bundle.data[each.offset :][: each.length])) for each in Held(bundle.name, size, rows).slices()
    ]
    assert [bytes(each) for each in found] == contents


@given(st.lists(CONTENTS, max_size=4))
def test_an_index_says_what_its_bundles_say(groups: list[list[bytes]]) -> None:
    bundles = [bundled(group) for group in groups]
    held = [Held(each.name, len(each.data), each.rows) for each in bundles]
    assert [(each.name, each.size, bytes(each.rows)) for each in decode_index(encode_index(held, NONCE))] == [
        (each.name, each.size, each.rows) for each in held
    ]


def test_the_name_of_a_bundle_does_not_follow_from_its_content() -> None:
    assert bundled([b"known"], bytes(16)).name != bundled([b"known"], NONCE).name


@given(st.binary(max_size=400))
def test_garbage_is_malformed(data: bytes) -> None:
    for decoder in (
        decode_index,
        decode_checkpoint,
        lambda data: decode_step(data, 1),
        lambda data: rows_size(99, data),
    ):
        with pytest.raises(Malformed):
            decoder(data)


@given(st.data())
def test_a_changed_index_is_malformed_or_says_something_possible(data: st.DataObject) -> None:
    bundle = bundled([b"one", b"two", bytes(100)])
    encoded = bytearray(encode_index([Held(bundle.name, len(bundle.data), bundle.rows)], NONCE))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        for held in decode_index(bytes(encoded)):
            for each in held.slices():
                assert each.offset + each.length <= held.size
    except Malformed:
        return


def test_a_damaged_form_is_noticed() -> None:
    bundle = bundled([b"a chunk"])
    (each,) = Held(bundle.name, len(bundle.data), bundle.rows).slices()
    with pytest.raises(CorruptChunk, match="damaged in bundle"):
        each.chunk(b"a chunK")


def test_rows_that_do_not_match_their_tail_are_malformed() -> None:
    bundle = bundled([b"a", b"b"])
    with pytest.raises(Malformed):
        checked_rows(len(bundle.data), bytes(2 * ROW_SIZE), bundle.data[-TAIL_SIZE:])


def blob(word: str) -> str:
    return hash_bytes(word.encode()).hex()


def entry(word: str) -> IndexEntry:
    return IndexEntry(BlobName(blob(word), 1), 1, [BlobName(blob(f"bundle of {word}"), 2)])


def step(seq: int, **what: object) -> CatalogueRecord:
    return CatalogueRecord(1, seq, float(seq), "me", **what)  # type: ignore[arg-type]


def test_the_state_is_what_the_records_say() -> None:
    state = State()
    pin = PinEntry("name", "link", 1.0)
    for record in [
        step(1, indexes=[entry("a")], pins=[pin]),
        step(2, indexes=[entry("b"), entry("c")]),
        step(3, dropped=[blob("a"), blob("bundle of a")], unpins=["name"]),
        step(4, swept=[blob("a")]),
    ]:
        state.apply(decode_step(encode(record), record.seq))
    assert state.bundles == {blob("bundle of b"): 2, blob("bundle of c"): 2}
    assert state.pins == {}
    assert state.dropped == {blob("bundle of a"): 3.0}
    assert state.ever_dropped == {blob("a"), blob("bundle of a")}
    resumed = State.resumed(decode_checkpoint(encode(state.checkpoint())))
    assert (resumed.seq, resumed.bundles, resumed.dropped) == (4, state.bundles, state.dropped)


def test_a_record_out_of_turn_is_malformed() -> None:
    with pytest.raises(Malformed, match="cannot follow"):
        State().apply(step(2))
    with pytest.raises(Malformed, match="says that it is 2"):
        decode_step(encode(step(2)), 1)


HOSTILE = ["", "../../../etc/passwd", "/etc/passwd", "AB" * 32, "ab" * 31, "ab" * 32 + "\n", "ab" * 31 + "/.", "é" * 64]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_hash_names_no_blob(name: str) -> None:
    """It would be read, or deleted, by whoever collects: in a folder that is a path."""
    named = BlobName(name, 1)
    for record in [
        step(1, indexes=[IndexEntry(named, 1, [])]),
        step(1, indexes=[IndexEntry(BlobName(blob("a"), 1), 1, [named])]),
        step(1, indexes=[IndexEntry(BlobName(blob("a"), 1), 1, [], named)]),
        step(1, dropped=[name]),
        step(1, swept=[name]),
    ]:
        with pytest.raises(Malformed):
            decode_step(encode(record), 1)
    for checkpoint in [
        Checkpoint(1, 1, [], [], {name: 0.0}),
        Checkpoint(1, 1, [IndexEntry(named, 1, [])], [], {}),
    ]:
        with pytest.raises(Malformed):
            decode_checkpoint(encode(checkpoint))


@pytest.mark.parametrize("text", ["\x1b]0;owned\x07", "two\nlines", "\x9b31m", "x" * 5000])
def test_nothing_that_a_terminal_obeys_is_the_name_of_a_pin(text: str) -> None:
    for record in [step(1, pins=[PinEntry(text, "link", 1.0)]), step(1, unpins=[text])]:
        with pytest.raises(Malformed):
            decode_step(encode(record), 1)
