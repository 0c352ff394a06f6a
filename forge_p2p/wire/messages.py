"""Every message of the protocol.

Bodies are msgpack arrays, one element a field, in the order declared here; DATA alone has a layout of its own (`data`).
How they become bytes and come from them is in `bodies`; frames, a type and a length around a body, are in `frames`.
"""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from forge_p2p.content.contact import Contact
from forge_p2p.ids import HASH_SIZE, PREFIX_SIZE, Hash
from forge_p2p.wire import limits
from forge_p2p.wire.codes import Code
from forge_p2p.wire.data import Data
from forge_p2p.wire.deltas import Deltas
from forge_p2p.wire.fields import (
    U8,
    U16,
    U32,
    Addresses,
    Body,
    Capability,
    DhtKey,
    FrameType,
    Hashes,
    Id,
    Index,
    OneHash,
    PackedContact,
    Places,
    Reason,
    Signature,
    Token,
    Ttl,
    check_hashes,
    check_places,
    check_prefixes,
    pack_addresses,
    pack_all,
    unpack_addresses,
    unpack_all,
)
from forge_p2p.wire.refs import RefList, RefNames, RefPut, RefRead, RefRecords, RefVerdict
from forge_p2p.wire.sets import Reconcile, Reconciled, SummaryQuery, SummaryTold


class Hello(Body, frozen=True):
    """First frame of either side. The client offers a range of versions; the server names its choice, as both ends."""

    TYPE = FrameType.HELLO
    first_version: U16
    last_version: U16
    capabilities: Annotated[tuple[Capability, ...], Meta(max_length=limits.CAPABILITIES_MAX)]
    node_id: Id
    agent: Annotated[str, Meta(max_length=limits.AGENT_CHARS)]
    max_requests: Annotated[int, Meta(ge=1, le=limits.REQUEST_LIMIT)]
    """Requests the sender answers at once."""
    nonce: Annotated[bytes, Meta(max_length=limits.NONCE_SIZE)]
    """32 fresh bytes from the server, empty from the client."""

    def __post_init__(self) -> None:
        if self.first_version > self.last_version:
            raise ValueError("the range of versions is empty")


class Proof(Body, frozen=True):
    """The client's signature over the text of `proto.auth.proof_text`."""

    TYPE = FrameType.PROOF
    signature: Annotated[bytes, Meta(min_length=limits.SIGNATURE_SIZE, max_length=limits.SIGNATURE_SIZE)]


class Credentials(Body, frozen=True):
    """What the client shows to be let in: a ticket's capability, or its membership. Opaque to this layer."""

    TYPE = FrameType.CREDENTIALS
    token: Token


class Welcome(Body, frozen=True):
    """The client is let in."""

    TYPE = FrameType.WELCOME
    credentials: Token = b""
    """What the server shows in return, if the client is to know more of it than its id."""


class Refused(Body, frozen=True):
    """The client is not let in; last frame of the server."""

    TYPE = FrameType.REFUSED
    code: U16
    reason: Reason


class Ping(Body, frozen=True):
    TYPE = FrameType.PING
    token: U32


class Pong(Body, frozen=True):
    TYPE = FrameType.PONG
    token: U32


class Goodbye(Body, frozen=True):
    """The sender leaves; its last frame on the control stream."""

    TYPE = FrameType.GOODBYE
    code: U16
    reason: Reason


class News(Body, frozen=True):
    """What members of a network tell each other, item by item. Opaque to this layer."""

    TYPE = FrameType.NEWS
    items: Annotated[
        tuple[Annotated[bytes, Meta(max_length=limits.NEWS_ITEM_MAX)], ...], Meta(max_length=limits.NEWS_ITEMS_MAX)
    ]


class Want(Body, frozen=True):
    """Asks for chunks. Answers name them by their index here."""

    TYPE = FrameType.WANT
    hashes: Hashes
    priority: U8
    """Smaller is more urgent."""
    deadline_ms: Annotated[int, Meta(ge=1, le=limits.DEADLINE_MS_MAX)]
    """Milliseconds after which the sender no longer cares."""
    max_bytes: Annotated[int, Meta(ge=0, le=limits.WANT_BYTES_MAX)]
    """The most raw bytes the sender has room for. If the chunks are more, the answerer chooses among them."""
    sparing: bool = False
    """Only what nobody else has been sent just now."""
    bases: Annotated[tuple[tuple[Index, OneHash], ...], Meta(max_length=limits.BASES_MAX)] = ()
    """By index, a chunk that the sender has and that may be much like the one wanted."""
    signatures: Annotated[tuple[tuple[Index, Signature], ...], Meta(max_length=limits.BASES_MAX)] = ()
    """The same for bases that the receiver lacks, as `content.delta.sign` makes them."""
    signs: bool = False
    """Rather than a whole large chunk whose base is unknown, BASELESS is to come: the sender would sign it then."""

    def __post_init__(self) -> None:
        check_hashes(self.hashes)
        if sum([len(signature) for _, signature in self.signatures]) > limits.SIGNATURES_BYTES:
            raise ValueError(f"signatures of more than {limits.SIGNATURES_BYTES} bytes")


class Baseless(Body, frozen=True):
    """The bases of these chunks are not here, or not for you; the chunks are. To be asked for again."""

    TYPE = FrameType.BASELESS
    indexes: Annotated[tuple[Index, ...], Meta(min_length=1, max_length=limits.HASHES_MAX)]


class Missing(Body, frozen=True):
    """These chunks are not here, or not for you."""

    TYPE = FrameType.MISSING
    indexes: Annotated[tuple[Index, ...], Meta(min_length=1, max_length=limits.HASHES_MAX)]


class Done(Body, frozen=True):
    """Last frame of an answer. With `Code.OK` every index has been answered."""

    TYPE = FrameType.DONE
    code: U16
    reason: Reason


class HaveQuery(Body, frozen=True):
    """Asks which of these chunks the receiver has."""

    TYPE = FrameType.HAVE_QUERY
    hashes: Hashes

    def __post_init__(self) -> None:
        check_hashes(self.hashes)


class Have(Body, frozen=True):
    """One bit a hash asked for, first hash in the highest bit of the first byte; spare bits are zero."""

    TYPE = FrameType.HAVE
    bitmap: Annotated[bytes, Meta(min_length=1, max_length=limits.HASHES_MAX // 8)]


class FindNode(Body, frozen=True):
    """Asks for the nodes nearest to a point of the DHT."""

    TYPE = FrameType.FIND_NODE
    target: DhtKey


class Nodes(Body, frozen=True):
    """Those known to the answerer, nearest first. Made by `of`."""

    TYPE = FrameType.NODES
    packed: Annotated[tuple[PackedContact, ...], Meta(max_length=limits.NODES_COUNT)]

    @classmethod
    def of(cls, contacts: Iterable[Contact]) -> "Nodes":
        return cls(pack_all(contacts))

    @property
    def contacts(self) -> tuple[Contact, ...]:
        return unpack_all(self.packed)


class FindProviders(Body, frozen=True):
    """Asks who has announced a key, and who may know more."""

    TYPE = FrameType.FIND_PROVIDERS
    key: DhtKey


class Providers(Body, frozen=True):
    """Who has announced the key, with the seconds left of each; and nodes nearer to it. Made by `of`."""

    TYPE = FrameType.PROVIDERS
    packed: Annotated[tuple[tuple[PackedContact, Ttl], ...], Meta(max_length=limits.PROVIDERS_COUNT)]
    packed_closer: Annotated[tuple[PackedContact, ...], Meta(max_length=limits.NODES_COUNT)]

    @classmethod
    def of(cls, providers: Iterable[tuple[Contact, int]], closer: Iterable[Contact]) -> "Providers":
        return cls(tuple([(PackedContact.of(contact), ttl) for contact, ttl in providers]), pack_all(closer))

    @property
    def providers(self) -> tuple[tuple[Contact, int], ...]:
        return tuple([(one.contact, ttl) for one, ttl in self.packed])

    @property
    def closer(self) -> tuple[Contact, ...]:
        return unpack_all(self.packed_closer)


class Announce(Body, frozen=True):
    """The sender provides what the key stands for, for `ttl` seconds; 0: no longer. Made by `of`."""

    TYPE = FrameType.ANNOUNCE
    key: DhtKey
    ttl: Ttl
    places: Places

    def __post_init__(self) -> None:
        check_places(self.places)

    @classmethod
    def of(cls, key: bytes, ttl: int, addresses: Addresses) -> "Announce":
        return cls(key, ttl, pack_addresses(addresses))

    @property
    def addresses(self) -> Addresses:
        return unpack_addresses(self.places)


class Follow(Body, frozen=True):
    """Asks to be told what the receiver holds of a root, from now on. Made by `of`."""

    TYPE = FrameType.FOLLOW
    root: OneHash
    places: Places
    """Where the sender can be reached, for others who follow the root."""
    follow_back: bool
    """Whether the sender has, or soon will have, something of it to tell."""
    previous: Annotated[bytes, Meta(max_length=HASH_SIZE)] = b""
    """A root that the sender has, whose chunks it is going to name as bases; empty: none."""
    withhold: bool = False
    """A long list of what is there already need not come: the sender would rather reconcile."""

    def __post_init__(self) -> None:
        check_places(self.places)
        check_hashes(self.previous)

    @classmethod
    def of(
        cls, root: bytes, addresses: Addresses, follow_back: bool, previous: bytes = b"", *, withhold: bool = False
    ) -> "Follow":
        return cls(root, pack_addresses(addresses), follow_back, previous, withhold)

    @property
    def addresses(self) -> Addresses:
        return unpack_addresses(self.places)


class Holdings(Body, frozen=True):
    """What the sender has of the root besides what it told before."""

    TYPE = FrameType.HOLDINGS
    complete: bool
    """All of it."""
    origin: bool
    """The root was shared there, not fetched."""
    prefixes: Annotated[bytes, Meta(max_length=limits.PREFIXES_MAX * PREFIX_SIZE)]
    """The first 64 bits of chunk hashes, one behind the other."""
    previous: bool = False
    """The root that the FOLLOW called previous is here, too."""
    withheld: U32 = 0
    """Chunks that are here and were not told, because the FOLLOW said so."""

    def __post_init__(self) -> None:
        check_prefixes(self.prefixes)


class Followers(Body, frozen=True):
    """Others who follow the root at the sender. Made by `of`."""

    TYPE = FrameType.FOLLOWERS
    packed: Annotated[tuple[PackedContact, ...], Meta(max_length=limits.FOLLOWERS_COUNT)]

    @classmethod
    def of(cls, contacts: Iterable[Contact]) -> "Followers":
        return cls(pack_all(contacts))

    @property
    def contacts(self) -> tuple[Contact, ...]:
        return unpack_all(self.packed)


DhtQuery = FindNode | FindProviders | Announce
"""Questions to a node of the DHT."""
DhtReply = Nodes | Providers | Done
"""To `FindNode`, `FindProviders` and `Announce`, in this order; `Done` with another code than OK to any."""
RefQuery = RefPut | RefRead | RefList
"""Questions about names."""
RefReply = RefVerdict | RefRecords | RefNames
"""To these, in this order; `Done` with another code than OK to any."""
SetQuery = SummaryQuery | Reconcile
"""Questions about what a node has."""
SetReply = SummaryTold | Reconciled
"""To these, in this order; `Done` with another code than OK to either."""
Query = DhtQuery | RefQuery | SetQuery
Reply = DhtReply | RefReply | SetReply
Told = Holdings | Followers
"""What comes on the stream of a FOLLOW."""

Message = (
    Hello
    | Proof
    | Credentials
    | Welcome
    | Refused
    | Ping
    | Pong
    | Goodbye
    | News
    | Want
    | Data
    | Deltas
    | Baseless
    | Missing
    | Done
    | HaveQuery
    | Have
    | Query
    | Nodes
    | Providers
    | RefReply
    | SetReply
    | Follow
    | Told
)


def split_hashes(blob: bytes) -> list[Hash]:
    """The hashes of a WANT or a HAVE_QUERY."""
    return [Hash(blob[at : at + HASH_SIZE]) for at in range(0, len(blob), HASH_SIZE)]


def printable(text: str) -> str:
    """A stranger's text, safe for a log or a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def code_of(number: int) -> Code:
    """The code behind a number; what a later version added is `Code.UNKNOWN`."""
    try:
        return Code(number)
    except ValueError:
        return Code.UNKNOWN
