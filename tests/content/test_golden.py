"""The formats do not move: what docs/formats.md gives as vectors is what the code makes, and reads."""

from pathlib import Path
from zlib import crc32

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forge_p2p.content.blinding import dht_key, lan_tag
from forge_p2p.content.chunking import ZERO_CHUNK, cut_bytes
from forge_p2p.content.codec import Codec, EncodedChunk, decode
from forge_p2p.content.contact import Contact
from forge_p2p.content.invite import Token, enrol, format_token, parse_token
from forge_p2p.content.link import Kind, Link, Root, hash_bytes
from forge_p2p.content.linktext import format_link, parse_link
from forge_p2p.content.membership import Role, decode_chain, encode_chain, issue_certificate, verify_chain
from forge_p2p.content.ref import RefRecord, decode_record, sign_record, verify_record
from forge_p2p.content.revocation import decode_revocation, revoke, verify_revocation
from forge_p2p.content.sealing import Direction, seal, unseal
from forge_p2p.content.snapshot import Entry, EntryKind, ListingDecoder, encode_pages
from forge_p2p.content.ticket import format_ticket, issue, parse_ticket, verify
from forge_p2p.content.tree import TreeBuilder, decode_node
from forge_p2p.ids import Hash, NetworkId, NodeId
from forge_p2p.proto.membership import encode_digest
from forge_p2p.proto.revocations import RevocationSet

DOCUMENT = (Path(__file__).parents[2] / "docs" / "formats.md").read_text("utf-8")
VECTORS = [line.strip() for line in DOCUMENT.partition("## Vectors")[2].splitlines() if line.startswith("    ")]
CUTS, NODE_START, BLOB_LINK, ZEROS, EMPTY, TOP_NODE, ROWS, LISTING, TREE_LINK, TICKET, AS_LZ4, AS_ZSTD = VECTORS[:12]
CHAIN, REVOCATION, TOKEN, SEALED, DHT_KEY, LAN_TAG = VECTORS[12:18]
LONGEST_CHAIN, ADMINS_REVOCATION, DIGEST, RECORD, RECORD_HASH = VECTORS[18:]

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


def network_keys() -> tuple[list[Ed25519PrivateKey], list[NodeId]]:
    """Private keys of one byte 32 times, and their public ones; number 1 is the network's."""
    keys = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(7)]
    return keys, [NodeId(key.public_key().public_bytes_raw()) for key in keys]


def test_memberships() -> None:
    keys, ids = network_keys()
    network, secret = NetworkId(ids[1]), bytes(range(32))
    first = issue_certificate(
        *(keys[1], network, ids[2], Role.WRITER),
        issued=1_700_000_000,
        expires=1_800_000_000,
        delegable=True,
        label="build",
    )
    contact = Contact(ids[3], (("192.0.2.7", 4433), ("2001:db8::7", 4433)))
    token = Token(network, "studio", (first,), (contact,), secret, bytes([2]) * 32)
    chain = enrol(token, ids[4], 1_750_000_000, "agent 7")
    assert (format_token(token), parse_token(TOKEN)) == (TOKEN, token)
    assert (encode_chain(chain).hex(), decode_chain(bytes.fromhex(CHAIN))) == (CHAIN, chain)
    assert verify_chain(chain, network, ids[4], 1_799_999_999).role is Role.WRITER
    assert revoke(keys[1], network, ids[2], time=1_760_000_000).encode().hex() == REVOCATION
    verify_revocation(decode_revocation(bytes.fromhex(REVOCATION)), network)


def test_what_admins_sign() -> None:
    keys, ids = network_keys()
    network, secret = NetworkId(ids[1]), bytes(range(32))
    first = issue_certificate(keys[1], network, ids[5], Role.ADMIN, issued=1_700_000_000, delegable=True)
    admin = enrol(Token(network, "studio", (first,), (), secret, bytes([5]) * 32), ids[6], 1_700_000_100, "ops")
    until = 1_900_000_000
    seeds = issue_certificate(keys[6], network, ids[2], Role.SEED, issued=1_700_000_200, expires=until, delegable=True)
    chain = enrol(Token(network, "studio", (*admin, seeds), (), secret, bytes([2]) * 32), ids[4], 1_700_000_300)
    assert (encode_chain(chain).hex(), decode_chain(bytes.fromhex(LONGEST_CHAIN))) == (LONGEST_CHAIN, chain)
    assert verify_chain(chain, network, ids[4], until - 1).role is Role.SEED
    by_admin = revoke(keys[6], network, ids[3], time=1_760_000_000, chain=admin)
    assert (by_admin.encode().hex(), decode_revocation(by_admin.encode())) == (ADMINS_REVOCATION, by_admin)
    known = RevocationSet(network)
    for text in (REVOCATION, ADMINS_REVOCATION):
        assert known.merge(decode_revocation(bytes.fromhex(text)))
    assert encode_digest(known.digest()).hex() == DIGEST


def test_what_the_secret_hides() -> None:
    server, client = (
        NodeId(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32).public_key().public_bytes_raw())
        for number in (3, 4)
    )
    secret = bytes(range(32))
    assert seal(secret, server, client, Direction.CLIENT, b"chain", nonce=bytes(range(12))).hex() == SEALED
    assert unseal(secret, server, client, Direction.CLIENT, bytes.fromhex(SEALED)) == b"chain"
    assert dht_key(secret, Hash(bytes(32))).hex() == DHT_KEY
    assert lan_tag(secret, NodeId(bytes(32))).hex() == LAN_TAG


def test_record_of_a_name() -> None:
    network = NetworkId(Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32).public_key().public_bytes_raw())
    unsigned = RefRecord(
        network=network,
        name="nightly/ß",
        seq=2,
        previous=Hash(bytes(range(32))),
        target=parse_link(TREE_LINK),
        time=1_760_000_000,
        expires=1_900_000_000,
        protected=False,
        home=NodeId(bytes(range(32, 64))),
        chain=decode_chain(bytes.fromhex(CHAIN)),
        signature=b"",
    )
    record = sign_record(Ed25519PrivateKey.from_private_bytes(bytes([4]) * 32), unsigned)
    assert (record.encode().hex(), record.hash.hex()) == (RECORD, RECORD_HASH)
    assert decode_record(bytes.fromhex(RECORD)) == record
    assert verify_record(record, network, "nightly/ß").role is Role.WRITER
