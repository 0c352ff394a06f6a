"""Refs: a name is a log of signed records, each naming what the name stands for from then on.

A record says which one it follows, by number and by hash, so a log is a chain of which nothing can be taken out or
exchanged. It carries the certificates of its author, so anybody can verify it without asking anybody. Whose word counts
as of when is for `proto.reflog`, which knows of revocations; this is about one record and its predecessor.
"""

import struct
from collections.abc import Container
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from forge_p2p.content.link import Kind, Link, Root, hash_bytes
from forge_p2p.content.linktext import is_possible
from forge_p2p.content.membership import (
    CHAIN_BYTES_MAX,
    CLOCK_SKEW,
    KEY_SIZE,
    SIGNATURE_SIZE,
    Chain,
    Membership,
    NotAMember,
    Role,
    decode_chain,
    encode_chain,
    membership_by,
    require_current,
    signature_holds,
    verify_chain,
)
from forge_p2p.content.moment import date_of
from forge_p2p.content.refname import NAME_BYTES, fault_of
from forge_p2p.errors import Malformed, Untrusted
from forge_p2p.ids import HASH_SIZE, Hash, NetworkId, NodeId

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

RECORD_FORMAT: Final = 1
NOTHING: Final = Hash(bytes(HASH_SIZE))
"""What the first record follows."""

SEQ_MAX: Final = (1 << 63) - 1

_DOMAIN: Final = b"forge ref v1\0"
"""Goes before what is signed, so that no signature made for another purpose can be shown as a record."""

_BODY = struct.Struct(f"<B{KEY_SIZE}sQ{HASH_SIZE}sBBQ{HASH_SIZE}sQQB{KEY_SIZE}sHH")
"""Format, network, number, hash of the one before, kind, level, size and hash of the target, time, expiry, flags, home,
bytes of the name, bytes of the chain; name and chain follow, then the signature."""

_KINDS: Final = (Kind.BLOB, Kind.TREE, Kind.GIT)
_PROTECTED: Final = 1
_TIME_MAX: Final = 1 << 63
RECORD_BYTES_MAX: Final = _BODY.size + NAME_BYTES + CHAIN_BYTES_MAX + SIGNATURE_SIZE


class RefFlaw(Enum):
    """What is wrong with a record or a log: one for each way not to be believed."""

    FOREIGN = "of another network or name"
    BROKEN_SIGNATURE = "broken signature"
    NOT_A_WRITER = "author not allowed to write"
    REVOKED = "author revoked"
    WRONG_TIME = "wrong time"
    DOES_NOT_FOLLOW = "does not follow the record before it"
    PROTECTED = "name protected"
    ROLLED_BACK = "rolled back"
    FORKED = "forked"


class BadRef(Untrusted):
    """A record or a log that is not to be believed; `flaw` says why not."""

    def __init__(self, flaw: RefFlaw, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.flaw = flaw


@dataclass(frozen=True, slots=True)
class RefRecord:
    """`name` stands for `target` from `time` on (Unix seconds), until `expires` (0 = never) or the next record.

    `seq` counts from 1; `previous` is the hash of the record before. `protected`: only admins may write the next one.
    `home`: the node that the next one has to be put at. `chain` is the author's, which ends at its node key.
    """

    network: NetworkId
    name: str
    seq: int
    previous: Hash
    target: Root
    time: int
    expires: int
    protected: bool
    home: NodeId
    chain: Chain
    signature: bytes

    @property
    def author(self) -> NodeId:
        return NodeId(self.chain[-1].subject)

    @property
    def role(self) -> Role:
        """What the author was, by the chain, unverified."""
        return membership_by(self.chain).role

    @property
    def hash(self) -> Hash:
        """What the next record follows."""
        return hash_bytes(self.encode())

    def encode(self) -> bytes:
        return self.signed_part() + self.signature

    def signed_part(self) -> bytes:
        """All but the signature."""
        name, chain, link = self.name.encode(), encode_chain(self.chain), self.target.link
        target = (_KINDS.index(self.target.kind), link.level, link.size, link.hash)
        flags = _PROTECTED if self.protected else 0
        order = (RECORD_FORMAT, self.network, self.seq, self.previous)
        times = (self.time, self.expires, flags, self.home)
        return _BODY.pack(*order, *target, *times, len(name), len(chain)) + name + chain

    def has_expired(self, now: float) -> bool:
        """Whether the name stands for nothing any more."""
        return 0 < self.expires <= now


def sign_record(key: "Ed25519PrivateKey", unsigned: RefRecord) -> RefRecord:
    """The record signed by its author, who holds `key`. Raises `ValueError` for what cannot be in one."""
    fits = 0 < unsigned.seq <= SEQ_MAX and 0 <= unsigned.time < _TIME_MAX and 0 <= unsigned.expires < _TIME_MAX
    if not fits or not unsigned.chain or fault_of(unsigned.name):
        raise ValueError("a record cannot say that")
    return replace(unsigned, signature=key.sign(_DOMAIN + unsigned.signed_part()))


def decode_record(data: bytes) -> RefRecord:
    """The record that `RefRecord.encode` made `data` of, not verified. Raises `Malformed`."""
    if not _BODY.size + SIGNATURE_SIZE < len(data) <= RECORD_BYTES_MAX:
        raise Malformed(f"a record of a name has at most {RECORD_BYTES_MAX} bytes, not {len(data)}")
    form, network, seq, previous, kind, level, size, target, *rest = _BODY.unpack_from(data)
    time, expires, flags, home, name_size, chain_size = rest
    if form != RECORD_FORMAT:
        raise Malformed(f"record of a name of format {form}, this version reads {RECORD_FORMAT}")
    start = _BODY.size + name_size
    if len(data) != start + chain_size + SIGNATURE_SIZE or max(time, expires) >= _TIME_MAX or flags > _PROTECTED:
        raise Malformed(f"an impossible record of a name: {len(data)} bytes, flags {flags}")
    if not 0 < seq <= SEQ_MAX or kind >= len(_KINDS) or not is_possible(size, level):
        raise Malformed(f"an impossible record of a name: number {seq}, kind {kind}, {size} bytes at level {level}")
    root = Root(_KINDS[kind], Link(Hash(target), size, level))
    chain = decode_chain(data[start : start + chain_size])
    if not chain:
        raise Malformed("a record of a name has no author")
    name = _decode_name(data[_BODY.size : start])
    protected, signature = flags == _PROTECTED, data[-SIGNATURE_SIZE:]
    order = (NetworkId(network), name, seq, Hash(previous))
    return RefRecord(*order, root, time, expires, protected, NodeId(home), chain, signature)


def written_seq(text: str) -> int:
    """The number of a record, as people and the names of pins write it; 0 if `text` is none."""
    digits = text.isascii() and text.isdecimal() and len(text) <= len(str(SEQ_MAX))
    return seq if digits and (seq := int(text)) <= SEQ_MAX else 0


def _decode_name(data: bytes) -> str:
    try:
        name = data.decode()
    except UnicodeDecodeError as error:
        raise Malformed("a record's name is not UTF-8") from error
    fault = fault_of(name)
    if fault:
        raise Malformed(f"a record's name cannot be one: {fault}")
    return name


def verify_record(record: RefRecord, network: NetworkId, name: str, checked: Container[Chain] = ()) -> Membership:
    """Who wrote `record`, if that one had the right to at the time that it says. Revocations are not looked at.
    `checked`: chains whose signatures were verified before, in this network. Raises `BadRef`."""
    if record.network != network or record.name != name:
        raise BadRef(RefFlaw.FOREIGN, f"{_which(record)} is one of another network or name")
    if not signature_holds(record.author, record.signature, _DOMAIN + record.signed_part()):
        raise BadRef(RefFlaw.BROKEN_SIGNATURE, f"{_which(record)} was tampered with: its signature is wrong")
    try:
        if record.chain in checked:
            require_current(record.chain, record.time)
            member = membership_by(record.chain)
        else:
            member = verify_chain(record.chain, network, record.author, record.time)
    except NotAMember as error:
        raise BadRef(
            RefFlaw.NOT_A_WRITER, f"{_which(record)} is by {_short(record.author)}, who was no member: {error.message}"
        ) from error
    if not member.role.covers(Role.WRITER):
        raise BadRef(
            RefFlaw.NOT_A_WRITER,
            f"{_which(record)} is by {_short(record.author)}, a {member.role.name.lower()}, who may not publish",
            hint="an admin can invite it as a writer: forge network invite --role writer",
        )
    return member


def verify_step(record: RefRecord, previous: RefRecord | None) -> None:
    """Whether `record` may come after `previous`; both have been verified by themselves. Raises `BadRef`."""
    expected = (previous.seq + 1, previous.hash) if previous else (1, NOTHING)
    if (record.seq, record.previous) != expected:
        raise BadRef(
            RefFlaw.DOES_NOT_FOLLOW, f"{_which(record)} does not follow number {expected[0] - 1}, as it is known here"
        )
    if previous is not None and record.time < previous.time:
        raise BadRef(
            RefFlaw.WRONG_TIME,
            f"{_which(record)} says that it was written at {date_of(record.time)}, before the one that it follows",
            hint="the clock of its author is wrong",
        )
    if previous is not None and record.home != previous.home and record.role is not Role.ADMIN:
        raise BadRef(
            RefFlaw.PROTECTED, f"only admins may move a name to another home, and {_short(record.author)} is none"
        )
    guarded = record.protected or (previous is not None and previous.protected)
    if guarded and record.role is not Role.ADMIN:
        raise BadRef(
            RefFlaw.PROTECTED,
            f"{record.name!r} is protected: only admins may write it, and {_short(record.author)} is none",
            hint="ask an admin of the network to publish it",
        )


def require_written_now(record: RefRecord, now: float) -> None:
    """Raises `BadRef` unless the record says that it was written about `now`: what a home asks of what it is given."""
    if abs(record.time - now) > CLOCK_SKEW:
        raise BadRef(
            RefFlaw.WRONG_TIME,
            f"{_which(record)} says that it was written at {date_of(record.time)}, and it is {date_of(now)}",
            hint="the clock of one of the two machines is wrong",
        )


def _which(record: RefRecord) -> str:
    return f"record {record.seq} of {record.name!r}"


def _short(node_id: bytes) -> str:
    return f"node {node_id.hex()[:16]}"
