"""A node's key as TLS sees it: a self-signed certificate that carries nothing but the Ed25519 public key.

TLS 1.3 makes the server sign the handshake with the certificate's key (RFC 8446 section 4.4.3); so whoever completes a
handshake with a certificate of node X holds the key of node X, and the name, dates and issuer in it mean nothing. The
certificate is put together here from its few fixed fields: the general library for it costs 50 ms to import, in every
command that touches the network.
"""

from base64 import encodebytes
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from forge_p2p.errors import PeerError
from forge_p2p.ids import NODE_ID_SIZE, NodeId

ALPN = "forge/1"

_SEQUENCE, _SET, _OID, _UTF8, _INTEGER, _BIT_STRING, _UTC, _GENERALIZED = 0x30, 0x31, 6, 12, 2, 3, 23, 24
_KEY_PREFIX = bytes.fromhex("302a300506032b6570032100")
"""SubjectPublicKeyInfo of an Ed25519 key up to its 32 bytes (RFC 8410 section 4)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a TLS server needs: certificate and private key as PEM, and whose they are."""

    node_id: NodeId
    certificate: bytes
    private_key: bytes


def make_identity(key: Ed25519PrivateKey) -> Identity:
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Identity(NodeId(public), _pem(_certificate(key, public)), private)


def node_id_of(public_key_info: bytes) -> NodeId:
    """The node that a certificate's SubjectPublicKeyInfo (DER) belongs to. Raises `PeerError` for any other key."""
    if len(public_key_info) != len(_KEY_PREFIX) + NODE_ID_SIZE or not public_key_info.startswith(_KEY_PREFIX):
        raise PeerError("the server's certificate holds no Ed25519 key: it is no Forge node")
    return NodeId(public_key_info[len(_KEY_PREFIX) :])


def _certificate(key: Ed25519PrivateKey, public: bytes) -> bytes:
    """X.509 v3 without extensions (RFC 5280 section 4.1), valid from 1970 to the end of 9999."""
    algorithm = _der(_SEQUENCE, _der(_OID, bytes.fromhex("2b6570")))  # 1.3.101.112
    name = _der(_SEQUENCE, _der(_SET, _der(_SEQUENCE, _der(_OID, bytes.fromhex("550403")), _der(_UTF8, b"forge"))))
    validity = _der(_SEQUENCE, _der(_UTC, b"700101000000Z"), _der(_GENERALIZED, b"99991231235959Z"))
    version = _der(0xA0, _der(_INTEGER, b"\2"))
    serial = _der(_INTEGER, b"\1")
    signed = _der(_SEQUENCE, version, serial, algorithm, name, validity, name, _KEY_PREFIX, public)
    return _der(_SEQUENCE, signed, algorithm, _der(_BIT_STRING, b"\0", key.sign(signed)))


def _der(tag: int, *parts: bytes) -> bytes:
    """One value in DER; bodies here stay below 64 KiB."""
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    size = len(body).to_bytes(2, "big").lstrip(b"\0")
    return bytes([tag, 0x80 | len(size)]) + size + body


def _pem(certificate: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + encodebytes(certificate) + b"-----END CERTIFICATE-----\n"
