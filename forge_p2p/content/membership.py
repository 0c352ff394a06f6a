"""Membership of private networks: chains of certificates from a network's key down to a node's.

A network is an Ed25519 key. Whoever holds it, or is an admin, signs certificates for keys of three sorts: nodes, which
are members; admins, which are nodes that may sign in their turn; tokens, which are keys to hand out and may enrol
nodes, with their own role at most. Each link can only narrow role and life, and a chain has at most four: admin's
token, admin, token, node. Nobody has to be asked to verify one, and nobody to join with a token.
"""

import struct
from collections.abc import Container, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Final

from forge_p2p.content.moment import date_of, since
from forge_p2p.errors import Malformed, Refused
from forge_p2p.ids import NetworkId, NodeId

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

CERTIFICATE_FORMAT: Final = 1
CHAIN_MAX: Final = 4
CHAIN_BYTES_MAX: Final = 2048
"""Bytes of an encoded chain; four certificates with the longest labels have 1,620."""

LABEL_CHARS: Final = 64
CLOCK_SKEW: Final = 300
"""Seconds by which an issuer's clock may be ahead of ours."""

_DOMAIN: Final = b"forge certificate v1\0"
"""Goes before what is signed, so that no signature made for another purpose can be shown as a certificate."""

KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
_BODY = struct.Struct(f"<B{KEY_SIZE}s{KEY_SIZE}sBBQQH")
"""Format, network, subject, role, flags, issued, expires, bytes of label; the label follows, then the signature."""

_DELEGABLE: Final = 1
_TIME_MAX: Final = 1 << 63

Chain = tuple["Certificate", ...]


class Role(IntEnum):
    """What a member may do. Every member may fetch."""

    READER = 1
    WRITER = 2
    """May publish, too."""
    SEED = 3
    """Is there for others: asked early, and to keep what the network has."""
    ADMIN = 4
    """May do all, let others in and throw them out."""

    def covers(self, other: "Role") -> bool:
        """Whether who has this role may give or do what the other one allows."""
        return self in {other, Role.ADMIN} or other is Role.READER


class Flaw(Enum):
    """What is wrong with a chain: one for each way to have no right."""

    NO_CERTIFICATE = "no certificate"
    TOO_LONG = "chain too long"
    FOREIGN_NETWORK = "foreign network"
    BROKEN_SIGNATURE = "broken signature"
    NOT_ALLOWED = "issuer not allowed to issue"
    WIDER = "wider than its issuer"
    WRONG_SUBJECT = "issued to somebody else"
    NOT_YET_VALID = "not yet valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


class NotAMember(Refused):
    """A chain, or a signature under one, that gives no right; `flaw` says why not."""

    def __init__(self, flaw: Flaw, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.flaw = flaw


@dataclass(frozen=True, slots=True)
class Certificate:
    """One key's word for another. `subject` is a node's or a token's public key; `issued` and `expires` are in Unix
    seconds, 0 = never; `delegable`: the subject is a token's key; `label` is the issuer's name for the subject, at most
    `LABEL_CHARS` printable characters."""

    network: NetworkId
    subject: bytes
    role: Role
    delegable: bool
    issued: int
    expires: int
    label: str
    signature: bytes

    def encode(self) -> bytes:
        return self.signed_part() + self.signature

    def signed_part(self) -> bytes:
        """All but the signature."""
        label = self.label.encode()
        flags = _DELEGABLE if self.delegable else 0
        times = (self.issued, self.expires)
        return _BODY.pack(CERTIFICATE_FORMAT, self.network, self.subject, self.role, flags, *times, len(label)) + label

    @property
    def may_invite(self) -> bool:
        """Whether the subject is an admin, who may issue tokens and revocations."""
        return self.role is Role.ADMIN and not self.delegable


@dataclass(frozen=True, slots=True)
class Membership:
    """What a good chain says of its subject. `keys` are the chain's subjects, from the network's side; `token` is the
    key of the token it was enrolled by, if any; the times are those of the last certificate, 0 = never expires."""

    network: NetworkId
    subject: bytes
    role: Role
    label: str
    issued: int
    expires: int
    keys: tuple[bytes, ...]
    token: bytes | None

    @property
    def node_id(self) -> NodeId:
        return NodeId(self.subject)


def issue_certificate(
    key: "Ed25519PrivateKey",
    network: NetworkId,
    subject: bytes,
    role: Role,
    *,
    issued: int,
    expires: int = 0,
    delegable: bool = False,
    label: str = "",
) -> Certificate:
    """A certificate for `subject` by the holder of `key`; whether that one may is for `verify_chain` to say. Raises
    `ValueError` for what cannot be in one."""
    if len(subject) != KEY_SIZE or not (0 <= issued < _TIME_MAX and 0 <= expires < _TIME_MAX and label_fits(label)):
        raise ValueError("a certificate cannot say that")
    unsigned = Certificate(network, subject, role, delegable, issued, expires, label, b"")
    signature = key.sign(_DOMAIN + unsigned.signed_part())
    return Certificate(network, subject, role, delegable, issued, expires, label, signature)


def label_fits(label: str) -> bool:
    """Whether `label` is at most `LABEL_CHARS` characters that a terminal can be shown."""
    return len(label) <= LABEL_CHARS and label.isprintable()


def encode_chain(chain: Sequence[Certificate]) -> bytes:
    """The certificates one behind the other, the network key's first."""
    return b"".join(certificate.encode() for certificate in chain)


def decode_chain(data: bytes) -> Chain:
    """The certificates that `encode_chain` made `data` of, not verified. There may be none, or too many: that is for
    `verify_chain` to say. Raises `Malformed`."""
    if len(data) > CHAIN_BYTES_MAX:
        raise Malformed(f"a certificate chain of {len(data)} bytes, the limit is {CHAIN_BYTES_MAX}")
    chain = []
    while data:
        certificate, data = _decode_first(data)
        chain.append(certificate)
    return tuple(chain)


def verify_chain(
    chain: Sequence[Certificate], network: NetworkId, subject: bytes, now: float, revoked: Container[bytes] = ()
) -> Membership:
    """What the node `subject` is in `network` by this chain, at `now` in Unix seconds; `revoked` holds the keys that
    are. Raises `NotAMember`."""
    return _verified(chain, network, subject, now, revoked, delegable=False)


def verify_token_chain(
    chain: Sequence[Certificate], network: NetworkId, token: bytes, now: float, revoked: Container[bytes] = ()
) -> Membership:
    """As `verify_chain`, for the key of a token."""
    return _verified(chain, network, token, now, revoked, delegable=True)


def membership_by(chain: Sequence[Certificate]) -> Membership:
    """What a chain of at least one says of its last subject; it must have been verified before."""
    last = chain[-1]
    token = chain[-2].subject if len(chain) > 1 and chain[-2].delegable else None
    keys = tuple(certificate.subject for certificate in chain)
    return Membership(last.network, last.subject, last.role, last.label, last.issued, last.expires, keys, token)


def require_current(chain: Sequence[Certificate], now: float, revoked: Container[bytes] = ()) -> None:
    """The part of `verify_chain` that time and revocations change. Raises `NotAMember`."""
    for certificate in chain:
        if certificate.issued > now + CLOCK_SKEW:
            raise NotAMember(
                Flaw.NOT_YET_VALID,
                f"the certificate is not valid before {date_of(certificate.issued)}",
                hint="the clock of one of the two machines is wrong",
            )
        if 0 < certificate.expires <= now:
            raise NotAMember(
                Flaw.EXPIRED,
                f"the certificate expired {since(certificate.expires, now)}",
                hint="join again with a new token",
            )
    if any(certificate.subject in revoked for certificate in chain):
        raise NotAMember(
            Flaw.REVOKED,
            "the membership, or the token that it came by, was revoked",
            hint="ask an admin for a new token",
        )


def _verified(
    chain: Sequence[Certificate],
    network: NetworkId,
    subject: bytes,
    now: float,
    revoked: Container[bytes],
    *,
    delegable: bool,
) -> Membership:
    """The cheap checks first, and none of a signature before it is clear that there are at most four."""
    if not chain:
        raise NotAMember(Flaw.NO_CERTIFICATE, "there is no certificate", hint="join with a token")
    if len(chain) > CHAIN_MAX:
        raise NotAMember(Flaw.TOO_LONG, f"a chain of {len(chain)} certificates; at most {CHAIN_MAX} are accepted")
    if any(certificate.network != network for certificate in chain):
        raise NotAMember(Flaw.FOREIGN_NETWORK, "the certificate is of another network")
    issuer: Certificate | None = None
    for certificate in chain:
        _check_link(network, issuer, certificate)
        issuer = certificate
    last = chain[-1]
    if last.subject != subject or last.delegable is not delegable:
        sort = "token" if last.delegable else "node"
        raise NotAMember(Flaw.WRONG_SUBJECT, f"the certificate is that of {sort} {last.subject.hex()[:16]}")
    require_current(chain, now, revoked)
    return membership_by(chain)


def _check_link(network: NetworkId, issuer: Certificate | None, certificate: Certificate) -> None:
    """Whether `issuer`, or the network's key itself, signed `certificate` and had the right to."""
    key = issuer.subject if issuer else network
    if not signature_holds(key, certificate.signature, _DOMAIN + certificate.signed_part()):
        raise NotAMember(Flaw.BROKEN_SIGNATURE, "the certificate was tampered with: its signature is wrong")
    if issuer is None:
        return
    if not (issuer.may_invite or (issuer.delegable and not certificate.delegable)):
        sort = "token" if issuer.delegable else "member"
        raise NotAMember(
            Flaw.NOT_ALLOWED,
            f"the certificate was issued by {sort} {key.hex()[:16]} with the role {issuer.role.name.lower()}, "
            "which may not issue it",
        )
    longer = issuer.expires and not 0 < certificate.expires <= issuer.expires
    if longer or not issuer.role.covers(certificate.role):
        raise NotAMember(Flaw.WIDER, "the certificate gives more, or for longer, than its issuer has")


def signature_holds(key: bytes, signature: bytes, text: bytes) -> bool:
    """Whether the holder of the public key `key` signed `text`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True


def _decode_first(data: bytes) -> tuple[Certificate, bytes]:
    """The first certificate, and what is behind it."""
    if len(data) < _BODY.size:
        raise Malformed(f"a certificate has at least {_BODY.size + SIGNATURE_SIZE} bytes, not {len(data)}")
    form, network, subject, role, flags, issued, expires, size = _BODY.unpack_from(data)
    end = _BODY.size + size + SIGNATURE_SIZE
    if form != CERTIFICATE_FORMAT:
        raise Malformed(f"certificate of format {form}, this version reads {CERTIFICATE_FORMAT}")
    if len(data) < end or role not in {*Role} or flags > _DELEGABLE or max(issued, expires) >= _TIME_MAX:
        raise Malformed(f"an impossible certificate: {len(data)} bytes, role {role}, flags {flags}")
    try:
        label = data[_BODY.size : _BODY.size + size].decode()
    except UnicodeDecodeError as error:
        raise Malformed("a certificate's label is not UTF-8") from error
    if not label_fits(label):
        raise Malformed(f"a certificate's label has {len(label)} characters or unprintable ones")
    signature = data[end - SIGNATURE_SIZE : end]
    times = (issued, expires)
    certificate = Certificate(NetworkId(network), subject, Role(role), flags == _DELEGABLE, *times, label, signature)
    return certificate, data[end:]
