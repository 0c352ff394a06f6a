"""List nodes: every content's chunks come back in order, nodes are stable, and hostile nodes are refused."""

import random
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_p2p.content.link import CHUNK_MAX, MAX_LEVEL, MAX_SIZE, Link, hash_bytes
from forge_p2p.content.tree import CHILDREN_MAX, CHILDREN_MIN, NODE_MAX, TreeBuilder, decode_node, overlapping
from forge_p2p.errors import Malformed, UsageError
from forge_p2p.ids import Hash

Chunks = list[tuple[Hash, int]]
Nodes = dict[Hash, bytes]


def some_chunks(count: int, seed: int = 0) -> Chunks:
    source = random.Random(seed)
    return [(Hash(source.randbytes(32)), source.randrange(1, CHUNK_MAX + 1)) for _ in range(count)]


def build(chunks: Chunks) -> tuple[Link, Nodes]:
    builder = TreeBuilder()
    builder.add_all(chunks)
    link = builder.finish()
    return link, dict(builder.take_nodes())


def leaves(link: Link, nodes: Nodes) -> Chunks:
    if link.level == 0:
        return [(link.hash, link.size)]
    return [leaf for child in decode_node(link, nodes[link.hash]) for leaf in leaves(child, nodes)]


COUNTS = [1, 2, 3, CHILDREN_MIN - 1, CHILDREN_MIN, CHILDREN_MIN + 1, 500, CHILDREN_MAX, CHILDREN_MAX + 1, 20_000]


@pytest.mark.parametrize("count", COUNTS)
def test_chunks_come_back_in_order(count: int) -> None:
    chunks = some_chunks(count)
    link, nodes = build(chunks)
    assert leaves(link, nodes) == chunks
    assert link.size == sum(size for _, size in chunks)
    assert all(hash_bytes(node) == name and len(node) <= NODE_MAX for name, node in nodes.items())
    assert link.level == (0 if count == 1 else 1 if len(nodes) == 1 else 2)


def test_no_bytes_are_a_link_too() -> None:
    assert build([]) == (Link(hash_bytes(b""), 0, 0), {})
    assert build([(hash_bytes(b""), 0)]) == (Link(hash_bytes(b""), 0, 0), {})


def hashes_ending(byte: int, count: int) -> Chunks:
    """Chunks whose hashes all end alike, so that nodes are as small (0) or as large (1) as can be."""
    return [(Hash(i.to_bytes(31, "big") + bytes((byte,))), CHUNK_MAX) for i in range(count)]


@pytest.mark.parametrize(("byte", "fan_out"), [(0, CHILDREN_MIN), (1, CHILDREN_MAX)])
@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_the_smallest_and_the_largest_nodes(byte: int, fan_out: int, extra: int) -> None:
    chunks = hashes_ending(byte, 3 * fan_out + extra)
    link, nodes = build(chunks)
    assert leaves(link, nodes) == chunks
    assert link.level == 2
    sizes = [child.size for child in decode_node(link, nodes[link.hash])]
    assert sizes[:2] == [fan_out * CHUNK_MAX] * 2
    assert len(sizes) == (4 if extra == 1 else 3)


def test_exactly_one_full_node_has_nothing_above_it() -> None:
    link, nodes = build(hashes_ending(0, CHILDREN_MIN))
    assert (link.level, len(nodes)) == (1, 1)


def test_the_largest_content_fits_the_levels() -> None:
    smallest_chunks_a_node = CHILDREN_MIN**MAX_LEVEL
    assert smallest_chunks_a_node * 16 * 1024 >= MAX_SIZE


def test_more_than_a_link_can_name_is_refused() -> None:
    builder = TreeBuilder()
    builder.add(Hash(bytes(32)), MAX_SIZE)
    with pytest.raises(UsageError, match="larger than"):
        builder.add(Hash(bytes(32)), 1)


@settings(max_examples=30)
@given(st.integers(0, 3000), st.data())
def test_taking_nodes_early_changes_nothing(count: int, data: st.DataObject) -> None:
    chunks = some_chunks(count, seed=count)
    places = data.draw(st.sets(st.integers(0, max(count - 1, 0)), max_size=8))
    builder = TreeBuilder()
    nodes: Nodes = {}
    for i, (name, size) in enumerate(chunks):
        if i in places:
            nodes |= builder.take_nodes()
        builder.add(name, size)
    link = builder.finish()
    nodes |= builder.take_nodes()
    assert (link, nodes) == build(chunks)
    assert builder.take_nodes() == []


def test_a_change_rewrites_one_node_a_level() -> None:
    chunks = some_chunks(20_000)
    old = set(build(chunks)[1])
    assert len(old) > 40
    for place in (0, 10_000, 20_000):
        new = set(build(chunks[:place] + some_chunks(1, seed=9) + chunks[place:])[1])
        assert 2 <= len(new - old) <= 4


@settings(max_examples=40)
@given(st.integers(2, 2000), st.data())
def test_a_range_leads_to_the_chunks_that_hold_it(count: int, data: st.DataObject) -> None:
    chunks = some_chunks(count, seed=count)
    link, nodes = build(chunks)
    start = data.draw(st.integers(0, link.size))
    stop = data.draw(st.integers(start, link.size))

    def within(link: Link, base: int) -> list[tuple[int, Hash]]:
        if link.level == 0:
            return [(base, link.hash)]
        found = overlapping(decode_node(link, nodes[link.hash]), base, start, stop)
        return [leaf for offset, child in found for leaf in within(child, offset)]

    expected = []
    offset = 0
    for name, size in chunks:
        if offset < stop and offset + size > start:
            expected.append((offset, name))
        offset += size
    assert within(link, 0) == expected


LINK, NODES = build(some_chunks(40))
NODE = NODES[LINK.hash]


def row(size: int) -> bytes:
    return bytes(32) + size.to_bytes(8, "little")


HOSTILE = {
    "empty": (LINK, b""),
    "header cut": (LINK, b"\x01"),
    "no rows": (Link(LINK.hash, 0, 1), NODE[:2]),
    "row cut": (LINK, NODE[:-1]),
    "row missing": (LINK, NODE[:-40]),
    "row too many": (LINK, NODE + row(1)),
    "other format": (LINK, b"\x02" + NODE[1:]),
    "other level": (LINK, NODE[:1] + b"\x02" + NODE[2:]),
    "level 0": (replace(LINK, level=0), NODE[:1] + b"\x00" + NODE[2:]),
    "level 7": (replace(LINK, level=7), NODE[:1] + b"\x07" + NODE[2:]),
    "other size": (replace(LINK, size=LINK.size + 1), NODE),
    "empty child": (replace(LINK, size=5), b"\x01\x01" + row(5) + row(0)),
    "large chunk": (replace(LINK, size=CHUNK_MAX + 1), b"\x01\x01" + row(CHUNK_MAX + 1)),
    "sizes that overflow": (replace(LINK, size=0), b"\x01\x02" + row(1 << 63) + row(1 << 63)),
    "more than a petabyte": (Link(LINK.hash, MAX_SIZE + 1, 6), b"\x01\x06" + row(MAX_SIZE + 1)),
    "too many rows": (replace(LINK, size=CHILDREN_MAX + 1), b"\x01\x01" + row(1) * (CHILDREN_MAX + 1)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_nodes_are_malformed(name: str) -> None:
    link, node = HOSTILE[name]
    with pytest.raises(Malformed, match="list node"):
        decode_node(link, node)


@given(st.binary(max_size=400), st.integers(0, 1 << 60), st.integers(0, 255))
def test_any_bytes_are_children_or_malformed(node: bytes, size: int, level: int) -> None:
    with suppress(Malformed):
        children = decode_node(Link(LINK.hash, size, level), node)
        assert sum(child.size for child in children) == size


@given(st.integers(0, len(NODE) - 1), st.integers(1, 255))
def test_mutated_nodes_are_children_or_malformed(place: int, change: int) -> None:
    node = bytearray(NODE)
    node[place] ^= change
    with suppress(Malformed):
        assert decode_node(LINK, bytes(node)) != decode_node(LINK, memoryview(NODE))
