"""The formats do not move: what docs/formats.md gives as vectors is what the code makes, and reads."""

from pathlib import Path
from zlib import crc32

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forge_p2p.content.chunking import ZERO_CHUNK, cut_bytes
from forge_p2p.content.codec import Codec, EncodedChunk, decode
from forge_p2p.content.link import Kind, Link, Root, hash_bytes
from forge_p2p.content.linktext import format_link, parse_link
from forge_p2p.content.snapshot import Entry, EntryKind, ListingDecoder, encode_pages
from forge_p2p.content.ticket import format_ticket, issue, parse_ticket, verify
from forge_p2p.content.tree import TreeBuilder, decode_node
from forge_p2p.ids import Hash

DOCUMENT = (Path(__file__).parents[2] / "docs" / "formats.md").read_text("utf-8")
VECTORS = [line.strip() for line in DOCUMENT.partition("## Vectors")[2].splitlines() if line.startswith("    ")]
CUTS, NODE_START, BLOB_LINK, ZEROS, EMPTY, TOP_NODE, ROWS, LISTING, TREE_LINK, TICKET, AS_LZ4, AS_ZSTD = VECTORS

CONTENT = blake3(b"forge golden content").digest(length=1 << 20)


def content_link() -> tuple[Link, bytes]:
    builder = TreeBuilder()
    builder.add_all((chunk.hash, chunk.length) for chunk in cut_bytes(CONTENT))
    link = builder.finish()
    ((_, node),) = builder.take_nodes()
    return link, node


def test_chunks() -> None:
    assert " ".join(str(chunk.length) for chunk in cut_bytes(CONTENT)) == CUTS
    assert ZERO_CHUNK.hex() == ZEROS
    assert cut_bytes(b"")[0].hash.hex() == EMPTY


def test_nodes() -> None:
    link, node = content_link()
    assert len(node) == 642
    assert node.hex().startswith(NODE_START)
    assert format_link(Root(Kind.BLOB, link)) == BLOB_LINK
    assert parse_link(BLOB_LINK) == Root(Kind.BLOB, link)


def test_node_ends() -> None:
    builder = TreeBuilder()
    builder.add_all((Hash(blake3(i.to_bytes(4, "little")).digest()), 100_000 + i) for i in range(10_000))
    link = builder.finish()
    nodes = dict(builder.take_nodes())
    assert (link.hash.hex(), link.level) == (TOP_NODE, 2)
    below = decode_node(link, nodes[link.hash])
    assert " ".join(str(len(decode_node(child, nodes[child.hash]))) for child in below) == ROWS


def test_listing() -> None:
    link, _ = content_link()
    entries = [
        Entry(b"bin", EntryKind.DIRECTORY, 0o755, 0, 0, 0, b""),
        Entry(b"bin/run", EntryKind.FILE, 0o755, 1_700_000_000_123_456_789, link.size, link.level, link.hash),
        Entry(b"bin-\xff", EntryKind.SYMLINK, 0o777, 0, 0, 0, b"bin/run"),
        Entry(b"empty", EntryKind.FILE, 0o644, 0, 0, 0, hash_bytes(b"")),
    ]
    listing = b"".join(encode_pages(entries))
    assert listing.hex() == LISTING
    assert ListingDecoder().feed(bytes.fromhex(LISTING)) == entries
    assert format_link(Root(Kind.TREE, Link(hash_bytes(listing), len(listing), 0))) == TREE_LINK


def test_page_ends() -> None:
    entries = [Entry(name, EntryKind.DIRECTORY, 0o755, 0, 0, 0, b"") for name in (b"234", b"235", b"236")]
    assert crc32(b"235") & 0xFF == 0xFF
    pages = list(encode_pages(entries))
    assert [ListingDecoder().feed(page) for page in pages] == [entries[:2], entries[2:]]


def test_ticket() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    addresses = [("192.0.2.7", 4433), ("2001:db8::7", 4433)]
    ticket = issue(key, parse_link(TREE_LINK), addresses, expires=1_800_000_000, identity=bytes(range(16)))
    assert format_ticket(ticket) == TICKET
    assert parse_ticket(TICKET) == ticket
    verify(parse_ticket(TICKET).capability, ticket.server, 1_799_999_999)


@pytest.mark.parametrize(("codec", "form"), [(Codec.LZ4, AS_LZ4), (Codec.ZSTD, AS_ZSTD)])
def test_stored_forms(codec: Codec, form: str) -> None:
    raw = b"forge " * 20
    assert decode(EncodedChunk(hash_bytes(raw), codec, len(raw), bytes.fromhex(form))) == raw
