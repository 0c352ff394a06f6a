"""Revocations: keys that are no good any more, whatever certificates they have.

Revoking a token's key ends all who joined by it, for every one of them has it in its chain; revoking a node's ends that
node, and an admin's also all whom it let in. The signer is the network's key or an admin.
"""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forge_p2p.content.membership import (
    CHAIN_BYTES_MAX,
    KEY_SIZE,
    SIGNATURE_SIZE,
    Chain,
    Flaw,
    NotAMember,
    decode_chain,
    encode_chain,
    signature_holds,
    verify_chain,
)
from forge_p2p.errors import Malformed
from forge_p2p.ids import NetworkId

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

REVOCATION_FORMAT: Final = 1
_DOMAIN: Final = b"forge revocation v1\0"
_BODY = struct.Struct(f"<B{KEY_SIZE}s{KEY_SIZE}sQH")
"""Format, network, revoked key, time, bytes of chain; the signer's chain follows, then the signature."""

_TIME_MAX: Final = 1 << 63
REVOCATION_BYTES_MAX: Final = _BODY.size + CHAIN_BYTES_MAX + SIGNATURE_SIZE


@dataclass(frozen=True, slots=True)
class Revocation:
    """`key` is revoked since `time` (Unix seconds). `chain` is the signer's, empty for the network's key itself."""

    network: NetworkId
    key: bytes
    time: int
    chain: Chain
    signature: bytes

    def encode(self) -> bytes:
        return self.signed_part() + self.signature

    def signed_part(self) -> bytes:
        """All but the signature."""
        chain = encode_chain(self.chain)
        return _BODY.pack(REVOCATION_FORMAT, self.network, self.key, self.time, len(chain)) + chain

    @property
    def final(self) -> bool:
        """Whether the network's key signed it."""
        return not self.chain

    @property
    def signers(self) -> tuple[bytes, ...]:
        """The keys on whose being good it depends."""
        return tuple(certificate.subject for certificate in self.chain)


def revoke(key: "Ed25519PrivateKey", network: NetworkId, revoked: bytes, *, time: int, chain: Chain = ()) -> Revocation:
    """A revocation by the holder of `key`, whose own chain is `chain`."""
    unsigned = Revocation(network, revoked, time, chain, b"")
    return Revocation(network, revoked, time, chain, key.sign(_DOMAIN + unsigned.signed_part()))


def decode_revocation(data: bytes) -> Revocation:
    """The revocation that `Revocation.encode` made `data` of, not verified. Raises `Malformed`."""
    if len(data) < _BODY.size + SIGNATURE_SIZE:
        raise Malformed(f"a revocation has at least {_BODY.size + SIGNATURE_SIZE} bytes, not {len(data)}")
    form, network, key, time, size = _BODY.unpack_from(data)
    if form != REVOCATION_FORMAT:
        raise Malformed(f"revocation of format {form}, this version reads {REVOCATION_FORMAT}")
    if len(data) != _BODY.size + size + SIGNATURE_SIZE or time >= _TIME_MAX:
        raise Malformed(f"an impossible revocation of {len(data)} bytes")
    chain = decode_chain(data[_BODY.size : -SIGNATURE_SIZE])
    return Revocation(NetworkId(network), key, time, chain, data[-SIGNATURE_SIZE:])


def verify_revocation(revocation: Revocation, network: NetworkId) -> None:
    """Raises `NotAMember` unless who signed it had the right to. An admin's right is looked at as it was at the time of
    the revocation: what an admin revoked stays so when its own membership has run out."""
    if revocation.network != network:
        raise NotAMember(Flaw.FOREIGN_NETWORK, "the revocation is of another network")
    signer = revocation.chain[-1].subject if revocation.chain else network
    if not signature_holds(signer, revocation.signature, _DOMAIN + revocation.signed_part()):
        raise NotAMember(Flaw.BROKEN_SIGNATURE, "the revocation was tampered with: its signature is wrong")
    if revocation.key == network:
        raise NotAMember(Flaw.NOT_ALLOWED, "a network's own key cannot be revoked")
    if revocation.chain:
        member = verify_chain(revocation.chain, network, signer, revocation.time)
        if not revocation.chain[-1].may_invite:
            raise NotAMember(
                Flaw.NOT_ALLOWED,
                f"the revocation was signed by {signer.hex()[:16]} with the role {member.role.name.lower()}; "
                "only an admin may revoke",
            )
