"""Listings: they come back as they were, change little when little changes, and a hostile one is refused."""

import random
import struct
import tracemalloc
from contextlib import suppress
from typing import Any
from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.chunking import Chunker, cut_bytes
from forge_p2p.content.link import CHUNK_MAX, MAX_LEVEL, MAX_SIZE, Link
from forge_p2p.content.paths import MAX_DEPTH
from forge_p2p.content.snapshot import (
    MAX_PAGE,
    MAX_PAGE_ENTRIES,
    Entry,
    EntryKind,
    ListingDecoder,
    encode_pages,
    sort_key,
)
from forge_p2p.errors import HostileSnapshot, Malformed

HASH = bytes(range(32))


def a_file(path: bytes, size: int = 5, mtime_ns: int = 1_700_000_000_123_456_789, payload: bytes = HASH) -> Entry:
    return Entry(path, EntryKind.FILE, 0o644, mtime_ns, size, int(size > CHUNK_MAX), payload)


def a_directory(path: bytes) -> Entry:
    return Entry(path, EntryKind.DIRECTORY, 0o755, 0, 0, 0, b"")


def a_symlink(path: bytes, target: bytes = b"../target") -> Entry:
    return Entry(path, EntryKind.SYMLINK, 0o777, 0, 0, 0, target)


def in_order(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: sort_key(entry.path))


def a_tree(directories: int, files: int, seed: int = 0) -> list[Entry]:
    source = random.Random(seed)
    entries = []
    for i in range(directories):
        entries.append(a_directory(b"package-%03d" % i))
        for j in range(files):
            path = b"package-%03d/module_%04d.py" % (i, j)
            entries.append(a_file(path, source.randrange(1 << 20), source.randrange(1 << 60), source.randbytes(32)))
    return entries


def decoded(listing: bytes, step: int = 1 << 16) -> list[Entry]:
    decoder = ListingDecoder()
    entries = [entry for i in range(0, len(listing), step) for entry in decoder.feed(listing[i : i + step])]
    decoder.finish()
    return entries


def paged(rows: list[Any]) -> bytes:
    """A page with anything in it."""
    data = msgspec.msgpack.encode(rows)
    return struct.pack("<I", len(data)) + data


TREE = a_tree(20, 60)
LISTING = b"".join(encode_pages(TREE))


def test_the_order_puts_a_directory_directly_before_what_it_holds() -> None:
    paths = [b"a", b"a/b", b"a/b/c", b"a/b!", b"a/b-c", b"a!", b"a-b", b"a.b", b"ab", b"b"]
    assert sorted(random.Random(1).sample(paths, len(paths)), key=sort_key) == paths


def test_every_kind_comes_back() -> None:
    entries = in_order([
        a_directory(b"empty"),
        a_directory(b"d"),
        a_file(b"d/nothing", 0),
        a_file(b"d/\xff\xfe not utf-8", CHUNK_MAX),
        a_file("d/a\u0308".encode(), CHUNK_MAX + 1, -1),
        a_file("d/ä".encode(), MAX_SIZE, -(1 << 63)),
        a_file(b"newest", 1, (1 << 63) - 1),
        a_symlink(b"d/up", b"../../\xff"),
        a_symlink(b"root", b"/"),
    ])  # fmt: skip
    assert decoded(b"".join(encode_pages(entries))) == entries


def test_a_file_has_a_link() -> None:
    assert a_file(b"x", CHUNK_MAX + 1).link == Link(HASH, CHUNK_MAX + 1, 1)  # type: ignore[arg-type]


def test_nothing_is_an_empty_listing() -> None:
    assert b"".join(encode_pages([])) == b""
    assert decoded(b"") == []


NAMES = st.binary(min_size=1, max_size=6).map(lambda name: b"n" + name.translate(None, b"/\0:\\") + b"n")


@st.composite
def listings(draw: st.DrawFn) -> list[Entry]:
    entries = {}
    directories = [b""]
    for name in draw(st.lists(NAMES, max_size=30)):
        path = draw(st.sampled_from(directories)) + name
        if path in entries:
            continue
        kind = draw(st.sampled_from(EntryKind))
        if kind is EntryKind.DIRECTORY:
            directories.append(path + b"/")
            entries[path] = a_directory(path)
        elif kind is EntryKind.SYMLINK:
            entries[path] = a_symlink(path, draw(st.binary(min_size=1).map(lambda target: target.replace(b"\0", b"0"))))
        else:
            size = draw(st.one_of(st.integers(0, CHUNK_MAX), st.integers(0, MAX_SIZE)))
            mtime = draw(st.integers(-(1 << 63), (1 << 63) - 1))
            entries[path] = a_file(path, size, mtime, draw(st.binary(min_size=32, max_size=32)))
    return in_order(list(entries.values()))


@given(listings(), st.integers(1, 300))
def test_round_trip_in_pieces_of_any_size(entries: list[Entry], step: int) -> None:
    assert decoded(b"".join(encode_pages(entries)), step) == entries


def test_entries_come_out_as_soon_as_their_page_is_there() -> None:
    pages = list(encode_pages(TREE))
    assert len(pages) > 2
    decoder = ListingDecoder()
    assert decoder.feed(pages[0][:-1]) == []
    first = decoder.feed(pages[0][-1:])
    assert first == TREE[: len(first)]
    assert first


def test_one_change_changes_one_page_and_few_chunks() -> None:
    tree = a_tree(100, 200)
    pages = set(encode_pages(tree))
    assert 40 < len(pages) < 200
    chunks = {chunk.hash for chunk in cut_bytes(b"".join(encode_pages(tree)))}
    assert len(chunks) > 8
    for place in (1, 10_000, len(tree) - 1):
        inserted = [*tree[:place], a_file(tree[place - 1].path + b"_new"), *tree[place:]]
        edited = [*tree[:place], msgspec.structs.replace(tree[place], mtime_ns=1), *tree[place + 1 :]]
        removed = [*tree[:place], *tree[place + 1 :]]
        for changed in (inserted if tree[place - 1].kind == EntryKind.FILE else edited, edited, removed):
            assert len(set(encode_pages(changed)) - pages) <= 2
            new = {chunk.hash for batch in Chunker().cut_pieces(encode_pages(changed)) for chunk in batch}
            assert len(new - chunks) <= 3


def test_pages_stay_below_their_limits_whatever_the_names() -> None:
    many = [a_file(b"%08d" % i) for i in range(5 * MAX_PAGE_ENTRIES)]
    without_end = [entry for entry in many if crc32(entry.path) & 0xFF != 0xFF]
    long = in_order([a_symlink(b"n" * 200 + b"%05d" % i, b"t" * 4096) for i in range(1500)])
    for entries in (many, without_end, long):
        pages = list(encode_pages(entries))
        assert max(len(page) for page in pages) <= MAX_PAGE + 4
        assert max(len(msgspec.msgpack.decode(page[4:])) for page in pages) <= MAX_PAGE_ENTRIES
        assert decoded(b"".join(pages)) == entries


def test_deep_trees_pass_up_to_the_limit() -> None:
    def chain(depth: int, name: bytes) -> list[Entry]:
        return [a_directory(b"/".join([name] * i)) for i in range(1, depth + 1)]

    for name in (b"d", b"directory"):
        assert len(decoded(b"".join(encode_pages(chain(MAX_DEPTH, name))))) == MAX_DEPTH
        with pytest.raises(HostileSnapshot, match="deep"):
            decoded(b"".join(paged([entry]) for entry in chain(MAX_DEPTH + 1, name)))


def hostile_paths() -> dict[str, list[Entry]]:
    return {
        "parent is a symlink": [a_symlink(b"s", b"/etc"), a_file(b"s/passwd")],
        "parent is a file": [a_file(b"f"), a_file(b"f/x")],
        "no parent": [a_file(b"d/x")],
        "parent comes later": [a_file(b"d/x"), a_directory(b"d")],
        "parent was left": [a_directory(b"d"), a_directory(b"d/e"), a_file(b"d/f"), a_file(b"g/e/x")],
        "sibling's child": [a_directory(b"d"), a_directory(b"d/e"), a_directory(b"f"), a_file(b"f/e/x")],
        "absolute": [a_file(b"/passwd")],
        "absolute, deeper": [a_directory(b"etc"), a_file(b"/etc/passwd")],
        "dot dot": [a_directory(b".."), a_file(b"../x")],
        "up and down": [a_directory(b"d"), a_directory(b"d/.."), a_file(b"d/../x")],
        "git": [a_directory(b".git"), a_directory(b".git/hooks"), a_file(b".git/hooks/post-checkout")],
        "git below": [a_directory(b"d"), a_directory(b"d/.GIT")],
        "device": [a_file(b"NUL")],
        "trailing dot": [a_file(b"a.")],
        "300 bytes": [a_file(b"n" * 300)],
        "300 bytes below": [a_directory(b"d"), a_file(b"d/" + b"n" * 300)],
        "zero byte": [a_file(b"a\0b")],
        "empty name": [a_directory(b"d"), a_directory(b"d/"), a_file(b"d//x")],
    }


@pytest.mark.parametrize("name", hostile_paths())
def test_hostile_paths_are_refused_by_name(name: str) -> None:
    entries = hostile_paths()[name]
    with pytest.raises(HostileSnapshot, match="refused entry"):
        decoded(paged(entries))
    with pytest.raises(HostileSnapshot, match="refused entry"):
        list(encode_pages(entries))


def row(**changes: Any) -> list[Any]:
    fields = {"path": b"x", "kind": 0, "mode": 0o644, "mtime_ns": 5, "size": 5, "level": 0, "payload": HASH}
    return list((fields | changes).values())


def malformed_rows() -> dict[str, list[Any]]:
    without_content = {"mtime_ns": 0, "size": 0}
    return {
        "twice": [row(), row()],
        "unsorted": [row(path=b"b"), row(path=b"a")],
        "empty path": [row(path=b"")],
        "path of 4097": [row(path=b"n/" * 2048 + b"n")],
        "kind 3": [row(kind=3)],
        "kind -1": [row(kind=-1)],
        "setuid": [row(mode=0o4755)],
        "negative mode": [row(mode=-1)],
        "mtime of 64 bits": [row(mtime_ns=1 << 63)],
        "negative size": [row(size=-1)],
        "a petabyte and one": [row(size=MAX_SIZE + 1, level=1)],
        "size of 2^60": [row(size=1 << 60, level=1)],
        "level too low": [row(size=CHUNK_MAX + 1)],
        "level too high": [row(size=CHUNK_MAX, level=1)],
        "level 7": [row(size=MAX_SIZE, level=MAX_LEVEL + 1)],
        "hash of 31": [row(payload=HASH[1:])],
        "hash of 33": [row(payload=HASH + b"x")],
        "directory with payload": [row(kind=1, **without_content)],
        "directory with size": [row(kind=1, mtime_ns=0, payload=b"")],
        "directory with time": [row(kind=1, size=0, payload=b"")],
        "directory with level": [row(kind=1, **without_content, level=1, payload=b"")],
        "symlink without target": [row(kind=2, **without_content, payload=b"")],
        "symlink to a zero byte": [row(kind=2, **without_content, payload=b"a\0b")],
        "symlink of 4097": [row(kind=2, **without_content, payload=b"t" * 4097)],
        "path is text": [row(path="x")],
        "path is nothing": [row(path=None)],
        "size is a float": [row(size=5.0)],
        "kind is a bool": [row(kind=False)],
        "a field too many": [[*row(), 0]],
        "a field too few": [row()[:-1]],
        "not a row": [5],
        "no entries": [],
        "too many entries": [row(path=b"%08d" % i) for i in range(MAX_PAGE_ENTRIES + 1)],
    }


@pytest.mark.parametrize("name", malformed_rows())
def test_malformed_rows(name: str) -> None:
    with pytest.raises(Malformed, match="listing"):
        decoded(paged(malformed_rows()[name]))


def test_order_holds_between_pages() -> None:
    with pytest.raises(Malformed, match="not sorted"):
        decoded(paged([a_file(b"b")]) + paged([a_file(b"a")]))
    assert len(decoded(paged([a_directory(b"a")]) + paged([a_file(b"a/b")]))) == 2


PAGES = {
    "no bytes": struct.pack("<I", 0),
    "a page of 4 GiB": struct.pack("<I", 0xFFFFFFFF),
    "a page above the limit": struct.pack("<I", MAX_PAGE + 1),
    "an array of 2^32 entries": struct.pack("<I", 5) + b"\xdd\xff\xff\xff\xff",
    "a name of 4 GiB": struct.pack("<I", 7) + b"\x91\x97\xc6\xff\xff\xff\xff",
    "deep nesting": struct.pack("<I", 500_000) + b"\x91" * 500_000,
    "something behind the array": struct.pack("<I", 2) + b"\x90\x00",
    "a map": paged([{"path": b"x"}]),
}


@pytest.mark.parametrize("name", PAGES)
def test_malformed_pages_are_refused_without_memory(name: str) -> None:
    tracemalloc.start()
    with pytest.raises(Malformed):
        decoded(PAGES[name])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MAX_PAGE


def test_a_listing_that_stops_early_is_malformed() -> None:
    for end in (1, 3, 4, 5, len(LISTING) - 1):
        decoder = ListingDecoder()
        decoder.feed(LISTING[:end])
        with pytest.raises(Malformed, match="ends within a page"):
            decoder.finish()


@given(st.integers(0, 2**32))
def test_mutated_listings_are_entries_or_refused(seed: int) -> None:
    source = random.Random(seed)
    listing = bytearray(LISTING[: source.randrange(1, len(LISTING))])
    for _ in range(source.randrange(1, 6)):
        listing[source.randrange(min(len(listing), 4000))] = source.randrange(256)
    with suppress(Malformed, HostileSnapshot):
        entries = decoded(bytes(listing))
        assert list(in_order(entries)) == entries


@given(st.binary(max_size=200))
def test_any_bytes_are_entries_or_refused(data: bytes) -> None:
    with suppress(Malformed, HostileSnapshot):
        decoded(struct.pack("<I", len(data)) + data)
